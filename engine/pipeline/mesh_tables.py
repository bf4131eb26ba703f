"""What the readers of mesh files have in common: the table they fill, and how polygons become triangles."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


class Damaged(Exception):
    """A mesh file does not hold what its format says. The text completes "The mesh cannot be read as .x: ..."."""


@dataclass(frozen=True)
class MeshTable:
    """A mesh as its file has it. vertices: (V, 3) float64, the file's axes. faces: (F, 3) int. corner_uvs: (F, 3, 2)
    float32, v up, or None. attributes: name -> (V,) or (V, C). split: vertices are split at seams. origin: (3,)
    float64, of the object, the file's axes. axes: (3, 3) float64, rows are unit normals of the object's own planes
    (where its x, y, z are 0) in the world, or None: the world's axes."""

    vertices: np.ndarray
    faces: np.ndarray
    corner_uvs: np.ndarray | None
    attributes: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()
    split: bool = False
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    axes: np.ndarray | None = None


def fans(sizes: Sequence[int] | np.ndarray) -> tuple[np.ndarray, str]:
    """Triangles of polygons whose corners stand one after another. sizes: (P,) corners of each.

    Returns (F, 3) int64 into the corners, in the order of the polygons, and a warning or "". Polygons with fewer than
    three corners are dropped. Source: own.
    """
    sizes = np.asarray(sizes, np.int64)
    start = np.cumsum(sizes) - sizes
    count = np.maximum(sizes - 2, 0)
    first = np.repeat(start, count)
    step = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    large, small = int((sizes > 3).sum()), int((sizes < 3).sum())
    told = [f"{large} faces of the mesh have more than three corners and were split into triangles"] if large else []
    told += [f"{small} faces with fewer than three corners were left out"] if small else []
    return np.stack([first, first + step + 1, first + step + 2], -1).reshape(-1, 3), "; ".join(told) + "." * bool(told)
