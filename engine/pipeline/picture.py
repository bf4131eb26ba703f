"""One picture of an object, as a person has it: any orientation, depth, colour model; upright 8 bit sRGB comes out."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...bridge.errors import BadImage
from .images import FORMATS, UNREADABLE, broken_image, fit_mask, open_image, to_grey, to_rgba
from .progress import Stage

PICTURE_FORMATS = (*FORMATS, "GIF")
LEAST_PX = 16
_SAME_PROPORTIONS = 0.02    # more than of views, which a shape is cut out by


def read_picture(path: Path, name: str, stage: Stage) -> np.ndarray:
    """(H, W, 3) or, with an alpha channel, (H, W, 4) uint8: sRGB, straight alpha, upright (EXIF orientation is done).

    name: what a person calls it. Of an animation the first picture is read, and told; so is a conversion from CMYK.
    Raises BadImage (missing, empty, cut short, no picture, too small), ImageTooLarge before anything is decoded.
    """
    with open_image(path, name, PICTURE_FORMATS) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:     # MPO: a phone's preview, not an animation
            stage.warn(f"{name} is animated, or has several pages; its first picture is used.")
        if image.mode == "CMYK":
            stage.warn(f"{name} is in CMYK, the colours of print; on screen they may come out a little different.")
        pixels = _decoded(image, name, False)
    if min(pixels.shape[:2]) < LEAST_PX:
        raise BadImage(f"{name} is only {pixels.shape[1]}x{pixels.shape[0]} pixels.", "Use the original picture.")
    return pixels


def read_mask(path: Path, whole: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of `size`, (width, height): 255 = object, of a mask's brightness, or of its alpha where that cuts
    something out.

    whole: width and height of its picture as it is stored. Raises as read_picture; BadMasks when its proportions are
    others.
    """
    with open_image(path, "The mask", PICTURE_FORMATS) as image:
        grey = _decoded(image, "The mask", True)
    return fit_mask(grey, whole, size, "The mask", _SAME_PROPORTIONS)


def _decoded(image: Image.Image, name: str, grey: bool) -> np.ndarray:
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return to_grey(upright) if grey else to_rgba(upright)
    except UNREADABLE as error:
        raise broken_image(name, error) from error
