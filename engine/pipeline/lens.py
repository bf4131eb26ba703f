"""What a real lens does to a picture: from ideal image-plane points to where the lens puts them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lens:
    """Distortion of one camera; every coefficient without a unit, all zero = a perfect pinhole.

    radial: k1, k2, k3, k4: factors of r^2, r^4, r^6, r^8 (of theta^2 ... theta^8 when fisheye).
    divisor: factors of r^2, r^4, r^6 below the fraction line (OpenCV's rational model calls them k4, k5, k6).
    tangential: p1, p2 as OpenCV means them.
    fisheye: the equidistant model (OpenCV's fisheye) instead of Brown-Conrady; has no tangential, no divisor.
    """

    radial: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    divisor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    @property
    def is_pinhole(self) -> bool:
        """True when the picture needs no undistortion."""
        return not self.fisheye and not any((*self.radial, *self.divisor, *self.tangential))


PINHOLE = Lens()


def distort(points: np.ndarray, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Move ideal points to where the lens images them.

    points: (..., 2) float64, x/z and y/z of camera space (OpenCV axes), so 1.0 is 45 degrees off the axis.
    Returns the moved points, same shape, and (...) bool: False where the lens model has folded back on itself
    (beyond the largest radius the calibration can mean), so that nothing can be read there.
    Source: OpenCV's documentation of calib3d and calib3d fisheye; the r^8 term as nerfstudio's k4.
    """
    x, y = points[..., 0], points[..., 1]
    square = x * x + y * y
    if lens.fisheye:
        return _distort_fisheye(points, np.sqrt(square), lens)
    k1, k2, k3, k4 = lens.radial
    d1, d2, d3 = lens.divisor
    p1, p2 = lens.tangential
    top = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
    bottom = 1 + square * (d1 + square * (d2 + square * d3))
    gain = top / bottom
    moved = np.stack([x * gain + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                      y * gain + p1 * (square + 2 * y * y) + 2 * p2 * x * y], axis=-1)
    return moved, square < _fold_square(lens)


def _distort_fisheye(points: np.ndarray, radius: np.ndarray, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, k3, k4 = lens.radial
    theta = np.arctan(radius)
    square = theta * theta
    bent = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    gain = np.where(radius > 1e-9, bent / np.maximum(radius, 1e-9), 1.0)
    return points * gain[..., None], theta < np.sqrt(_fold_square(lens))


def _fold_square(lens: Lens) -> float:
    """Smallest r^2 (theta^2 for fisheye) at which the distorted radius stops growing; infinity when it never does."""
    k1, k2, k3, k4 = lens.radial
    d1, d2, d3 = lens.divisor
    s = np.linspace(0.0, 9.0, 4001)  # r = 3 is 143 degrees across: wider than any lens that is not a fisheye
    top = 1 + s * (k1 + s * (k2 + s * (k3 + s * k4)))
    bottom = 1 + s * (d1 + s * (d2 + s * d3))
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = np.sqrt(s) * top / bottom
    falls = np.flatnonzero(~(np.diff(radius) > 0) | (bottom[1:] <= 0))
    return float(s[falls[0]]) if len(falls) else float("inf")
