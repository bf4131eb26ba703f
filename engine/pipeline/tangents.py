"""Tangents at the corners of a triangle mesh, as Blender, glTF viewers and game engines make them (MikkTSpace).

A normal map is only right when whoever reads it has the tangents that it was made with.
Source: M. Mikkelsen, "Simulation of Wrinkled Surfaces Revisited", 2008, chapter 5, which the whole trade follows;
written anew for arrays and compared with Blender's `Mesh.calc_tangents` (tests/blender).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .normals import corner_angles
from .types import Mesh


@dataclass(frozen=True)
class CornerTangents:
    """tangents: (F, 3, 3) float32, unit, world, across the corner's normal, to where u grows. signs: (F,) float32, 1,
    or -1 where the chart is mirrored: the bitangent, to where v grows, is sign * cross(normal, tangent)."""

    tangents: np.ndarray
    signs: np.ndarray


def corner_tangents(mesh: Mesh, corner_uvs: np.ndarray, normals: np.ndarray) -> CornerTangents:
    """MikkTSpace tangents of a smooth mesh.

    corner_uvs: (F, 3, 2) float32, v up. normals: (V, 3) float32 unit, those that the mesh is shaded with.
    Corners of one vertex share a tangent while the faces between them join without a seam of the texture and are not
    mirrored against each other. Faces without area in the texture take the tangent of another corner of their vertex;
    where there is none, any direction across the normal.
    """
    place, corner_of = _welded(mesh, corner_uvs, normals)
    along, mirrored, flat = _directions(mesh, corner_uvs)
    group = _groups(corner_of, mirrored, flat)
    facing = normals[mesh.faces].astype(np.float64)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    weight = _angles_across(corners, facing) * ~flat[:, None]
    share = _unit(_across(along[:, None], facing)) * weight[..., None]
    total = np.stack([np.bincount(group.ravel(), share[..., axis].ravel(), minlength=int(group.max()) + 1)
                      for axis in range(3)], -1)
    tangents = _unit(total)[group]
    _fill_flat(tangents, flat, corner_of, place, facing)
    return CornerTangents(tangents.astype(np.float32), np.where(mirrored, -1, 1).astype(np.float32))


def _welded(mesh: Mesh, corner_uvs: np.ndarray, normals: np.ndarray) -> tuple[int, np.ndarray]:
    """Corners with the same position, normal and UV are one: how many there are, and (F, 3) which one each is."""
    rows = np.concatenate([mesh.vertices[mesh.faces], normals[mesh.faces], corner_uvs], -1).reshape(-1, 8)
    rows = np.ascontiguousarray(rows.astype(np.float32) + np.float32(0))     # + 0 turns -0 into 0
    _, which = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * 8))), return_inverse=True)
    return int(which.max()) + 1, which.reshape(-1, 3)


def _directions(mesh: Mesh, corner_uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each face: where u grows (F, 3) unit, whether its chart is mirrored, whether it says nothing (no area)."""
    corners, uvs = mesh.vertices[mesh.faces].astype(np.float64), corner_uvs.astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    u, v = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    along = first * v[:, 1:] - second * u[:, 1:]
    flat = (np.abs(area) < np.finfo(np.float32).tiny) | (np.linalg.norm(np.cross(first, second), axis=1) == 0)
    return _unit(along * np.where(area < 0, -1.0, 1.0)[:, None]), area < 0, flat


def _groups(corner_of: np.ndarray, mirrored: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """(F, 3) which corners share a tangent: joined across edges, from face to face of the same handedness."""
    faces = len(corner_of)
    face = np.tile(np.arange(faces), 3)[np.tile(~flat, 3)]
    start, end = (np.concatenate([np.roll(corner_of, -step, 1)[:, edge] for edge in range(3)])[np.tile(~flat, 3)]
                  for step in (0, 1))
    edge = np.repeat(np.arange(3), faces)[np.tile(~flat, 3)]
    low, high, turned = np.minimum(start, end), np.maximum(start, end), start > end
    order = np.lexsort((face, turned, mirrored[face], high, low))
    a, b = order[:-1], order[1:]
    # an edge of one direction and the next one of the other, same ends, same handedness: two faces that join there
    alike = (low[a] == low[b]) & (high[a] == high[b]) & (mirrored[face[a]] == mirrored[face[b]])
    joined = alike & ~turned[a] & turned[b]
    a, b = a[joined], b[joined]
    here, there = 3 * face[a] + edge[a], 3 * face[b] + edge[b]
    next_here, next_there = 3 * face[a] + (edge[a] + 1) % 3, 3 * face[b] + (edge[b] + 1) % 3
    links = coo_matrix((np.ones(2 * len(a), np.int8), (np.r_[here, next_here], np.r_[next_there, there])),
                       shape=(3 * faces, 3 * faces))
    return connected_components(links, directed=False)[1].reshape(-1, 3)


def _angles_across(corners: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """(F, 3) angle of each corner, seen along its own normal."""
    flat = []
    for corner in range(3):
        normal = facing[:, corner:corner + 1]
        flat.append(corner_angles(_across(corners, np.broadcast_to(normal, corners.shape)))[:, corner])
    return np.stack(flat, -1)


def _across(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The part of vectors that lies across unit normals."""
    return vectors - normals * (vectors * normals).sum(-1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _fill_flat(tangents: np.ndarray, flat: np.ndarray, corner_of: np.ndarray, places: int, facing: np.ndarray) -> None:
    """Give a tangent to corners that have none, from another corner at the same place."""
    lost = np.linalg.norm(tangents, axis=-1) < 0.5
    lost |= flat[:, None]
    known = np.full(places, -1, np.int64)
    known[corner_of[~lost]] = np.flatnonzero(~lost.ravel())
    source = known[corner_of[lost]]
    side = np.where(np.abs(facing[lost][:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    own = _unit(_across(side, facing[lost]))
    tangents[lost] = np.where(source[:, None] >= 0, tangents.reshape(-1, 3)[np.maximum(source, 0)], own)
