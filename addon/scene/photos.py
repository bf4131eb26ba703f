"""Scene cameras with photos as background images -> a view folder."""
from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadCameras, BadImage
from .cameras import PIXEL_ASPECT_KEY, RENDER_SIZE_KEY, PinholeCamera, pinhole_from_blender
from .images import PNG_SIGNATURE
from .targets import check_folder, write_views

if TYPE_CHECKING:
    from bpy.types import CameraBackgroundImage, Image, Object, Scene

SIGNATURES = ((PNG_SIGNATURE, ".png"), (b"\xff\xd8\xff", ".jpg"), (b"v/1\x01", ".exr"))
HOW = "In the camera's properties, under Background Images, add the photo that this camera took."


def cameras_with_photos(scene: Scene) -> list[tuple[Object, CameraBackgroundImage]]:
    """Perspective cameras of the scene that show an image behind them, by name."""
    found = []
    for thing in sorted(scene.objects, key=lambda each: each.name):
        if thing.type != "CAMERA" or thing.data.type != "PERSP":  # type: ignore[union-attr]
            continue
        shown = next((each for each in thing.data.background_images  # type: ignore[union-attr]
                      if each.show_background_image and each.source == "IMAGE" and each.image is not None), None)
        if shown is not None:
            found.append((thing, shown))
    return found


def write_photos(scene: Scene, folder: Path) -> int:
    """Write the photos and their cameras into a view folder; returns how many.

    The pictures are copied as they are. Raises BadCameras (none, or one that is turned, moved or scaled behind its
    camera), BadImage, BadOutput.
    """
    check_folder(folder)
    pairs = cameras_with_photos(scene)
    if not pairs:
        raise BadCameras(f"No camera of {scene.name} has a photo behind it.", HOW)
    scene.view_layers[0].update()
    views = []
    for number, (camera, shown) in enumerate(pairs):
        image: Image = shown.image  # type: ignore[assignment]
        suffix, content = image_file(image)
        pinhole = photo_camera(camera, shown, scene, (image.size[0], image.size[1]))
        views.append((f"{number:03d}", pinhole, suffix, content))
    write_views(folder, scene.name, views)
    return len(views)


def photo_camera(camera: Object, shown: CameraBackgroundImage, scene: Scene, size: tuple[int, int]) -> PinholeCamera:
    """The pinhole camera of the photo behind `camera`. size: width and height of the photo, square pixels.

    Source: own; Stretch fills the camera's frame, Fit touches it from inside, Crop from outside, all centred.
    """
    moved = shown.rotation or tuple(shown.offset) != (0.0, 0.0) or shown.scale != 1.0
    if moved or shown.use_flip_x or shown.use_flip_y:
        raise BadCameras(f"The photo behind {camera.name} is turned, moved, scaled or flipped.",
                         "Set its offset and rotation to 0, its scale to 1, and fit the camera instead (Shift, Lens).")
    frame = pinhole_from_blender(camera, _render_of(camera, scene))  # type: ignore[arg-type]
    width, height = size
    if width < 1 or height < 1:
        raise BadImage(f"The photo behind {camera.name} cannot be read.", "Check that its file is there.")
    squash = frame.fx / frame.fy                  # shape of the frame's pixels: height over width
    if shown.frame_method == "STRETCH":
        scale_x, scale_y = frame.width / width, frame.height / height
    else:
        shares = (frame.width / width, frame.height / squash / height)
        share = min(shares) if shown.frame_method == "FIT" else max(shares)
        scale_x, scale_y = share, share * squash
    return replace(frame, width=width, height=height, fx=frame.fx / scale_x, fy=frame.fy / scale_y,
                   cx=(frame.cx - frame.width / 2) / scale_x + width / 2,
                   cy=(frame.cy - frame.height / 2) / scale_y + height / 2)


def _render_of(camera: Object, scene: Scene) -> Any:
    """The render size that an imported camera was made for, else the scene's."""
    size, aspect = camera.get(RENDER_SIZE_KEY), camera.get(PIXEL_ASPECT_KEY)
    if size is None or aspect is None:
        return scene.render
    return SimpleNamespace(resolution_x=int(size[0]), resolution_y=int(size[1]), resolution_percentage=100,
                           pixel_aspect_x=float(aspect[0]), pixel_aspect_y=float(aspect[1]))


def image_file(image: Image) -> tuple[str, bytes]:
    """(suffix, content) of a picture that the engine reads: its own file, or a PNG where it has none.

    Raises BadImage.
    """
    if image.source not in ("FILE", "GENERATED"):
        raise BadImage(f"{image.name} is no single picture but a {image.source.lower()}.", "Use a still picture.")
    if not image.is_dirty and image.source == "FILE":
        content = _content(image)
        suffix = next((suffix for signature, suffix in SIGNATURES if content.startswith(signature)), None)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            suffix = ".webp"
        if suffix is not None:
            return suffix, content
    return ".png", _as_png(image)


def _content(image: Image) -> bytes:
    if image.packed_file is not None:
        return bytes(image.packed_file.data)  # type: ignore[arg-type]
    path = Path(bpy.path.abspath(image.filepath, library=image.library))
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"The photo {image.name} cannot be read ({error.strerror}).",
                       "Find it again: File > External Data > Find Missing Files.") from error


def _as_png(image: Image) -> bytes:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(f"The photo {image.name} cannot be read.", "Check that its file is there.")
    flat = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(flat)  # type: ignore[attr-defined]
    # image.copy() would be the picture as it is in its file, without what was painted since
    copy = bpy.data.images.new(image.name, width, height, alpha=True, float_buffer=image.is_float)
    try:
        copy.colorspace_settings.name, copy.alpha_mode = image.colorspace_settings.name, image.alpha_mode
        copy.pixels.foreach_set(flat)  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory(prefix="slipcast_") as place:
            path = Path(place) / "picture.png"
            copy.file_format, copy.filepath_raw = "PNG", str(path)
            copy.save()
            return path.read_bytes()
    except (RuntimeError, OSError) as error:
        raise BadImage(f"{image.name} cannot be written as PNG ({error}).", "Save it as a PNG file first.") from error
    finally:
        bpy.data.images.remove(copy)
