"""Masks of a view folder: what is known of each, a picture to paint one in, and the file that a painted one becomes.

The picture to paint in shows the photo itself; how solid it is says what is object. Where the mask says background a
rest of the photo shows through, so that one sees what to bring back. Painted masks are written into a folder of their
own (bridge.folders.painted_label): the artist's own masks and pictures are never written over.
"""
from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadImage, BadMasks, BadOutput
from ...bridge.folders import TRANSFORMS_LABEL, painted_label
from .images import PNG_SIGNATURE

if TYPE_CHECKING:
    from bpy.types import Image

VIEW_KEY, FOLDER_KEY = "slipcast_mask_of", "slipcast_mask_folder"    # on the picture to paint in
GHOST = 0.3              # how solid the background is shown
SIDE_PX = 2048           # a larger photo is painted at this size
LOW_CONFIDENCE = 0.5     # as the engine's
ASPECT_TOLERANCE = 0.02
BACKUP_SUFFIX = ".before"
NETWORK = "rembg:"       # begins the source of a mask that a network drew
OPAQUE = 250 / 255
SOURCES = {"alpha": "given with the picture", "points": "drawn from the points of the cameras",
           "key": "drawn from the background's colour", "centre": "guessed from the middle of the picture",
           "mask": "the mask that was given"}


@dataclass(frozen=True)
class ViewMask:
    """What the engine took for the object in one view. confidence: [0, 1]. png: the mask it drew, or None."""

    view: str
    source: str
    confidence: float
    png: bytes | None = None

    @property
    def words(self) -> str:
        if self.confidence == 0:
            return "left out: its mask is empty or covers everything"
        if self.source.startswith(NETWORK):
            return f"found by the network {self.source.removeprefix(NETWORK)}"
        return SOURCES.get(self.source, self.source)


def read_archive(data: bytes) -> tuple[ViewMask, ...]:
    """The engine's artefact "masks". Raises BadMasks."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return tuple(ViewMask(str(row["view"]), str(row["source"]), float(row["confidence"]),
                                  archive.read(row["file"]) if row["file"] else None)
                         for row in json.loads(archive.read("masks.json")))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, OSError) as error:
        raise BadMasks(f"The engine's masks cannot be read ({error}).") from error


def doubtful(masks: Sequence[ViewMask], warnings: Sequence[str], folder: Path) -> list[tuple[str, str]]:
    """(view, why) of the views that should be looked at, the worst first. A view that was painted since is not.

    warnings: of the job; those about one view begin with its name.
    """
    found = {mask.view: mask.words for mask in sorted(masks, key=lambda mask: mask.confidence)
             if mask.confidence < LOW_CONFIDENCE}
    for mask in masks:
        told = next((text for text in warnings if text.startswith(f"{mask.view}: ")), None)
        if told is not None and mask.view not in found:
            found[mask.view] = told.removeprefix(f"{mask.view}: ")
    return [(view, why) for view, why in found.items() if not (folder / painted_label(view)).is_file()]


# --- pictures -------------------------------------------------------------------------------------------------------
def open_mask(folder: Path, view: str, files: Mapping[str, Path], drawn: bytes | None) -> Image:
    """The picture to paint the mask of `view` in; the one that is open already comes back as it is.

    files: of the view folder (collect_view_folder). drawn: the engine's mask as PNG, for a view without one.
    Raises BadImage, BadMasks.
    """
    there = next((image for image in bpy.data.images
                  if image.get(VIEW_KEY) == view and image.get(FOLDER_KEY) == str(folder)), None)
    if there is not None:
        return there
    if view not in files:
        raise BadImage(f"{folder} has no view {view}.", "Choose another view.")
    photo = read_picture(files[view], SIDE_PX)
    solid = _mask_now(view, files, drawn, photo)
    height, width = solid.shape
    image = bpy.data.images.new(f"Mask {Path(view).name}", width, height, alpha=True)
    image[VIEW_KEY], image[FOLDER_KEY] = view, str(folder)
    write_mask_into(image, photo[..., :3], solid)
    return image


def write_mask_into(image: Image, photo: np.ndarray, solid: np.ndarray) -> None:
    """photo: (H, W, 3) and solid: (H, W), 1 = object; float32, row 0 at the bottom, of the image's size."""
    pixels = np.concatenate([photo, (GHOST + (1 - GHOST) * solid)[..., None]], axis=-1)
    image.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())  # type: ignore[attr-defined]
    image.update()
    image.pack()     # else it is lost with the undo of a later step, and when the file is saved


def mask_of(image: Image) -> np.ndarray:
    """(H, W) float32 in [0, 1], row 0 at the bottom, of a picture to paint in."""
    return np.clip((_pixels(image)[..., 3] - GHOST) / (1 - GHOST), 0, 1)


def read_picture(path: Path, longest_px: int) -> np.ndarray:
    """(H, W, 4) float32 as it is stored (sRGB), row 0 at the bottom, brought down to `longest_px`. Raises BadImage."""
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError as error:
        raise BadImage(f"{path.name} cannot be read by Blender.", "Save it as PNG or JPEG.") from error
    try:
        width, height = image.size
        if not width or not height:
            raise BadImage(f"{path.name} cannot be read by Blender.", "Save it as PNG or JPEG.")
        image.alpha_mode = "CHANNEL_PACKED"     # colours behind zero alpha stay
        scale = longest_px / max(width, height)
        if scale < 1:
            image.scale(max(1, round(width * scale)), max(1, round(height * scale)))
        return _pixels(image)
    finally:
        bpy.data.images.remove(image)


def _pixels(image: Image) -> np.ndarray:
    width, height = image.size
    flat = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(flat)  # type: ignore[attr-defined]
    found = flat.reshape(height, width, image.channels)
    if image.channels == 4:
        return found
    grey = found[..., :3] if image.channels == 3 else found[..., :1].repeat(3, axis=-1)
    return np.concatenate([grey, np.ones((height, width, 1), np.float32)], axis=-1)


def _mask_now(view: str, files: Mapping[str, Path], drawn: bytes | None, photo: np.ndarray) -> np.ndarray:
    """(H, W) of the photo's size, in the engine's order: painted, alpha, mask file, what the engine drew; else all."""
    height, width = photo.shape[:2]
    painted = files.get(painted_label(view))
    if painted is not None:
        return fitted(_grey(read_picture(painted, SIDE_PX)), width, height, painted.name)
    if photo[..., 3].min() < OPAQUE:
        return photo[..., 3]
    given = mask_file(view, files)
    if given is not None:
        return fitted(_grey(read_picture(given, SIDE_PX)), width, height, given.name)
    if drawn is None:
        return np.ones((height, width), np.float32)
    return fitted(grey_of_png(drawn), width, height, f"mask of {view}")


def grey_of_file(path: Path) -> np.ndarray:
    """(H, W) float32 in [0, 1], row 0 at the bottom, of a mask file. Raises BadImage, BadMasks (all one value)."""
    if not path.is_file():
        raise BadImage(f"{path} does not exist.", "Choose an image file.")
    mask = _grey(read_picture(path, SIDE_PX))
    if (mask > 0.5).all() or not (mask > 0.5).any():
        raise BadMasks(f"{path.name} is the same everywhere.", "A mask is white on the object and black elsewhere.")
    return mask


def mask_file(view: str, files: Mapping[str, Path]) -> Path | None:
    """The artist's own mask file of a view, as the engine finds it."""
    if TRANSFORMS_LABEL in files:
        frames: list[dict[str, Any]] = json.loads(files[TRANSFORMS_LABEL].read_text(encoding="utf-8-sig"))["frames"]
        return next((files[frame["mask_path"]] for frame in frames
                     if frame.get("file_path") == view and frame.get("mask_path") in files), None)
    name = view.removeprefix("images/")
    return files.get(f"masks/{name}.png")


def grey_of_png(data: bytes) -> np.ndarray:
    """(H, W) float32 in [0, 1], row 0 at the bottom, of a mask that the engine drew. Raises BadMasks."""
    return _grey(_read_png(data))


def _read_png(data: bytes) -> np.ndarray:
    image = bpy.data.images.new("slipcast mask", 1, 1)
    try:
        image.source = "FILE"
        image.pack(data=data, data_len=len(data))  # type: ignore[arg-type]
        if not image.size[0]:
            raise BadMasks("The engine's mask cannot be read.")
        return _pixels(image)
    finally:
        bpy.data.images.remove(image)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Brightness, or alpha where that cuts something out: as the engine reads mask files."""
    return pixels[..., 3] if pixels[..., 3].min() < OPAQUE else pixels[..., :3].mean(axis=-1)


def fitted(mask: np.ndarray, width: int, height: int, name: str) -> np.ndarray:
    """The mask at another size of the same proportions, by the nearest pixel. Raises BadMasks for other proportions."""
    rows, columns = mask.shape
    if abs(columns / rows / (width / height) - 1) > max(ASPECT_TOLERANCE, 1 / min(width, height)):
        raise BadMasks(f"{name} is {columns}x{rows}, its picture {width}x{height}.",
                       "A mask must have the proportions of its picture.")
    at_y = ((np.arange(height) + 0.5) * rows / height).astype(int)
    at_x = ((np.arange(width) + 0.5) * columns / width).astype(int)
    return mask[at_y[:, None], at_x]


# --- files ----------------------------------------------------------------------------------------------------------
def save_mask(folder: Path, view: str, mask: np.ndarray) -> Path:
    """Write a painted mask into the folder; the one that was there is kept beside it. mask: (H, W) in [0, 1], row 0 at
    the bottom. Raises BadOutput."""
    path = folder / painted_label(view)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside(path)
        path.write_bytes(grey_png(mask[::-1]))
    except OSError as error:
        raise BadOutput(f"{path} cannot be written: {error.strerror}.", "Check that you may write there.") from error
    return path


def drop_mask(folder: Path, view: str) -> bool:
    """Take a painted mask out of use; it is kept beside. False when there is none. Raises BadOutput."""
    path = folder / painted_label(view)
    try:
        return _set_aside(path)
    except OSError as error:
        raise BadOutput(f"{path} cannot be moved: {error.strerror}.", "Check that you may write there.") from error


def _set_aside(path: Path) -> bool:
    if not path.is_file():
        return False
    path.replace(path.with_name(path.name + BACKUP_SUFFIX))
    return True


def grey_png(values: np.ndarray) -> bytes:
    """(H, W) float in [0, 1], row 0 on top -> PNG, 8 bits grey. Source: PNG specification, filter 0."""
    grey = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    height, width = grey.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((height, 1), np.uint8), grey], axis=1).tobytes()
    return (PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b""))
