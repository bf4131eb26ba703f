"""Depth and normals from OpenEXR files, as renderers write them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR

from ...bridge.errors import BadImage, ImageTooLarge

MAGIC = b"\x76\x2f\x31\x01"
FARTHEST = 1e9              # renderers write 1e10 and the like where there is nothing
HALF_FARTHEST = 65504.0     # the largest number of 16 bits
LEAST_LENGTH, MOST_LENGTH = 0.5, 2.0     # of a normal: smoothed ones are shorter than 1; nothing is 0
_DEPTH_NAMES = ("z", "depth", "v", "y", "r", "x", "distance")
_REPAIR = "Render it again as OpenEXR (32 bits, one layer), or take it out of transforms.json."


def read_depth(path: Path, name: str, max_pixels: int) -> np.ndarray:
    """(H, W) float32 in the file's unit; inf where there is nothing, NaN where the file has NaN.

    A layer called Depth or Z, else the only channel, else the first. name: how the person knows the file.
    Raises BadImage, ImageTooLarge.
    """
    channels = _read(path, name, max_pixels)
    chosen = _depth_channel(channels)
    if chosen is None:
        raise BadImage(f"{name} holds no depth: its channels are {', '.join(channels)[:200]}.", _REPAIR)
    given = channels[chosen]
    farthest = HALF_FARTHEST if given.dtype == np.float16 else FARTHEST
    depth = given.astype(np.float32)
    with np.errstate(invalid="ignore"):
        return np.where((depth <= 0) | (depth >= farthest), np.float32(np.inf), depth)


def read_normals(path: Path, name: str, max_pixels: int) -> np.ndarray:
    """(H, W, 3) float32, unit vectors as the file has them; 0 where there is none.

    A layer called Normal, else the one with X Y Z or R G B. Raises BadImage, ImageTooLarge.
    """
    channels = _read(path, name, max_pixels)
    chosen = _normal_channels(channels)
    if chosen is None:
        raise BadImage(f"{name} holds no normals: its channels are {', '.join(channels)[:200]}.", _REPAIR)
    normals = np.stack([channels[each].astype(np.float32) for each in chosen], -1)
    length = np.linalg.norm(normals, axis=-1)
    with np.errstate(invalid="ignore"):
        usable = (length > LEAST_LENGTH) & (length < MOST_LENGTH)
    return np.where(usable[..., None], normals / np.where(usable, length, 1)[..., None], 0).astype(np.float32)


def _depth_channel(channels: dict[str, np.ndarray]) -> str | None:
    found = [(rank, name) for name in channels for rank in [_depth_rank(name)] if rank is not None]
    if found:
        return min(found)[1]
    return next(iter(channels)) if len(channels) == 1 else None


def _depth_rank(name: str) -> tuple[int, int] | None:
    """Lower is likelier. The parts of a name: "View Layer.Depth.Z"; one of the names alone is a file of one pass."""
    *layers, last = name.lower().split(".")
    if last not in _DEPTH_NAMES or any("normal" in layer or "position" in layer for layer in layers):
        return None
    if any("depth" in layer or layer == "z" for layer in layers):
        return 0, _DEPTH_NAMES.index(last)
    return (1, _DEPTH_NAMES.index(last)) if not layers else None


def _normal_channels(channels: dict[str, np.ndarray]) -> list[str] | None:
    sets: list[tuple[int, list[str]]] = []
    for letters in ("xyz", "rgb"):
        for name in channels:
            layer, _, last = name.rpartition(".")
            if last.lower() != letters[0]:
                continue
            dot = "." if layer else ""
            names = [next((each for each in channels if each.lower() == f"{layer}{dot}{letter}".lower()), "")
                     for letter in letters]
            if all(names):
                sets.append((0 if "normal" in layer.lower() else 1 if not layer else 2, names))
    best = min(sets, default=None)
    return best[1] if best is not None and best[0] < 2 else None


def _read(path: Path, name: str, max_pixels: int) -> dict[str, np.ndarray]:
    """All channels, (H, W) each, over the display window; what the file leaves out is 0. Parts are layers."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BadImage(f"{name} is not an OpenEXR file.", _REPAIR)
        with OpenEXR.File(str(path), header_only=True) as opened:
            header = dict(opened.header())     # closing empties it
        (x0, y0), (x1, y1) = (np.asarray(each, np.int64) for each in header["displayWindow"])
        width, height = int(x1 - x0 + 1), int(y1 - y0 + 1)
        if width < 1 or height < 1:
            raise BadImage(f"{name} has no pixels.", _REPAIR)
        if width * height > max_pixels or _area(header["dataWindow"]) > max_pixels:
            raise ImageTooLarge(f"{name} is too large ({width}x{height} pixels).", "Render it smaller.")
        with OpenEXR.File(str(path), separate_channels=True) as opened:
            given = {f"{part.name()}.{key}" if number else key:
                     _placed(channel.pixels, np.asarray(part.header["dataWindow"][0]) - (x0, y0), width, height)
                     for number, part in enumerate(opened.parts) for key, channel in part.channels.items()}
        if not {channel.name for channel in header["channels"]} <= set(given):
            raise ValueError("the library gave fewer channels than the header names: it met damage and went on")
    except OSError as error:
        raise BadImage(f"{name} cannot be read: {error.strerror}.", "Check that it is there.") from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:    # what the library raises for damaged files
        raise BadImage(f"{name} is cut short, damaged or not an OpenEXR file.", _REPAIR) from error
    return given


def _area(window: Any) -> int:
    low, high = (np.asarray(each, np.int64) for each in window)
    return int(np.prod(high - low + 1))


def _placed(pixels: np.ndarray, at: np.ndarray, width: int, height: int) -> np.ndarray:
    """A render of a part of the frame, put where it belongs; always a copy. at: (2,) x and y of its first pixel."""
    left, top = int(at[0]), int(at[1])
    if (left, top, *pixels.shape) == (0, 0, height, width):
        return pixels.copy()
    whole = np.zeros((height, width), pixels.dtype)
    x, y = max(left, 0), max(top, 0)
    part = pixels[y - top:y - top + max(0, height - y), x - left:x - left + max(0, width - x)]
    whole[y:y + part.shape[0], x:x + part.shape[1]] = part
    return whole
