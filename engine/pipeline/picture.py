"""One picture of an object, as a person has it: any orientation, depth, colour model; upright 8 bit sRGB comes out."""
from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from ...bridge.errors import BadImage, BadMasks
from .images import FORMATS, MAX_PIXELS, UNREADABLE, broken_image, to_grey, to_rgba, too_large_image
from .progress import Stage

PICTURE_FORMATS = (*FORMATS, "GIF")
LEAST_PX = 16
_SAME_PROPORTIONS = 0.02


def read_picture(path: Path, name: str, stage: Stage) -> np.ndarray:
    """(H, W, 3) or, with an alpha channel, (H, W, 4) uint8: sRGB, straight alpha, upright (EXIF orientation is done).

    name: what a person calls it. Of an animation the first picture is read, and told; so is a conversion from CMYK.
    Raises BadImage (missing, empty, cut short, no picture, too small), ImageTooLarge before anything is decoded.
    """
    with _opened(path, name) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:     # MPO: a phone's preview, not an animation
            stage.warn(f"{name} is animated, or has several pages; its first picture is used.")
        if image.mode == "CMYK":
            stage.warn(f"{name} is in CMYK, the colours of print; on screen they may come out a little different.")
        pixels = _decoded(image, name, False)
    if min(pixels.shape[:2]) < LEAST_PX:
        raise BadImage(f"{name} is only {pixels.shape[1]}x{pixels.shape[0]} pixels.", "Use the original picture.")
    return pixels


def read_mask(path: Path, width: int, height: int) -> np.ndarray:
    """(height, width) uint8, 255 = object, of a mask's brightness, or of its alpha where that cuts something out.

    Raises as read_picture; BadMasks when its proportions are not those of width x height.
    """
    with _opened(path, "The mask") as image:
        grey = _decoded(image, "The mask", True)
    tall, wide = grey.shape
    if abs(wide / tall / (width / height) - 1) > max(_SAME_PROPORTIONS, 1.0 / min(wide, tall)):
        raise BadMasks(f"The mask is {wide}x{tall} pixels, the picture {width}x{height}.",
                       "A mask must have the proportions of its picture, held upright.")
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if wide > width else cv2.INTER_LINEAR)


def _opened(path: Path, name: str) -> Image.Image:
    """The picture with its header read. Raises BadImage, ImageTooLarge."""
    try:
        if path.stat().st_size == 0:
            raise BadImage(f"{name} is an empty file.", "Save or download it again.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)     # our own limit is below
            image = Image.open(path, formats=PICTURE_FORMATS)
    except Image.DecompressionBombError as error:
        raise too_large_image(name) from error
    except UNREADABLE as error:
        raise broken_image(name, error) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise too_large_image(name, f" ({image.width}x{image.height} pixels)")
    return image


def _decoded(image: Image.Image, name: str, grey: bool) -> np.ndarray:
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return to_grey(upright) if grey else to_rgba(upright)
    except UNREADABLE as error:
        raise broken_image(name, error) from error
