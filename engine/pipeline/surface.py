"""From the soft solid to a closed surface."""
from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from skimage.measure import marching_cubes

from ...bridge.errors import BadMasks
from .progress import Stage
from .types import Field, Mesh

FIELD_SIGMA = 0.9  # cells; takes off the creases where outlines meet: they stand out too far, and shade badly
STEP_IN, STEP_OUT = 0.5, -0.53  # Taubin 1995: lambda and mu; their passband keeps what is larger than a few edges


def extract_surface(field: Field, stage: Stage, smooth_rounds: int = 6) -> Mesh:
    """The surface where `field` is 0.5: closed, faces counter-clockwise from outside, all its pieces kept.

    smooth_rounds: rounds of smoothing that does not shrink; takes off the noise of the cells.
    Raises BadMasks when the field holds no surface, Cancelled.
    Source: marching cubes (Lewiner 2003) by scikit-image; Taubin, "A signal processing approach to fair surface
    design", 1995.
    """
    stage.total = 1 + smooth_rounds
    values = np.pad(field.values, 2)  # closes what reaches the border of the grid
    values = ndimage.gaussian_filter(values, FIELD_SIGMA, truncate=3.0)
    if not (values > 0.5).any():
        raise BadMasks("The masks leave no volume.", "Check that they are white on the object.")
    # a sample of exactly 0.5 would make triangles without area
    values = np.where(np.abs(values - 0.5) < 1e-3, np.float32(0.501), values)
    vertices, faces, _, _ = marching_cubes(values, 0.5, gradient_direction="descent", allow_degenerate=False)
    stage.advance()
    vertices = vertices.astype(np.float64)
    faces = faces.astype(np.int32)
    average = _average_of_neighbours(faces, len(vertices))
    for _ in range(smooth_rounds):
        for step in (STEP_IN, STEP_OUT):
            vertices = vertices + step * (average @ vertices - vertices)
        stage.advance()
    vertices = field.origin + field.spacing * (vertices - 2)
    if signed_volume(vertices, faces) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    return Mesh(vertices.astype(np.float32), faces)


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume inside a closed surface; negative when its faces look inward. vertices: (V, 3), faces: (F, 3)."""
    a, b, c = (np.asarray(vertices, dtype=np.float64)[faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _average_of_neighbours(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    """(V, V) matrix whose product with the vertices gives the mean of each one's neighbours."""
    rows = np.concatenate([faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()])
    columns = np.concatenate([faces[:, [1, 2, 0]].ravel(), faces[:, [0, 1, 2]].ravel()])
    linked = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    linked.data[:] = 1  # an edge comes once from each of its two faces
    return sparse.diags(1 / np.maximum(np.asarray(linked.sum(axis=1)).ravel(), 1)) @ linked
