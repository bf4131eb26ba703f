"""Topology of triangle meshes: what is closed, and how faces that touch along an edge or at a point are parted.

An oriented closed surface stays balanced (each edge is run through as often one way as the other) under everything that
maps vertices to vertices: merging, collapsing, dropping degenerate faces. So it can always be parted into manifold
sheets again: pair_faces() does that, and part_touching() moves the sheets a hair apart so that they stay parted in
programs that merge vertices by position.
"""
from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .normals import face_normals, vertex_normals
from .types import Mesh

GAP = 0.02      # how far parted sheets are moved inward, as a fraction of the mean edge around the vertex
SPLIT_ROUNDS = 8


def edge_counts(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges (E, 2) and how many faces run through each in total, and in rising index order: (E, 2)."""
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    rising = directed[:, 0] < directed[:, 1]
    edges, inverse = np.unique(np.sort(directed, 1), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    return edges, np.stack([np.bincount(inverse, minlength=len(edges)),
                            np.bincount(inverse, rising, minlength=len(edges)).astype(np.int64)], -1)


def is_closed(mesh: Mesh) -> bool:
    """Every edge lies between exactly two faces that run through it in opposite directions, also when vertices at the
    same position count as one."""
    if not len(mesh.faces):
        return False
    _, inverse = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return all(bool((edge_counts(faces)[1] == [2, 1]).all()) for faces in (mesh.faces, inverse.ravel()[mesh.faces]))


def components_of_faces(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """Number of the connected part (by shared vertices) each face lies in, (F,), from 0 without gaps."""
    a, b = np.r_[faces[:, 0], faces[:, 1]], np.r_[faces[:, 1], faces[:, 2]]
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(vertex_count, vertex_count))
    _, label = connected_components(graph, directed=False)
    return np.unique(label[faces[:, 0]], return_inverse=True)[1]


def clean(mesh: Mesh) -> Mesh:
    """Merge vertices of equal position, drop degenerate faces, cancel pairs of opposite faces and doubles, drop
    vertices that no face uses. A closed oriented surface stays balanced."""
    finite = np.isfinite(mesh.vertices).all(1)
    faces = mesh.faces[finite[mesh.faces].all(1)]
    vertices, inverse = np.unique(np.where(finite[:, None], mesh.vertices, 0), axis=0, return_inverse=True)
    faces = inverse.ravel()[faces].reshape(-1, 3)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if len(faces):
        faces = _cancel_doubles(faces)
    return compact(vertices, faces)


def _cancel_doubles(faces: np.ndarray) -> np.ndarray:
    turned = faces[np.arange(len(faces))[:, None], (faces.argmin(1)[:, None] + np.arange(3)) % 3]
    sign = np.where(turned[:, 1] < turned[:, 2], 1, -1)
    _, first, inverse = np.unique(np.sort(faces, 1), axis=0, return_index=True, return_inverse=True)
    total = np.bincount(inverse.ravel(), sign)
    kept = first[total != 0]
    wanted = np.sign(total[total != 0])
    result = faces[kept]
    flip = sign[kept] != wanted
    result[flip] = result[flip][:, ::-1]
    return result


def compact(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Drop vertices that no face uses."""
    used, inverse = np.unique(faces, return_inverse=True)
    return Mesh(np.ascontiguousarray(vertices[used], dtype=np.float32),
                np.ascontiguousarray(inverse.reshape(-1, 3), dtype=np.int32))


def part_touching(mesh: Mesh) -> Mesh:
    """Give every sheet vertices of its own where more than two faces meet at an edge, or two fans at a vertex.

    Vertices that had to be doubled move inward by a fiftieth of an edge; where both ends of an edge cannot be doubled
    (the sheets are joined around them), the edge gets a middle vertex per sheet, two faces more each. Returns a mesh
    whose edges have two faces each, wherever the given one is balanced; open borders stay.
    """
    for _ in range(SPLIT_ROUNDS):
        one, other = _paired_edges(mesh)
        mesh = _with_own_vertices(mesh, one, other)
        edges, counts = edge_counts(mesh.faces)
        shared = {(int(a), int(b)) for a, b in edges[counts[:, 0] > 2]}
        if not shared:
            break
        mesh = _split_edges(mesh, one, other, shared)
    return mesh


def _with_own_vertices(mesh: Mesh, one: np.ndarray, other: np.ndarray) -> Mesh:
    faces = mesh.faces
    fan = _fans(faces, np.concatenate([np.stack([one, _next(other)], -1), np.stack([_next(one), other], -1)]))
    source = np.zeros(int(fan.max()) + 1, np.int64)
    source[fan] = faces.ravel()
    parted = fan.reshape(-1, 3).astype(np.int32)
    vertices = mesh.vertices[source].astype(np.float64)
    doubled = np.bincount(source, minlength=len(mesh.vertices))[source] > 1
    if doubled.any():
        normal = vertex_normals(vertices, parted)
        vertices[doubled] -= GAP * (normal * mean_edge(vertices, parted)[:, None])[doubled]
    return Mesh(vertices.astype(np.float32), parted)


def _split_edges(mesh: Mesh, one: np.ndarray, other: np.ndarray, shared: set[tuple[int, int]]) -> Mesh:
    """A middle vertex for each pair of faces at a shared edge, moved inward. One edge a face at a time."""
    faces, normal = mesh.faces, face_normals(mesh.vertices, mesh.faces)
    vertices, extra, taken = list(mesh.vertices), [], set()
    result = faces.copy()
    a, b = faces.ravel(), faces.ravel()[_next(np.arange(faces.size))]
    suspect = np.isin(a[one], [v for edge in shared for v in edge])
    for left, right in zip(one[suspect].tolist(), other[suspect].tolist()):
        pair = {left // 3, right // 3}
        if (min(a[left], b[left]), max(a[left], b[left])) not in shared or pair & taken or len(pair) < 2:
            continue
        taken |= pair
        direction = sum(normal[face] / max(np.linalg.norm(normal[face]), 1e-30) for face in pair)
        length = np.linalg.norm(mesh.vertices[a[left]] - mesh.vertices[b[left]])
        middle = (mesh.vertices[a[left]] + mesh.vertices[b[left]]) / 2 - GAP / 2 * length * direction
        for half in (left, right):
            face, corner = divmod(half, 3)
            extra.append(faces[face].copy())
            result[face, (corner + 1) % 3] = len(vertices)
            extra[-1][corner] = len(vertices)
        vertices.append(middle.astype(np.float32))
    more = np.array(extra, np.int32).reshape(-1, 3)
    return Mesh(np.stack(vertices).astype(np.float32), np.concatenate([result, more]))


def mean_edge(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) mean length of the edges around each vertex."""
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    length = np.linalg.norm(vertices[a] - vertices[b], axis=1)
    count = np.bincount(a, minlength=len(vertices))
    return np.bincount(a, length, minlength=len(vertices)) / np.maximum(count, 1)


def _fans(faces: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Number of the vertex of its own that each of the 3 F corners gets; paired corners share one."""
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(faces.size, faces.size))
    return connected_components(graph, directed=False)[1]


def _next(half_edge: np.ndarray) -> np.ndarray:
    """The corner at the head of the half-edge that starts at a corner (0 .. 3 F - 1)."""
    return half_edge - half_edge % 3 + (half_edge + 1) % 3


def _paired_edges(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Half-edges (named by the corner they start at) whose faces are neighbours over that edge: (P,) and (P,)."""
    faces = mesh.faces.astype(np.int64)
    a, b = faces.ravel(), faces.ravel()[_next(np.arange(faces.size))]
    order = np.lexsort((np.maximum(a, b), np.minimum(a, b)))
    key = np.stack([np.minimum(a, b), np.maximum(a, b)], -1)[order]
    first = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(1)])
    size = np.diff(np.r_[first, len(order)])
    one, other = order[first[size == 2]], order[first[size == 2] + 1]
    opposite = a[one] == b[other]
    more = [pair for start, count in zip(first[size > 2], size[size > 2])
            for pair in _pair_around(mesh.vertices, order[start:start + count], a, b, faces)]
    crowded = np.array(more, np.int64).reshape(-1, 2)
    return np.r_[one[opposite], crowded[:, 0]], np.r_[other[opposite], crowded[:, 1]]


def _pair_around(vertices: np.ndarray, edges: np.ndarray, a: np.ndarray, b: np.ndarray,
                 faces: np.ndarray) -> list[tuple[int, int]]:
    """Pair the half-edges around one edge so that the two faces of a pair have the solid between them.

    Seen along the edge from its low to its high vertex, a face that runs low -> high has the solid on one fixed side of
    it; turning into the solid, the next face that runs the other way bounds the same piece.
    """
    low, high = min(a[edges[0]], b[edges[0]]), max(a[edges[0]], b[edges[0]])
    axis = vertices[high].astype(np.float64) - vertices[low]
    axis /= max(float(np.linalg.norm(axis)), 1e-30)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    third = faces[edges // 3, (edges % 3 + 2) % 3]
    spoke = vertices[third].astype(np.float64) - vertices[low]
    angle = np.arctan2(spoke @ np.cross(axis, side), spoke @ side)
    forward = a[edges] == low
    # normal of a forward face = axis x spoke = direction of growing angle = outward: the solid lies at smaller angles
    sequence = np.argsort(-angle, kind="stable")
    pairs: list[tuple[int, int]] = []
    waiting: list[int] = []
    for index in [*sequence, *sequence]:
        if forward[index]:
            if index not in waiting and not any(edges[index] == left for left, _ in pairs):
                waiting.append(index)
        elif waiting and not any(edges[index] == right for _, right in pairs):
            pairs.append((int(edges[waiting.pop()]), int(edges[index])))
    return pairs
