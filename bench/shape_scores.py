"""How near a surface is to the true one: figures over points that are spread evenly over both."""
from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import KDTree

from .known_mesh import KnownMesh
from .quality import volume_iou

POINTS = 200_000      # with 60 000 points many of one surface are farther than NEAR from those of its double
NEAR = 0.005          # of the diagonal of the true shape's box


def surface_points(shape: trimesh.Trimesh, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(points, unit normals) of the faces they lie on, each (POINTS, 3), even by area."""
    sampled = trimesh.sample.sample_surface(shape, POINTS, seed=seed)
    return np.asarray(sampled[0]), np.asarray(shape.face_normals)[sampled[1]]


def score_shape(found: KnownMesh, truth: KnownMesh) -> dict[str, float]:
    """iou: of volumes. f: F score, the harmonic mean of the shares of points that lie within .5 % of the diagonal of
    the other surface. normals: mean |cosine| of the normals at nearest points, both ways. chamfer: mean distance to the
    other surface, both ways summed, in diagonals."""
    solid, true = found.solid, truth.solid
    diagonal = float(np.linalg.norm(true.bounds[1] - true.bounds[0]))
    (here, facing), (there, true_facing) = surface_points(solid), surface_points(true, 1)
    to_true, nearest_true = KDTree(there).query(here)
    to_found, nearest_found = KDTree(here).query(there)
    precision, recall = (float((away < NEAR * diagonal).mean()) for away in (to_true, to_found))
    alike = [np.abs((facing * true_facing[nearest_true]).sum(1)).mean(),
             np.abs((true_facing * facing[nearest_found]).sum(1)).mean()]
    return {"iou": volume_iou(solid, true), "f": 2 * precision * recall / max(precision + recall, 1e-9),
            "normals": float(np.mean(alike)), "chamfer": float((to_true.mean() + to_found.mean()) / diagonal)}
