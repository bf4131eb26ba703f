"""Normals of a triangle mesh."""
from __future__ import annotations

import numpy as np


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) float64, length = twice the area, pointing to where the corners run counter-clockwise."""
    corners = vertices[faces].astype(np.float64)
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit normals: the mean of the faces around a vertex by area; (0, 0, 1) where there is none."""
    normal = face_normals(vertices, faces)
    total = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            total[:, axis] += np.bincount(faces[:, corner], normal[:, axis], minlength=len(vertices))
    return _unit(total)


def shading_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit normals as Blender shades a smooth mesh with: the mean of the faces around a vertex by the
    angle of their corners; (0, 0, 1) where there is none. Source: measured against Blender's `corner_normals`."""
    normal = face_normals(vertices, faces)
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    angle = corner_angles(vertices[faces].astype(np.float64))
    total = np.stack([np.bincount(faces.ravel(), (angle * unit[:, axis:axis + 1]).ravel(), minlength=len(vertices))
                      for axis in range(3)], -1)
    return _unit(total)


def _unit(total: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.where(length > 0, length, 1), [0.0, 0.0, 1.0]).astype(np.float32)


def corner_angles(corners: np.ndarray) -> np.ndarray:
    """(F, 3) float64 radians, from the corners' positions (F, 3, 3); 0 at an edge without length."""
    after, before = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    length = np.linalg.norm(after, axis=2) * np.linalg.norm(before, axis=2)
    cosine = (after * before).sum(2) / np.where(length > 0, length, 1)
    return np.where(length > 0, np.arccos(np.clip(cosine, -1, 1)), 0.0)
