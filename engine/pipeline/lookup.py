"""Colours of an image at many places, as many as there are."""
from __future__ import annotations

import cv2
import numpy as np

ROWS = 30_000      # cv2.remap takes fewer than 32,768 a time


def read_pixels(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear, clamped at the border.

    image: (H, W) or (H, W, C), row 0 on top. x, y: (N,) pixel coordinates, centres at +0.5; N may be 0.
    Returns (N,) or (N, C) in the image's dtype. Source: own.
    """
    if not len(x):
        return np.zeros((0, *image.shape[2:]), image.dtype)
    at_x, at_y = ((np.asarray(each) - 0.5).astype(np.float32)[:, None] for each in (x, y))
    parts = [cv2.remap(image, at_x[first:first + ROWS], at_y[first:first + ROWS], cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE) for first in range(0, len(at_x), ROWS)]
    return np.concatenate(parts)[:, 0]
