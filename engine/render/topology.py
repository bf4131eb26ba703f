"""Which triangle lies across each edge."""
from __future__ import annotations

import torch


def build_topology(faces: torch.Tensor) -> torch.Tensor:
    """The half-edge on the other side of each half-edge.

    faces: (F, 3) int32 or int64. Half-edge 3 f + k runs from corner k of face f to corner k + 1. For a mesh whose
    vertices are doubled along texture seams give the faces of the welded mesh here: only the neighbourhood is read.
    Returns (3 F,) int32, -1 at a border. Where more than two faces meet at an edge, each leads to the next and the last
    to the first. Winding plays no part. Source: own.
    """
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"Expected faces (F, 3), got {tuple(faces.shape)}.")
    count = 3 * len(faces)
    links = torch.full((count,), -1, dtype=torch.int32, device=faces.device)
    if not count:
        return links
    start, end = faces.long().reshape(-1), faces.long().roll(-1, 1).reshape(-1)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    key, order = torch.sort(low * (int(faces.max()) + 1) + high, stable=True)
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    starts = torch.nonzero(first)[:, 0]
    group = torch.cumsum(first, 0) - 1
    sizes = torch.diff(starts, append=starts.new_tensor([count]))
    place = torch.arange(count, device=faces.device)
    following = torch.where(place + 1 < (starts + sizes)[group], place + 1, starts[group])
    paired = (sizes[group] > 1) & (low != high)[order]
    links[order[paired]] = order[following[paired]].to(torch.int32)
    return links
