"""A plane of symmetry: mirrored points, mirrored partners of vertices, and a mesh made symmetric."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from ...bridge.errors import BadMesh, BadSettings
from .manifold import compact, mean_edge, part_touching
from .types import Mesh

AXES = ("x", "y", "z")
REACH = 0.25        # of the mean edge around a vertex: how far its partner may be from where the mirror shows it


@dataclass(frozen=True)
class Symmetry:
    """A plane. point: (3,) float64, world, on it. normal: (3,) float64, unit, world."""

    point: np.ndarray
    normal: np.ndarray

    def distance(self, points: np.ndarray) -> np.ndarray:
        """(N,) float64, positive on the normal's side. points: (N, 3)."""
        return (points.astype(np.float64) - self.point) @ self.normal

    def mirror(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) float64."""
        return points - 2 * self.distance(points)[:, None] * self.normal


def symmetry_along(axis: str, origin: np.ndarray, axes: np.ndarray | None = None) -> Symmetry:
    """The plane through `origin` ((3,), world) whose normal is "x", "y" or "z".

    axes: (3, 3) float, rows are the unit normals x, y and z in the world; None: the world's axes. Raises BadSettings.
    """
    if axis not in AXES:
        raise BadSettings(f"There is no axis called {axis!r}.", "Choose x, y or z.")
    return Symmetry(np.asarray(origin, np.float64), (np.eye(3) if axes is None else axes)[AXES.index(axis)])


def mirrored_partners(mesh: Mesh, plane: Symmetry) -> np.ndarray:
    """(V,) int64: the vertex that each one has as its mirror image (itself on the plane), -1 where there is none.

    Two vertices are partners when each is the nearest to the other's image, within a quarter of an edge.
    """
    image = plane.mirror(mesh.vertices)
    away, nearest = (np.asarray(each) for each in KDTree(mesh.vertices).query(image))
    mutual = nearest[nearest] == np.arange(len(nearest))
    return np.where(mutual & (away < REACH * mean_edge(mesh.vertices, mesh.faces)), nearest, -1)


def make_symmetric(mesh: Mesh, plane: Symmetry, snap: float) -> Mesh:
    """The half on the normal's side and its mirror image, joined in the plane. Closed stays closed.

    snap: world units; vertices nearer to the plane are moved into it, so that the cut leaves no slivers.
    Raises BadMesh when nothing is on that side.
    """
    vertices, side = mesh.vertices.astype(np.float64), plane.distance(mesh.vertices)
    near = np.abs(side) < snap
    vertices[near] -= side[near, None] * plane.normal
    sign = np.where(near, 0, np.sign(side)).astype(int)
    vertices, faces, sign = _half(vertices, mesh.faces, sign, side)
    if not len(faces):
        raise BadMesh("The mesh has nothing on one side of its plane of symmetry.",
                      "Move the mesh or its origin so that the plane runs through its middle.")
    count, doubled = len(vertices), sign > 0
    image = np.where(doubled, count + np.cumsum(doubled) - 1, np.arange(count))
    whole = compact(np.concatenate([vertices, plane.mirror(vertices[doubled])]),
                    np.concatenate([faces, image[faces][:, ::-1]]))
    return part_touching(whole)


def _half(vertices: np.ndarray, faces: np.ndarray, sign: np.ndarray,
          side: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces with sign >= 0, those that cross the plane cut at it. Returns vertices, faces, and the vertices' signs."""
    low, high = sign[faces].min(1), sign[faces].max(1)
    made: dict[tuple[int, int], int] = {}
    places: list[np.ndarray] = []
    extra: list[tuple[int, int, int]] = []

    def cut(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in made:
            made[key] = len(vertices) + len(places)
            share = side[key[0]] / (side[key[0]] - side[key[1]])
            places.append(vertices[key[0]] + share * (vertices[key[1]] - vertices[key[0]]))
        return made[key]

    for face in faces[(low < 0) & (high > 0)].tolist():
        outline: list[int] = []
        for a, b in zip(face, face[1:] + face[:1]):
            if sign[a] >= 0:
                outline.append(a)
            if sign[a] * sign[b] < 0:
                outline.append(cut(a, b))
        extra += [(outline[0], outline[k], outline[k + 1]) for k in range(1, len(outline) - 1)]
    kept = np.concatenate([faces[(low >= 0) & (high > 0)], np.array(extra, faces.dtype).reshape(-1, 3)])
    return (np.concatenate([vertices, np.array(places).reshape(-1, 3)]), kept,
            np.concatenate([sign, np.zeros(len(places), int)]))
