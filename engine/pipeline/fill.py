"""Colour for what no view saw: smooth over the surface inside charts, nearest texel between them."""
from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

STIFFNESS = 0.02       # weight of "like my neighbours" beside a vertex that is well seen
ANCHOR = 1e-7          # pull to the mean colour: only matters for a part that nothing sees


def vertex_colors(vertex_count: int, faces: np.ndarray, corners: np.ndarray, weights: np.ndarray, color: np.ndarray,
                  confidence: np.ndarray) -> np.ndarray:
    """Smooth colour at every vertex from colours at surface points: what is not seen takes on its surroundings.

    faces: (F, 3). Points: corners (N, 3) int vertex indices, weights (N, 3) barycentric, color (N, 3) linear,
    confidence (N,) in [0, 1]. Returns (V, 3) float64 linear. Minimises the distance to the seen colours plus the
    differences along edges (graph Laplacian).
    """
    share = weights * confidence[:, None]
    index = corners.ravel()
    known = np.bincount(index, share.ravel(), minlength=vertex_count)
    total = np.stack([np.bincount(index, (share * color[:, channel:channel + 1]).ravel(), minlength=vertex_count)
                      for channel in range(3)], -1)
    mean = total.sum(0) / max(known.sum(), 1e-12) if known.sum() > 0 else np.full(3, 0.2)
    target = np.where(known[:, None] > 0, total / np.maximum(known[:, None], 1e-12), mean)
    trust = np.minimum(known / max(np.median(known[known > 0], axis=0) if (known > 0).any() else 1.0, 1e-12), 1)
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    graph = coo_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(vertex_count, vertex_count)).tocsr()
    laplacian = diags(np.asarray(graph.sum(1)).ravel()) - graph
    system = (diags(trust + ANCHOR) + STIFFNESS * laplacian).tocsc()
    right = trust[:, None] * target + ANCHOR * mean
    return np.asarray(spsolve(system, right)).reshape(vertex_count, 3)


def pad_with_nearest(image: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give every texel outside the charts the colour of the nearest covered one.

    image: (H, W, 3). covered: (H, W) bool. The whole background is filled, so no mipmap level brings black to a seam.
    """
    if not covered.any():
        return image
    _, label = cv2.distanceTransformWithLabels((~covered).astype(np.uint8), cv2.DIST_L2, 5,
                                               labelType=cv2.DIST_LABEL_PIXEL)
    source = np.zeros(int(label.max()) + 1, np.int64)
    source[label[covered]] = np.flatnonzero(covered)
    return image.reshape(-1, 3)[source[label]].reshape(image.shape)
