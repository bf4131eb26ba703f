"""Colours for meshes that are shown on their way."""
from __future__ import annotations

import dataclasses

import numpy as np

from .types import Mesh, Snapshot


def colour_bytes(colours: np.ndarray) -> np.ndarray:
    """(V, 3) uint8 of (V, 3) floats in [0, 1]; what is outside is clamped, what is no number is 0."""
    return (np.nan_to_num(colours, nan=0.0).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def recoloured(mesh: Mesh, coloured: Snapshot) -> Mesh:
    """`mesh` with the colour of the nearest vertex of `coloured` at each of its vertices. Same frame.

    Without finite vertices on both sides, or without colours, it is `mesh` itself.
    """
    if coloured.colours is None or not len(coloured.vertices) or not len(mesh.vertices):
        return mesh
    if not (np.isfinite(mesh.vertices).all() and np.isfinite(coloured.vertices).all()):
        return mesh
    from scipy.spatial import KDTree  # late: what only counts progress does without

    nearest = KDTree(coloured.vertices).query(mesh.vertices)[1]
    if isinstance(mesh, Snapshot):
        return dataclasses.replace(mesh, colours=coloured.colours[nearest])
    return Snapshot(mesh.vertices, mesh.faces, coloured.colours[nearest])
