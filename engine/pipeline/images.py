"""Load the views: check every image before it is opened up, decode, bring down to the working size, undistort."""
from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...bridge.errors import BadImage, BadMasks, ImageTooLarge
from ...bridge.folders import painted_label
from .cameras import ASPECT_TOLERANCE, FrameSpec, camera_for_image, check_overlap, read_view_files, resize_camera
from .lens import Lens, distort
from .parallel import map_views
from .passes import along_axis, check_passes, load_passes, undistort_passes
from .progress import Stage
from .types import Camera, View, ViewSet

MAX_PIXELS = 150_000_000  # more than any camera on the market; 450 MB once decoded
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
OPAQUE = 250  # an alpha that never falls below this cuts nothing out
# what Pillow raises for files that are cut short, damaged or no images
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True)
class _Source:
    """A frame whose image header has been read; camera: at the image's own size. painted: the mask is a person's own
    and wins over the image's alpha."""

    frame: FrameSpec
    camera: Camera
    path: Path
    mask_path: Path | None
    mask_name: str = ""
    painted: bool = False


def load_views(files: Mapping[str, Path], max_px_side: int, stage: Stage) -> ViewSet:
    """Read cameras and images of a view folder (label -> file; suffixes of the files mean nothing).

    Images larger than max_px_side on their longer side are brought down to it; their cameras follow. Lens distortion
    is taken out. EXIF orientation is ignored: the cameras were solved for the pixels as they are stored.
    Depth and normals come along where frames name OpenEXR files.
    Raises BadFolder, BadCameras, BadImage, ImageTooLarge (before anything is decoded), BadMasks, Cancelled.
    """
    folder = read_view_files(files)
    stage.total = len(folder.frames)
    sources = [_open_source(frame, files) for frame in folder.frames]
    check_overlap([source.camera for source in sources])
    views = map_views(lambda source: _load_view(source, max_px_side, files), sources, stage)
    _tell_of_unread([name for frame in folder.frames for name in (frame.depth, frame.normals)
                     if name and name not in files], stage)
    return ViewSet(tuple(check_passes(views, stage)), folder.points, folder.volume)


def _tell_of_unread(names: list[str], stage: Stage) -> None:
    if names:
        stage.warn(f"Depth and normals are read from OpenEXR files only; {len(names)} files like {names[0]:.80} are "
                   "not used.")


def _open_source(frame: FrameSpec, files: Mapping[str, Path]) -> _Source:
    painted = painted_label(frame.image) in files
    mask_name = painted_label(frame.image) if painted else frame.mask or ""
    mask_path = files[mask_name] if mask_name else None
    if mask_path is not None:
        _check_header(mask_path, mask_name)
    width, height = _check_header(files[frame.image], frame.image)
    return _Source(frame, camera_for_image(frame, width, height), files[frame.image], mask_path, mask_name, painted)


def _check_header(path: Path, name: str) -> tuple[int, int]:
    """(width, height) from the header alone. Raises BadImage, or ImageTooLarge above MAX_PIXELS."""
    with open_image(path, name) as image:
        width, height = image.size
    if min(width, height) < 8:
        raise BadImage(f"{name} is only {width}x{height} pixels.", "Use the original image.")
    return width, height


def open_image(path: Path, name: str, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The image with its header read. Raises BadImage, ImageTooLarge above MAX_PIXELS."""
    try:
        if path.stat().st_size == 0:
            raise BadImage(f"{name} is cut short: it is an empty file.", "Save or download it again.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)     # our own limit is below
            image = Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UNREADABLE as error:
        raise broken_image(name, error) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _too_large(name, f" ({image.width}x{image.height} pixels)")
    return image


def _too_large(name: str, size: str = "") -> ImageTooLarge:
    """size: in words, as " (30000x20000 pixels)"."""
    return ImageTooLarge(f"{name} is too large{size}; at most {MAX_PIXELS // 10**6} megapixels are read.",
                         "Scale it down.")


def broken_image(name: str, error: Exception) -> BadImage:
    """What to say of one of UNREADABLE, raised while `name` was opened or decoded."""
    if isinstance(error, OSError) and error.errno is not None:   # the file itself; Pillow's own errors have no number
        return BadImage(f"{name} cannot be read: {error.strerror}.", "Check that it is there and that you may read it.")
    return BadImage(f"{name} is cut short, damaged or not an image.", "Save it again as PNG, JPEG or WebP.")


def _decode(path: Path, name: str, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        with Image.open(path, formats=FORMATS) as image:
            return convert(image)
    except UNREADABLE as error:
        raise broken_image(name, error) from error


def to_rgba(image: Image.Image) -> np.ndarray:
    """(H, W, 3 or 4) uint8, straight alpha where the image has any."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return np.repeat(_deep_grey(image)[..., None], 3, axis=-1)
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return np.array(image.convert("RGBA" if has_alpha else "RGB"))   # a copy: Pillow's own pixels are read-only


def to_grey(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of a mask: its brightness, or its alpha where that cuts something out."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return _deep_grey(image)
    pixels = to_rgba(image)
    if pixels.shape[-1] == 4 and pixels[..., 3].min() < OPAQUE:
        return pixels[..., 3]
    if image.mode == "P":  # an indexed mask: colours beside black mean the object
        return pixels[..., :3].max(axis=-1)
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
    return grey * 255 if grey.max() == 1 else grey  # masks are often saved as 0 and 1


def _deep_grey(image: Image.Image) -> np.ndarray:
    values = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    return (np.clip(np.nan_to_num(values) / top, 0, 1) * 255 + 0.5).astype(np.uint8)


def _load_view(source: _Source, max_px_side: int, files: Mapping[str, Path]) -> View:
    frame, camera = source.frame, source.camera
    pixels = _decode(source.path, frame.image, to_rgba)
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[-1] == 4 else None
    if source.mask_path is not None and (source.painted or alpha is None or alpha.min() >= OPAQUE):
        whole = camera.width, camera.height
        alpha = fit_mask(_decode(source.mask_path, source.mask_name, to_grey), whole, whole,
                         f"The mask {source.mask_name}", ASPECT_TOLERANCE)
    scale = min(1.0, max_px_side / max(camera.width, camera.height))
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    image, alpha = shrink(np.ascontiguousarray(pixels[..., :3]), alpha, width, height)
    view = View(frame.image, resize_camera(camera, width, height), image, alpha)
    view = load_passes(view, frame, files, camera, MAX_PIXELS)
    view = view if frame.lens.is_pinhole else undistort_view(view, frame.lens)
    return along_axis(view) if frame.depth_along_ray else view


def fit_mask(mask: np.ndarray, whole: tuple[int, int], size: tuple[int, int], name: str,
             tolerance: float) -> np.ndarray:
    """A mask (H, W) uint8 at the `size` of its image, (width, height).

    whole: width and height of the image as it is stored; BadMasks is raised where the mask's proportions differ by more
    than `tolerance`, and by more than a pixel. name: with which the message begins.
    """
    height, width = mask.shape
    if abs(width / height / (whole[0] / whole[1]) - 1) > max(tolerance, 1.0 / min(width, height)):
        raise BadMasks(f"{name} is {width}x{height} pixels, its picture {whole[0]}x{whole[1]}.",
                       "A mask must have the proportions of its picture, held upright.")
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA if width > size[0] else cv2.INTER_LINEAR)


def shrink(image: np.ndarray, alpha: np.ndarray | None, width: int, height: int
            ) -> tuple[np.ndarray, np.ndarray | None]:
    """Area-average down to width x height; colours weighted by alpha, so that what is cut out does not bleed in."""
    if image.shape[:2] == (height, width):
        return image, alpha
    size = (width, height)
    if alpha is None:
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), None
    weight = alpha.astype(np.float32)[..., None] + 1.0  # + 1: colours behind zero alpha stay what they are
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[..., None]
    colour = cv2.resize(image.astype(np.float32) * weight, size, interpolation=cv2.INTER_AREA) / total
    return (colour + 0.5).clip(0, 255).astype(np.uint8), cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)


def undistort_view(view: View, lens: Lens) -> View:
    """The view as a pinhole with the same focal length and centre would have taken it.

    Pixels that the lens did not record are black, alpha 0 and not `valid`. Bilinear; depth and normals nearest.
    """
    camera = view.camera
    across = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    down = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    moved, meant = distort(np.stack(np.meshgrid(across, down), axis=-1), lens)
    # cv2.remap counts from pixel centres, Slipcast from the corner: hence the half pixels
    at_x = (moved[..., 0] * camera.fx + camera.cx - 0.5).astype(np.float32)
    at_y = (moved[..., 1] * camera.fy + camera.cy - 0.5).astype(np.float32)
    valid = meant & (at_x >= 0) & (at_y >= 0) & (at_x <= camera.width - 1) & (at_y <= camera.height - 1)
    image = cv2.remap(view.image, at_x, at_y, cv2.INTER_LINEAR)
    image[~valid] = 0
    alpha = view.alpha
    if alpha is not None:
        alpha = cv2.remap(alpha, at_x, at_y, cv2.INTER_LINEAR)
        alpha[~valid] = 0
    view = undistort_passes(view, at_x, at_y, valid)
    return replace(view, image=image, alpha=alpha, valid=None if valid.all() else valid, lens=lens)
