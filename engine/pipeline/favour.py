"""Which views colour which region: one choice for a neighbourhood rather than for a texel.

Weights that follow every facet of a reconstructed surface make the leading view change from triangle to triangle, and
where the surface is a little off, each change is a visible break. Here each view's weight is averaged over the
surroundings on the surface, so that regions are coloured by one view and give way to the next one softly.
"""
from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix, diags, identity

from ..render.observe import ViewStack, observe
from .texels import Texels

ROUNDS = 10            # of averaging with the neighbours: reaches about the square root of this many edges
LEAST = 1e-5           # of the largest weight: a view that sees only a texel of a region can still colour it


def view_favour(texels: Texels, views: ViewStack, linear: torch.Tensor) -> torch.Tensor:
    """(V, views) float32 > 0: weight of each view at each vertex of the texels' mesh (see observe), averaged over the
    surface around it.

    A view that is hidden, or sees an outline nearby, loses weight some edges before it stops seeing: no hard borders.
    """
    faces = texels.mesh.faces
    weight = observe(texels.vertices, texels.normals, views, linear)[1].cpu().numpy()
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    count = len(weight)
    graph = coo_matrix((np.ones(len(a), np.float32), (a, b)), shape=(count, count)).tocsr() + identity(count)
    average = (diags(1 / np.asarray(graph.sum(1)).ravel()) @ graph).astype(np.float32)
    for _ in range(ROUNDS):
        weight = average @ weight
    weight = weight + LEAST * max(float(weight.max()), 1e-30)
    return torch.from_numpy(np.ascontiguousarray(weight, np.float32)).to(linear.device)
