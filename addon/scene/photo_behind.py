"""The picture that a result was made from, behind the camera that is taken for the picture's."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from .orientation import exif_orientation

if TYPE_CHECKING:
    from bpy.types import Object

ALPHA = 0.5     # of the picture, so that the object is seen, too


def show_behind_cameras(made: Object, picture: Path) -> tuple[str, ...]:
    """Put the picture behind the cameras that hang on `made`. What a person should know, where that cannot be done."""
    cameras = [child for child in made.children if child.type == "CAMERA"]
    if not cameras or not picture.is_file():     # a result of the history: its picture may be gone
        return ()
    if exif_orientation(picture) != 1:
        return (f"{picture.name} is stored turned, which Blender does not show upright: it is not behind its camera.",)
    try:
        image = bpy.data.images.load(str(picture), check_existing=True)
    except RuntimeError:
        return (f"Blender cannot read {picture.name}, so it is not shown behind its camera.",)
    for camera in cameras:
        lens = camera.data
        shown = lens.background_images.new()  # type: ignore[union-attr]
        shown.image, shown.alpha = image, ALPHA
        lens.show_background_images = True  # type: ignore[union-attr]
    return ()
