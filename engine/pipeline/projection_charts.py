"""Quick charts: faces grouped by the axis they look along, projected along the group's mean normal, packed on shelves.

Always ends quickly: every step is a fixed number of array passes. Faces that would lie over others of their own chart
are moved out into charts of their own. Source: own.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix, csr_array
from scipy.sparse.csgraph import connected_components

from .atlas import pack_shelves, texel_owners
from .progress import Stage
from .types import Mesh, UvMesh

AXES = np.concatenate([np.eye(3), -np.eye(3)])
NEIGHBOUR_PULL = 0.35      # how much a neighbour's axis counts beside the face's own normal
SMOOTH_ROUNDS = 8
STEEPEST = 0.2             # cosine to the projection direction below which a face leaves its chart
SPLIT_ROUNDS = 6
TURNS = np.deg2rad(np.arange(0, 90, 6))


def unwrap_by_projection(mesh: Mesh, padding: float, texture_px: int, stage: Stage) -> UvMesh:
    """Charts by direction for any mesh. padding: fraction of the texture's side around each chart. Raises Cancelled."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    graph = _face_graph(mesh.faces)
    chart = _connected(graph, _axis_of_faces(unit, graph))
    chart = _split(chart, _too_steep(unit, normal, chart), graph)
    return _without_overlap(mesh, chart, lambda now: _flatten(corners, normal, now), graph, padding, texture_px, stage)


def part_overlaps(uv_mesh: UvMesh, padding: float, texture_px: int, stage: Stage) -> UvMesh:
    """The same charts, but faces that lie over others become charts of their own; all is packed anew.

    Raises Cancelled.
    """
    return _without_overlap(uv_mesh.mesh, uv_mesh.chart_of_face, lambda now: uv_mesh.corner_uvs.astype(np.float64),
                            _face_graph(uv_mesh.mesh.faces), padding, texture_px, stage)


def _without_overlap(mesh: Mesh, chart: np.ndarray, flatten: Callable[[np.ndarray], np.ndarray], graph: csr_array,
                     padding: float, texture_px: int, stage: Stage) -> UvMesh:
    """flatten(chart (F,)) -> (F, 3, 2): each chart laid flat, in one scale, anywhere."""
    check_px = min(texture_px, 1024)
    corner_uvs = _pack(flatten(chart), chart, padding)
    for round_ in range(SPLIT_ROUNDS):
        stage.advance(0)
        over = _overlapping(corner_uvs, check_px)
        if not over.any():
            break
        if round_ == SPLIT_ROUNDS - 1:    # last try: each such face becomes a chart, which cannot overlap itself
            chart = np.unique(np.where(over, chart.max() + 1 + np.arange(len(chart)), chart), return_inverse=True)[1]
        else:
            chart = _split(chart, over, graph)
        corner_uvs = _pack(flatten(chart), chart, padding)
    return UvMesh(mesh, corner_uvs.astype(np.float32), chart.astype(np.int32))


def _face_graph(faces: np.ndarray) -> csr_array:
    """(F, F) adjacency over shared edges."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    order = np.lexsort(edges.T)
    same = (edges[order][1:] == edges[order][:-1]).all(1)
    a, b = order[:-1][same] // 3, order[1:][same] // 3
    ones = np.ones(2 * len(a), np.float32)
    return csr_array((ones, (np.r_[a, b], np.r_[b, a])), shape=(len(faces), len(faces)))


def _axis_of_faces(unit: np.ndarray, graph: csr_array) -> np.ndarray:
    """Which of the six axes each face belongs to, smoothed over neighbours so that borders are not ragged."""
    facing = unit @ AXES.T
    label = facing.argmax(1)
    for _ in range(SMOOTH_ROUNDS):
        votes = graph @ np.eye(6, dtype=np.float32)[label]
        label = np.where(facing > STEEPEST, facing + NEIGHBOUR_PULL * votes, facing - 10).argmax(1)
    return label


def _connected(graph: csr_array, label: np.ndarray) -> np.ndarray:
    """Connected pieces of equal label."""
    pairs = graph.tocoo()
    keep = label[pairs.row] == label[pairs.col]
    inner = coo_matrix((pairs.data[keep], (pairs.row[keep], pairs.col[keep])), shape=graph.shape)
    return connected_components(inner, directed=False)[1]


def _split(chart: np.ndarray, out: np.ndarray, graph: csr_array) -> np.ndarray:
    """Take faces out of their charts; what hangs together among them, and what is left, become charts."""
    return _connected(graph, chart * 2 + out)


def _directions(normal: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """(charts, 3) unit mean normal, by area."""
    total = np.stack([np.bincount(chart, normal[:, axis]) for axis in range(3)], -1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)


def _too_steep(unit: np.ndarray, normal: np.ndarray, chart: np.ndarray) -> np.ndarray:
    return (unit * _directions(normal, chart)[chart]).sum(1) < STEEPEST


def _flatten(corners: np.ndarray, normal: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Project each chart along its direction. (F, 3, 2), world units."""
    direction = _directions(normal, chart)
    helper = np.eye(3)[np.abs(direction).argmin(1)]
    right = np.cross(helper, direction)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-30)
    up = np.cross(direction, right)
    return np.stack([np.einsum("fki,fi->fk", corners, right[chart]), np.einsum("fki,fi->fk", corners, up[chart])], -1)


def _pack(flat: np.ndarray, chart: np.ndarray, padding: float) -> np.ndarray:
    """Turn each chart to its smallest box and place it. Returns (F, 3, 2) in [0, 1]."""
    count = int(chart.max()) + 1
    best = np.full(count, np.inf)
    turn = np.zeros(count)
    for angle in TURNS:
        low, high = _boxes(_turned(flat, np.full(len(flat), angle)), chart, count)
        area = (high - low).prod(1)
        turn, best = np.where(area < best, angle, turn), np.minimum(area, best)
    flat = _turned(flat, turn[chart])
    low, high = _boxes(flat, chart, count)
    lying = (high - low)[:, 0] >= (high - low)[:, 1]
    upright = ~lying[chart]      # long side along the shelf; a quarter turn keeps the sense of rotation
    flat[upright] = np.stack([-flat[upright][..., 1], flat[upright][..., 0]], -1)
    low, high = _boxes(flat, chart, count)
    place, scale = pack_shelves(high - low, padding)
    return np.clip((flat - low[chart][:, None]) * scale + place[chart][:, None], 0, 1)


def _turned(flat: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([flat[..., 0] * cosine - flat[..., 1] * sine, flat[..., 0] * sine + flat[..., 1] * cosine], -1)


def _boxes(flat: np.ndarray, chart: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, chart, flat.min(1))
    np.maximum.at(high, chart, flat.max(1))
    return low, high


def _overlapping(corner_uvs: np.ndarray, check_px: int) -> np.ndarray:
    """Faces that lie over a face of lower number."""
    texel, face = texel_owners(corner_uvs, check_px)
    order = np.lexsort((face, texel))
    again = texel[order][1:] == texel[order][:-1]
    over = np.zeros(len(corner_uvs), bool)
    over[face[order][1:][again]] = True
    return over
