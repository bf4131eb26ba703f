"""The picture as the network wants it: the object on grey, in the middle of a square. Source: spec triposr, 8."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....bridge.errors import BadImage, BadMasks
from ...pipeline.types import Camera

DISTANCE, FOV_DEG = 1.9, 40.0   # of the camera that the network takes every picture for
_GREY = 0.5


@dataclass(frozen=True)
class Conditioned:
    """picture: (S, S, 3) uint8, sRGB. left, top: its pixel (0, 0) in pixels of the picture it was cut from."""

    picture: np.ndarray
    left: int
    top: int


def condition_picture(image: np.ndarray, foreground_ratio: float) -> Conditioned:
    """Cut the object out, put it on grey so that it fills `foreground_ratio` of a square. Nothing is resampled.

    image: (H, W, 4) uint8, sRGB, straight alpha. foreground_ratio: (0, 1].
    Raises BadImage (another shape or type), BadMasks (alpha is 0 everywhere, or on a line only).
    """
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise BadImage(f"The picture is {image.dtype} {image.shape}, not 8 bit with red, green, blue and alpha.")
    rgba, left, top = centre_object(image, foreground_ratio)
    return Conditioned(put_on_grey(rgba), left, top)


def centre_object(image: np.ndarray, foreground_ratio: float) -> tuple[np.ndarray, int, int]:
    """The object in the middle of a square: ((S, S, 4) uint8, left, top); see Conditioned. Raises BadMasks."""
    rows, columns = np.nonzero(image[:, :, 3])
    if not len(rows) or rows.min() == rows.max() or columns.min() == columns.max():
        raise BadMasks("The mask leaves nothing of the picture.", "Paint it white on the object.")
    # the last row and column of the object are left out, as they were when the network was trained
    top, bottom, left, right = int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())
    height, width = bottom - top, right - left
    size = max(height, width)
    square = int(size / foreground_ratio)
    # in two steps, so that each half pixel goes to the side where the published code puts it
    x = (size - width) // 2 + (square - size) // 2
    y = (size - height) // 2 + (square - size) // 2
    centred = np.zeros((square, square, 4), np.uint8)
    centred[y:y + height, x:x + width] = image[top:bottom, left:right]
    return centred, left - x, top - y


def put_on_grey(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 straight alpha -> (H, W, 3) uint8 on medium grey, cut off and not rounded."""
    values = rgba.astype(np.float32) / 255
    alpha = values[:, :, 3:]
    return ((values[:, :, :3] * alpha + _GREY * (1 - alpha)) * 255).astype(np.uint8)


def picture_camera(image: np.ndarray, conditioned: Conditioned, lift: float) -> Camera:
    """The camera that took `image` (H, W, 4), in Blender's world: on -Y, looking along +Y.

    lift: how far the object was moved up to stand on the ground.
    """
    height, width = image.shape[:2]
    square = len(conditioned.picture)
    focal_px = 0.5 * square / math.tan(math.radians(FOV_DEG) / 2)
    return Camera.facing_front(width, height, focal_px, conditioned.left + square / 2, conditioned.top + square / 2,
                               DISTANCE, lift)
