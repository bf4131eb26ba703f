"""Shapes made by code, painted with a smooth pattern: what a reconstruction is measured on besides scanned things."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from skimage.measure import marching_cubes

from ..engine.pipeline.surface import signed_volume
from .known_mesh import KnownMesh

CELLS = 112         # along the box in which a shape is sampled
HALF = 1.15         # of that box

Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _box(x: np.ndarray, y: np.ndarray, z: np.ndarray, half: tuple[float, float, float]) -> np.ndarray:
    away = np.stack([np.abs(x) - half[0], np.abs(y) - half[1], np.abs(z) - half[2]])
    return np.sqrt(np.square(away.clip(0)).sum(0)) + away.max(0).clip(max=0)


def _ring(x: np.ndarray, y: np.ndarray, z: np.ndarray, large: float, small: float) -> np.ndarray:
    return np.hypot(np.hypot(x, y) - large, z) - small


def bowl(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Concave: a cup with a thick wall, whose hollow no outline shows, and a dented side."""
    outside = np.sqrt(x**2 + y**2 + (1.2 * z)**2) - 0.9
    hollow = np.sqrt(x**2 + y**2 + (1.2 * (z - 0.35))**2) - 0.68
    dent = np.sqrt((x - 0.95)**2 + y**2 + (z + 0.25)**2) - 0.35
    return np.maximum(np.maximum(np.maximum(outside, -hollow), -dent), z - 0.45)


def lattice(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """High genus: twelve edges of a cube, one diagonal bar, all round rods."""
    rods = []
    for a, b, along in ((x, y, z), (y, z, x), (z, x, y)):
        rods += [np.maximum(np.hypot(a - p, b - q) - 0.15, np.abs(along) - 0.8)
                 for p in (-0.65, 0.65) for q in (-0.65, 0.65)]
    across = (x + y + z) / 3
    bar = np.sqrt((x - across)**2 + (y - across)**2 + (z - across)**2) - 0.12
    return np.minimum(np.min(rods, 0), np.maximum(bar, np.abs(across) - 0.6))


def blades(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Thin: a wheel with four blades, .07 thick where it is 2 wide."""
    wheel = np.maximum(np.abs(np.hypot(x, y) - 0.95) - 0.05, np.abs(z) - 0.25)
    first = _box(x, y - 0.1 * z, z, (0.95, 0.035, 0.25))
    second = _box(x + 0.1 * z, y, z, (0.035, 0.95, 0.25))
    return np.minimum(np.minimum(wheel, first), second)


def parts(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Several parts that touch nowhere: a ball inside a standing ring, a block and a small ball beside them."""
    ring = _ring(x, z, y, 0.7, 0.16)
    ball = np.sqrt(x**2 + y**2 + z**2) - 0.35
    block = _box(x - 0.1, y - 0.65, z + 0.2, (0.4, 0.18, 0.5)) - 0.05
    small = np.sqrt((x + 0.3)**2 + (y + 0.7)**2 + (z + 0.6)**2) - 0.22
    return np.minimum(np.minimum(ring, ball), np.minimum(block, small))


SHAPES: dict[str, Distance] = {"bowl": bowl, "lattice": lattice, "blades": blades, "parts": parts}


def make_shape(name: str) -> KnownMesh:
    """One of SHAPES, closed, in [-1.1, 1.1]^3, with colours that vary over its surface."""
    ticks = np.linspace(-HALF, HALF, CELLS)
    distance = SHAPES[name](*np.meshgrid(ticks, ticks, ticks, indexing="ij"))
    # a sample of exactly 0 would make triangles without area
    distance = np.where(np.abs(distance) < 1e-4, 1e-4, distance)
    vertices, faces, _, _ = marching_cubes(distance, 0.0, gradient_direction="ascent", allow_degenerate=False)
    corners = (vertices * (2 * HALF / (CELLS - 1)) - HALF).astype(np.float32)[faces]
    if signed_volume(vertices, faces) < 0:
        corners = np.ascontiguousarray(corners[:, ::-1])
    return KnownMesh(corners, colours=painted(corners))


def painted(points: np.ndarray) -> np.ndarray:
    """(..., 3) float32 sRGB in [0, 1] of places: waves of several lengths, another in each channel."""
    waves = np.sin(points @ np.array([[7.0, 1.0, 3.0], [2.0, 9.0, -4.0], [-3.0, 4.0, 8.0]]) + [0.0, 1.0, 2.0])
    fine = np.sin(points.sum(-1, keepdims=True) * 17.0)
    return (0.5 + 0.3 * waves + 0.12 * fine).astype(np.float32)
