"""Vertex attributes to pixels."""
from __future__ import annotations

import torch

from .rasterize import Fragments


def interpolate(fragments: Fragments, faces: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
    """Attributes at the pixels that show a face, in the order of fragments.face >= 0.

    faces: (F, 3) int32. attributes: (V, C) float32, one row a vertex. Returns (N, C) float32, N covered pixels.
    """
    seen = fragments.face >= 0
    return interpolate_at(fragments.face[seen], fragments.weights[seen], faces, attributes)


def interpolate_at(face: torch.Tensor, weights: torch.Tensor, faces: torch.Tensor,
                   attributes: torch.Tensor) -> torch.Tensor:
    """Attributes at N points given by face (N,) int32 and weights (N, 2) float32 of its first two corners. (N, C)."""
    corners = faces[face.long()].long()
    first, second = weights[:, :1], weights[:, 1:]
    return (attributes[corners[:, 0]] * first + attributes[corners[:, 1]] * second
            + attributes[corners[:, 2]] * (1 - first - second))
