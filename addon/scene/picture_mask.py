"""The mask of one picture: a picture to paint it in, and the file that a painted one becomes.

As with views (masks.py): the photo itself is shown, and how solid it is says what is object. What was painted is
written into a folder of its own beside the picture, as for a view folder.
"""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from .masks import SIDE_PX, fitted, grey_of_file, grey_of_png, mask_of, read_picture, save_mask, write_mask_into
from .orientation import exif_orientation, upright

if TYPE_CHECKING:
    from bpy.types import Image

PICTURE_KEY = "slipcast_mask_of_picture"      # on the picture to paint in: the picture's file


def open_picture_mask(picture: Path, given: Path | None, drawn: bytes | None) -> Image:
    """The picture to paint the mask of `picture` in; the one that is open already comes back as it is.

    given: the mask file that the person chose. drawn: what the engine took for the object, as PNG. The first of these,
    else the picture's own alpha, is what is shown. Raises BadImage, BadMasks.
    """
    there = painted_image(picture)
    if there is not None:
        return there
    photo = upright(read_picture(picture, SIDE_PX), exif_orientation(picture))
    height, width = photo.shape[:2]
    if given is not None:
        turned = upright(grey_of_file(given)[..., None], exif_orientation(given))
        solid = fitted(turned[..., 0], width, height, given.name)
    else:
        solid = photo[..., 3] if drawn is None else fitted(grey_of_png(drawn), width, height, f"mask of {picture.name}")
    image = bpy.data.images.new(f"Mask {picture.name}", width, height, alpha=True)
    image[PICTURE_KEY] = str(picture)
    write_mask_into(image, photo[..., :3], np.ascontiguousarray(solid))
    return image


def painted_image(picture: Path | None) -> Image | None:
    """The picture that the mask of `picture` is painted in; None when none is open."""
    if picture is None:
        return None
    return next((image for image in bpy.data.images if image.get(PICTURE_KEY) == str(picture)), None)


def save_picture_mask(image: Image) -> Path:
    """Write what was painted beside the picture; the mask that was there is kept beside it. Raises BadOutput."""
    picture = Path(str(image[PICTURE_KEY]))
    written = save_mask(picture.parent, picture.name, mask_of(image))
    image.pack()     # so that it does not count as changed
    return written
