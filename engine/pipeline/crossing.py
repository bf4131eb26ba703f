"""Which faces of a mesh run through each other, and which place of a mesh is nearest to a point."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import warp as wp

from ..render.backend import prepare_kernels
from .crossing_kernels import find_crossings, find_nearest
from .types import Mesh


def search_tree(mesh: Mesh) -> Any:
    """The mesh with a tree of boxes for Warp's queries, on the CPU."""
    wp.init()   # returns at once when it has run
    prepare_kernels(find_crossings, torch.device("cpu"))
    return wp.Mesh(points=wp.array(mesh.vertices, dtype=wp.vec3, device="cpu"),
                   indices=wp.array(mesh.faces.ravel(), dtype=wp.int32, device="cpu"))


def crossing_faces(mesh: Mesh) -> np.ndarray:
    """(F,) bool: faces that run through another face. Touching, and folding about a shared edge, do not count.

    Segments against triangles by the signs of tetrahedra, in float64 (Segura and Feito 2001).
    """
    hit = np.zeros(len(mesh.faces), np.int32)
    tree = search_tree(mesh)
    wp.launch(find_crossings, dim=len(hit), device="cpu",
              inputs=[tree.id, wp.array(mesh.faces, dtype=wp.int32, device="cpu"),
                      wp.array(hit, dtype=wp.int32, device="cpu", copy=False)])
    return hit.astype(bool)


def nearest_places(mesh: Mesh, points: np.ndarray, normals: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The place of the mesh nearest to each point, on a side that looks the way of the point's normal if there is one.

    points, normals: (N, 3) float32. reach: world units, how far to look for the right side of a thin wall.
    Returns the face (N,) int32 and the weights of its corners (N, 3) float32.
    """
    face, weights = np.zeros(len(points), np.int32), np.zeros((len(points), 3), np.float32)
    tree = search_tree(mesh)
    wp.launch(find_nearest, dim=len(points), device="cpu",
              inputs=[tree.id, wp.array(points, dtype=wp.vec3, device="cpu"),
                      wp.array(normals, dtype=wp.vec3, device="cpu"), reach,
                      wp.array(face, dtype=wp.int32, device="cpu", copy=False),
                      wp.array(weights, dtype=wp.vec3, device="cpu", copy=False)])
    return face, weights
