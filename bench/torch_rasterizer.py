"""A rasteriser in plain torch operations, as fast as they allow: what ours is measured against. Same semantics, but the
silhouette gradient looks at the visible triangle's own edges only."""
from __future__ import annotations

import torch


def rasterize(clip: torch.Tensor, faces: torch.Tensor, size: int) -> torch.Tensor:
    """clip (V, 4) all in front of the camera, faces (F, 3) int64. Returns (size * size, 4): u, v, z/w, id + 1."""
    screen = torch.stack([(clip[:, 0] / clip[:, 3] + 1) * size / 2, (clip[:, 1] / clip[:, 3] + 1) * size / 2], -1)
    with torch.no_grad():
        pixel, face = _candidates(screen[faces], size)
        weights, depth = _weights(clip, faces, pixel, face, size)
        hit = (weights >= 0).all(-1) & (depth.abs() <= 1)
        pixel, face, depth = pixel[hit], face[hit], depth[hit]
        key = ((depth.double() + 1) * 2**30).long() * 2**32 + face
        nearest = torch.full((size * size,), 2**63 - 1).scatter_reduce_(0, pixel, key, "amin")
        seen = torch.nonzero(nearest < 2**63 - 1)[:, 0]
        face = nearest[seen] & (2**32 - 1)
    weights, depth = _weights(clip, faces, seen, face, size)
    found = torch.stack([weights[:, 0], weights[:, 1], depth, (face + 1).float()], -1)
    return torch.zeros(size * size, 4).index_put((seen,), found)


def _candidates(corners: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All (pixel, face) pairs with the pixel's centre in the face's bounding box."""
    low = torch.ceil(corners.amin(1) - 0.5).clamp(0, size).long()
    high = (torch.floor(corners.amax(1) - 0.5) + 1).clamp(0, size).long()
    wide, tall = (high - low).clamp(min=0).unbind(-1)
    count = wide * tall
    face = torch.repeat_interleave(torch.arange(len(corners)), count)
    within = torch.arange(len(face)) - torch.repeat_interleave(torch.cumsum(count, 0) - count, count)
    column, row = low[face, 0] + within % wide[face], low[face, 1] + within // wide[face]
    return row * size + column, face


def _weights(clip: torch.Tensor, faces: torch.Tensor, pixel: torch.Tensor, face: torch.Tensor,
             size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Perspective-correct weights (P, 3) and z/w (P,)."""
    center = torch.stack([(pixel % size + 0.5) * 2 / size - 1, (pixel // size + 0.5) * 2 / size - 1], -1)
    corners = clip[faces[face]]
    a, b, c = (corners[:, k, :2] - center * corners[:, k, 3:] for k in range(3))
    edges = torch.stack([b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0], c[:, 0] * a[:, 1] - c[:, 1] * a[:, 0],
                         a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]], -1)
    weights = edges / edges.sum(-1, keepdim=True)
    return weights, (weights * corners[..., 2]).sum(-1) / (weights * corners[..., 3]).sum(-1)


def interpolate(attributes: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    seen = torch.nonzero(rast[:, 3])[:, 0]
    corners = attributes[faces[rast[seen, 3].long() - 1]]
    u, v = rast[seen, 0:1], rast[seen, 1:2]
    mixed = corners[:, 0] * u + corners[:, 1] * v + corners[:, 2] * (1 - u - v)
    return torch.zeros(len(rast), attributes.shape[1]).index_put((seen,), mixed)


def antialias(color: torch.Tensor, rast: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor,
              size: int) -> torch.Tensor:
    ids, depth = rast[:, 3].detach(), torch.where(rast[:, 3] > 0, rast[:, 2], 2.0).detach()
    screen = torch.stack([(clip[:, 0] / clip[:, 3] + 1) * size / 2, (clip[:, 1] / clip[:, 3] + 1) * size / 2], -1)
    number = torch.arange(size * size).view(size, size)
    total = color
    for axis, (first, second) in enumerate(((number[:, :-1], number[:, 1:]), (number[:-1], number[1:]))):
        first, second = first.flatten(), second.flatten()
        differ = ids[first] != ids[second]
        first, second = first[differ], second[differ]
        swap = depth[second] < depth[first]
        near, far = torch.where(swap, second, first), torch.where(swap, first, second)
        sign = torch.where(swap, -1.0, 1.0)[:, None]
        center = torch.stack([near % size + 0.5, near // size + 0.5], -1)
        corners = screen[faces[ids[near].long() - 1]] - center[:, None]
        ends = corners.roll(-1, 1)
        s, t = corners[..., 1 - axis], ends[..., 1 - axis]
        reach = sign * (corners[..., axis] * t - ends[..., axis] * s) / torch.where(s == t, 1.0, t - s)
        step = (ends - corners).abs()
        good = ((s >= 0) != (t >= 0)) & (reach >= 0) & (reach < 1) & (step[..., 1 - axis] >= step[..., axis])
        pair, edge = torch.nonzero(good, as_tuple=True)
        near, far, over = near[pair], far[pair], reach[pair, edge][:, None] - 0.5
        difference = color[near] - color[far]
        total = total.index_add(0, far, over.clamp(min=0) * difference)
        total = total.index_add(0, near, -(-over).clamp(min=0) * difference)
    return total
