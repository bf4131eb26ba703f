"""Slow, obvious twins of the kernels, in numpy float64. Tests compare the fast path with these."""
from __future__ import annotations

import numpy as np


def rasterize_ref(clip: np.ndarray, faces: np.ndarray, height: int, width: int,
                  near_w: float = 1e-6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twin of rasterize for one view: clip (V, 4) float64, faces (F, 3). Returns face (H, W), weights (H, W, 2), depth (H, W).

    For each triangle and pixel the barycentric weights solve  weights @ corners(x, y, w)  proportional to (x, y, 1)
    of the pixel: that is the definition of perspective-correct interpolation.
    """
    rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    pixels = np.stack([columns / width * 2 - 1, rows / height * 2 - 1, np.ones_like(rows)], -1)
    face_at = np.full((height, width), -1)
    weights = np.zeros((height, width, 2))
    depth = np.full((height, width), np.inf)
    nearest = np.full((height, width), np.inf)
    for index, face in enumerate(faces):
        corners = clip[face]
        matrix = corners[:, [0, 1, 3]]
        if abs(np.linalg.det(matrix)) < 1e-14:
            continue
        raw = pixels @ np.linalg.inv(matrix)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = raw / raw.sum(-1, keepdims=True)
        w = share @ corners[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = share @ corners[:, 2] / w
        hit = (share >= 0).all(-1) & (w >= near_w) & (np.abs(z) <= 1) & (z < nearest)
        nearest[hit], face_at[hit], depth[hit], weights[hit] = z[hit], index, w[hit], share[hit][:, :2]
    return face_at, weights, depth
