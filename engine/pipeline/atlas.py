"""Facts about texture coordinates: charts, which face owns which texel, overlap, and placing rectangles in a square."""
from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

PAIRS_AT_ONCE = 4_000_000     # texel candidates held in memory at a time


def merged_corners(faces: np.ndarray, corner_uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split vertices only where their texture coordinate differs.

    faces: (F, 3) int. corner_uvs: (F, 3, 2) float32. Returns vertex_of (S,) int64, uvs (S, 2) float32 and
    split_faces (F, 3) int32 into them.
    """
    keys = np.empty(faces.size, dtype=[("vertex", "i8"), ("u", "f4"), ("v", "f4")])
    keys["vertex"] = faces.ravel()
    keys["u"], keys["v"] = corner_uvs.reshape(-1, 2).T + np.float32(0)   # + 0 turns -0 into 0
    raw = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.dtype.itemsize)))
    _, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    uvs = np.stack([keys["u"][first], keys["v"][first]], -1)
    return keys["vertex"][first], uvs, inverse.reshape(-1, 3).astype(np.int32)


def charts_of_corners(faces: np.ndarray, corner_uvs: np.ndarray) -> np.ndarray:
    """Chart number of each face, (F,) int32: faces that share a corner in the texture lie in one chart."""
    _, uvs, split = merged_corners(faces, corner_uvs)
    return _components_by_corner(split, len(uvs))


def _components_by_corner(split: np.ndarray, corners: int) -> np.ndarray:
    a, b = np.r_[split[:, 0], split[:, 1]], np.r_[split[:, 1], split[:, 2]]
    edges = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(corners, corners))
    _, label = connected_components(edges, directed=False)
    _, chart = np.unique(label[split[:, 0]], return_inverse=True)
    return chart.astype(np.int32)


def texel_owners(corner_uvs: np.ndarray, texture_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (texel, face) pair where the texel's centre lies strictly inside the face.

    corner_uvs: (F, 3, 2). Returns texel (N,) int64 = row * texture_px + column (row 0 = lowest v) and face (N,) int64.
    """
    corners = corner_uvs.astype(np.float64) * texture_px
    low = np.clip(np.ceil(corners.min(1) - 0.5), 0, texture_px).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) - 0.5) + 1, 0, texture_px).astype(np.int64)
    span = np.maximum(high - low, 0)
    count = span.prod(1)
    texels, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    ends = np.searchsorted(np.cumsum(count), np.arange(PAIRS_AT_ONCE, count.sum() + PAIRS_AT_ONCE, PAIRS_AT_ONCE))
    start = 0
    for end in np.minimum(ends + 1, len(count)):
        face = np.repeat(np.arange(start, end), count[start:end])
        offset = np.arange(len(face)) - np.repeat(np.cumsum(count[start:end]) - count[start:end], count[start:end])
        column = low[face, 0] + offset % np.maximum(span[face, 0], 1)
        row = low[face, 1] + offset // np.maximum(span[face, 0], 1)
        inside = _strictly_inside(corners[face], column + 0.5, row + 0.5)
        texels.append((row * texture_px + column)[inside])
        owners.append(face[inside])
        start = end
    return np.concatenate(texels), np.concatenate(owners)


def _strictly_inside(triangle: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sides = []
    for i in range(3):
        a, b = triangle[:, i], triangle[:, (i + 1) % 3]
        sides.append((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0]))
    side = np.stack(sides)
    return (side > 1e-9).all(0) | (side < -1e-9).all(0)


def overlap_fraction(corner_uvs: np.ndarray, texture_px: int = 1024) -> float:
    """Share of the covered texels whose centre lies inside more than one face."""
    texel, _ = texel_owners(corner_uvs, texture_px)
    _, count = np.unique(texel, return_counts=True)
    return float((count > 1).sum() / max(len(count), 1))


def pack_shelves(sizes: np.ndarray, padding: float) -> tuple[np.ndarray, float]:
    """Place rectangles in the unit square, on shelves of falling height, as large as they fit.

    sizes: (N, 2) width and height in any unit. padding: empty border around each, fraction of the square; halved
    until there is room for all the borders.
    Returns place (N, 2), lower left corners in [0, 1], and the scale that sizes are multiplied by.
    """
    order = np.argsort(-sizes[:, 1], kind="stable")
    high = 1 / max(np.sqrt(sizes.prod(1).sum()), sizes.max(), 1e-12)
    low, best = 0.0, np.zeros((len(sizes), 2))
    for _ in range(24):
        middle = (low + high) / 2
        place = _try_shelves(sizes[order] * middle + 2 * padding)
        if place is None:
            high = middle
        else:
            low = middle
            best[order] = place + padding
    return (best, low) if low > 0 else pack_shelves(sizes, padding / 2)


def _try_shelves(sizes: np.ndarray) -> np.ndarray | None:
    place = np.empty_like(sizes)
    x = y = 0.0
    shelf = float(sizes[0, 1])
    for i, (width, height) in enumerate(sizes.tolist()):
        if x + width > 1:
            x, y, shelf = 0.0, y + shelf, height
        if width > 1 or y + height > 1:
            return None
        place[i] = x, y
        x += width
    return place
