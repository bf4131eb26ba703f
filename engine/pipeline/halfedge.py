"""A triangle mesh as half-edges in growable arrays: how it is made, grown, packed and handed to Warp kernels."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import warp as wp
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .halfedge_kernels import Surface
from .normals import face_normals

FREE, LINE, CORNER, FROZEN = range(4)   # may move anywhere, along its line, not at all, not even lose a neighbour
LINE_TURN_DEG = 45.0                    # a sharp line or border that turns by more has a corner there


def fan_vertices(faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces whose vertices carry one fan each, the twins of their half-edges, and where each vertex comes from.

    faces: (F, 3) int; every directed edge at most once. A vertex in which several fans touch gets a copy for each.
    Returns (F, 3) int32, (3 F) int32 with -1 at open borders, (V,) int32 index into the old vertices.
    """
    origin = faces.ravel().astype(np.int64)
    target = np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    forward, backward = origin * vertex_count + target, target * vertex_count + origin
    order = np.argsort(forward)
    place = np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)
    twin = np.where(forward[order][place] == backward, order[place], -1)
    has = np.flatnonzero(twin >= 0)
    after = twin[has] - twin[has] % 3 + (twin[has] + 1) % 3     # starts in the same vertex as the half-edge itself
    graph = coo_matrix((np.ones(len(has), np.int8), (has, after)), shape=(len(origin), len(origin)))
    fan = connected_components(graph, directed=False)[1]
    source = np.zeros(int(fan.max()) + 1, np.int64)
    source[fan] = origin
    # in the order of the vertices they come from, so that a clean mesh keeps its numbering
    rank = np.argsort(source, kind="stable")
    number = np.empty_like(rank)
    number[rank] = np.arange(len(rank))
    return number[fan].reshape(-1, 3).astype(np.int32), twin.astype(np.int32), source[rank].astype(np.int32)


@dataclass
class HalfEdges:
    """The arrays of halfedge_kernels.Surface; vertices and faces in use come first, the rest is room to grow."""

    place: np.ndarray
    size: np.ndarray
    kind: np.ndarray
    origin: np.ndarray
    twin: np.ndarray
    feature: np.ndarray
    out: np.ndarray = field(init=False)
    count: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.out = np.full(len(self.place), -1, np.int32)
        self.out[self.origin] = np.arange(len(self.origin), dtype=np.int32)
        self.count = np.array([len(self.place), len(self.origin) // 3, 0, 0], np.int32)

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int32, those in use."""
        return self.origin[:3 * int(self.count[1])].reshape(-1, 3)

    @property
    def vertices(self) -> np.ndarray:
        """(V, 3) float32, those in use."""
        return self.place[:int(self.count[0])]

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """One half-edge of each edge, (E,) int32, and its length in units of its target length, (E,) float32."""
        used = 3 * int(self.count[1])
        h = np.flatnonzero((self.origin[:used] >= 0) & (self.twin[:used] < np.arange(used))).astype(np.int32)
        a, b = self.origin[h], self.origin[h - h % 3 + (h + 1) % 3]
        length = np.linalg.norm(self.place[a] - self.place[b], axis=1)
        return h, length / (0.5 * (self.size[a] + self.size[b]))

    def line_edges(self) -> np.ndarray:
        """Ends of all sharp and open edges, (E, 2) int32, each edge once."""
        used = 3 * int(self.count[1])
        h = np.flatnonzero((self.origin[:used] >= 0) & (self.feature[:used] > 0)
                           & (self.twin[:used] < np.arange(used)))
        return np.stack([self.origin[h], self.origin[h - h % 3 + (h + 1) % 3]], -1)

    def excess(self) -> np.ndarray:
        """(V,) int32: neighbours of each vertex above the regular number, 6, or 4 on an open border."""
        used = 3 * int(self.count[1])
        origin = self.origin[:used][self.origin[:used] >= 0]
        open_edge = (self.origin[:used] >= 0) & (self.twin[:used] < 0)
        border = np.bincount(self.origin[:used][open_edge], minlength=int(self.count[0]))
        return (np.bincount(origin, minlength=int(self.count[0])) - 6 + 3 * border).astype(np.int32)

    def reserve(self, vertices: int, faces: int) -> None:
        """Make room for so many more vertices and faces."""
        more_v = int(self.count[0]) + vertices - len(self.place)
        more_f = 3 * (int(self.count[1]) + faces) - len(self.origin)
        if more_v > 0:
            self.place, self.size, self.kind, self.out = (
                _longer(array, more_v) for array in (self.place, self.size, self.kind, self.out))
        if more_f > 0:
            self.origin, self.twin, self.feature = (
                _longer(array, more_f) for array in (self.origin, self.twin, self.feature))

    def pack(self) -> None:
        """Drop vertices and faces that are gone; the order of the others stays."""
        face_used = self.faces[:, 0] >= 0
        vertex_used = np.zeros(int(self.count[0]), bool)
        vertex_used[self.faces[face_used]] = True
        new_vertex = (np.cumsum(vertex_used) - 1).astype(np.int32)
        new_face = (np.cumsum(face_used) - 1).astype(np.int32)
        corners = np.repeat(face_used, 3)
        twin = self.twin[:len(corners)][corners]
        self.twin = np.where(twin >= 0, 3 * new_face[twin // 3] + twin % 3, -1).astype(np.int32)
        self.feature = self.feature[:len(corners)][corners]
        self.origin = new_vertex[self.origin[:len(corners)][corners]]
        self.place, self.size, self.kind = (array[:len(vertex_used)][vertex_used]
                                            for array in (self.place, self.size, self.kind))
        self.__post_init__()

    def on_warp(self) -> Any:
        """The same memory as a Warp struct on the CPU."""
        surface: Any = Surface()
        surface.place = wp.array(self.place, dtype=wp.vec3, device="cpu", copy=False)
        surface.size = wp.array(self.size, dtype=wp.float32, device="cpu", copy=False)
        surface.mark = wp.zeros(len(self.place), dtype=wp.int32, device="cpu")
        for name in ("kind", "out", "origin", "twin", "feature", "count"):
            setattr(surface, name, wp.array(getattr(self, name), dtype=wp.int32, device="cpu", copy=False))
        return surface


def _longer(array: np.ndarray, more: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])


def make_half_edges(vertices: np.ndarray, faces: np.ndarray, twin: np.ndarray, size: np.ndarray,
                    feature_angle_deg: float | None, frozen: np.ndarray) -> HalfEdges:
    """Half-edges of a mesh whose vertices carry one fan each (fan_vertices).

    vertices: (V, 3) float32. faces: (F, 3) int32. twin: (3 F) int32. size: (V,) float32 target edge length.
    feature_angle_deg: edges at which the surface turns by more stay as lines; None: only open borders do.
    frozen: (V,) bool, vertices whose surroundings are left as they are.
    """
    feature = twin < 0
    if feature_angle_deg is not None:
        normal = face_normals(vertices, faces)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
        own, other = normal[np.arange(len(twin)) // 3], normal[np.maximum(twin, 0) // 3]
        flat = np.linalg.norm(own, axis=1) * np.linalg.norm(other, axis=1) < 0.5    # a face without area says nothing
        turned = (own * other).sum(1) < np.cos(np.radians(feature_angle_deg))
        feature = feature | (turned & ~flat)
    kind = _kinds(vertices, faces, feature, twin)
    kind[frozen] = FROZEN
    return HalfEdges(vertices.astype(np.float32), size.astype(np.float32), kind, faces.ravel().astype(np.int32),
                     twin.astype(np.int32), feature.astype(np.int32))


def _kinds(vertices: np.ndarray, faces: np.ndarray, feature: np.ndarray, twin: np.ndarray) -> np.ndarray:
    once = feature & (twin < np.arange(len(twin)))
    origin, target = faces.ravel()[once], np.roll(faces, -1, axis=1).ravel()[once]
    ends, others = np.r_[origin, target], np.r_[target, origin]
    lines = np.bincount(ends, minlength=len(vertices))
    way = vertices[others].astype(np.float64) - vertices[ends]
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-30)
    total = np.stack([np.bincount(ends, way[:, axis], minlength=len(vertices)) for axis in range(3)], -1)
    # two unit vectors at an angle of 180 - t degrees add up to a length of 2 sin(t / 2)
    straight = np.linalg.norm(total, axis=1) <= 2 * np.sin(np.radians(LINE_TURN_DEG / 2))
    return np.where(lines == 0, FREE, np.where((lines == 2) & straight, LINE, CORNER)).astype(np.int32)
