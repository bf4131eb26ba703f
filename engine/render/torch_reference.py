"""Slow, obvious twins of the operations with gradients, in plain torch float64. Tests compare values and gradients."""
from __future__ import annotations

import math

import torch


def rasterize_ref(positions: torch.Tensor, faces: torch.Tensor, resolution: tuple[int, int]) -> torch.Tensor:
    """Twin of rasterize: positions (N, V, 4) float64, faces (F, 3). Returns (N, H, W, 4) float64.

    For each triangle and pixel the weights solve  weights @ corners(x, y, w)  proportional to (x, y, 1) of the pixel:
    that is the definition of perspective-correct interpolation. Visibility is a comparison, without gradient.
    """
    height, width = resolution
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns / width * 2 - 1, rows / height * 2 - 1, torch.ones_like(rows)], -1).double()
    views = []
    for clip in positions:
        best = torch.zeros(height, width, 4, dtype=torch.float64)
        nearest = torch.full((height, width), math.inf, dtype=torch.float64)
        for index, face in enumerate(faces.long()):
            corners = clip[face]
            if abs(float(torch.linalg.det(corners[:, [0, 1, 3]].detach()))) < 1e-14:
                continue
            raw = pixels @ torch.linalg.inv(corners[:, [0, 1, 3]])
            share = raw / raw.sum(-1, keepdim=True)
            w = share @ corners[:, 3]
            z = share @ corners[:, 2] / w
            hit = (share >= 0).all(-1) & (w >= 1e-6) & (z.abs() <= 1) & (z < nearest)
            found = torch.stack([share[..., 0], share[..., 1], z, torch.full_like(z, index + 1)], -1)
            best = torch.where(hit[..., None], found, best)
            nearest = torch.where(hit, z.detach(), nearest)
        views.append(best)
    return torch.stack(views)


def pixel_derivatives_ref(rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Twin of pixel_derivatives by differences: the weights of each pixel's triangle a thousandth of a pixel away."""
    height, width = rast.shape[1:3]
    result = torch.zeros_like(rast)
    for view, row, column in torch.nonzero(rast[..., 3]).tolist():
        matrix = torch.linalg.inv(positions[view][faces[int(rast[view, row, column, 3]) - 1].long()][:, [0, 1, 3]])

        def weights(x: float, y: float, inverse: torch.Tensor = matrix) -> torch.Tensor:
            raw = torch.tensor([x / width * 2 - 1, y / height * 2 - 1, 1], dtype=torch.float64) @ inverse
            return raw[:2] / raw.sum()

        x, y, step = column + 0.5, row + 0.5, 1e-3
        along_x = (weights(x + step, y) - weights(x - step, y)) / (2 * step)
        along_y = (weights(x, y + step) - weights(x, y - step)) / (2 * step)
        result[view, row, column] = torch.stack([along_x[0], along_y[0], along_x[1], along_y[1]])
    return result


def interpolate_ref(attributes: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Twin of interpolate: attributes (N, V, C) float64."""
    face = (rast[..., 3].long() - 1).clamp(min=0)
    corners = faces.long()[face]
    view = torch.arange(len(rast))[:, None, None]
    u, v = rast[..., 0:1], rast[..., 1:2]
    mixed = (attributes[view, corners[..., 0]] * u + attributes[view, corners[..., 1]] * v
             + attributes[view, corners[..., 2]] * (1 - u - v))
    return torch.where(rast[..., 3:] > 0, mixed, torch.zeros_like(mixed))


def texture_ref(tex: torch.Tensor, uv: torch.Tensor, boundary: str) -> torch.Tensor:
    """Twin of texture with one level: tex (N, H', W', C) float64, uv (N, H, W, 2)."""
    height, width = tex.shape[1:3]
    x, y = uv[..., 0] * width - 0.5, uv[..., 1] * height - 0.5
    left, top = torch.floor(x).detach(), torch.floor(y).detach()
    view = torch.arange(len(uv))[:, None, None]
    total = torch.zeros((*uv.shape[:3], tex.shape[3]), dtype=uv.dtype)
    for down in (0, 1):
        for across in (0, 1):
            row, column = (top + down).long(), (left + across).long()
            if boundary == "wrap":
                row, column = row % height, column % width
            else:
                row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
            share = (1 - (x - left - across).abs()) * (1 - (y - top - down).abs())
            total = total + tex[view, row, column] * share[..., None]
    return total


def mipmapped_ref(tex: torch.Tensor, uv: torch.Tensor, level: torch.Tensor, boundary: str) -> torch.Tensor:
    """Twin of texture with all levels of a texture whose sides are powers of two; level (N, H, W)."""
    levels = [tex]
    while max(levels[-1].shape[1:3]) > 1:
        last = levels[-1]
        for axis in (1, 2):
            if last.shape[axis] > 1:
                last = (last.unflatten(axis, (-1, 2))).mean(axis + 1)
        levels.append(last)
    total = torch.zeros((*uv.shape[:3], tex.shape[3]), dtype=uv.dtype)
    for number, each in enumerate(levels):
        share = (1 - (level.clamp(0, len(levels) - 1) - number).abs()).clamp(min=0)
        total = total + texture_ref(each, uv, boundary) * share[..., None]
    return total


def antialias_ref(color: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor,
                  max_steps: int = 64) -> torch.Tensor:
    """Twin of antialias, one pixel pair after the other: color (N, H, W, C), positions (N, V, 4) float64."""
    views, height, width, _ = rast.shape
    result = color.clone()
    neighbours = _neighbours(faces)
    for view in range(views):
        x = (positions[view, :, 0] + positions[view, :, 3]) * 0.5 * width
        y = (positions[view, :, 1] + positions[view, :, 3]) * 0.5 * height
        corners = torch.stack([x, y, positions[view, :, 3]], -1)
        for row in range(height):
            for column in range(width):
                for axis in (0, 1):
                    other = (row + axis, column + 1 - axis)
                    if other[0] < height and other[1] < width:
                        _blend_pair(result, color, rast, corners, faces, neighbours, view, (row, column), other,
                                    max_steps)
    return result


def _neighbours(faces: torch.Tensor) -> dict[frozenset[int], list[int]]:
    found: dict[frozenset[int], list[int]] = {}
    for index, face in enumerate(faces.tolist()):
        for k in range(3):
            found.setdefault(frozenset((face[k], face[(k + 1) % 3])), []).append(index)
    return found


def _blend_pair(result: torch.Tensor, color: torch.Tensor, rast: torch.Tensor, corners: torch.Tensor,
                faces: torch.Tensor, neighbours: dict[frozenset[int], list[int]], view: int, p: tuple[int, int],
                q: tuple[int, int], max_steps: int) -> None:
    at_p, at_q = rast[view, p[0], p[1]], rast[view, q[0], q[1]]
    if at_p[3] == at_q[3]:
        return
    near, far = p, q
    if at_p[3] == 0 or (at_q[3] > 0 and at_q[2] < at_p[2]):
        near, far = q, p
    axis, sign = q[0] - p[0], 1 if near == p else -1
    seen = corners - corners[:, 2:] * torch.tensor([near[1] + 0.5, near[0] + 0.5, 0.0], dtype=corners.dtype)
    along, side, w = sign * seen[:, axis], seen[:, 1 - axis], seen[:, 2]
    face = int(rast[view, near[0], near[1], 3]) - 1
    edge = _follow(along.detach(), side.detach(), w.detach(), faces.tolist(), neighbours, face, max_steps)
    if edge is None:
        return
    i, j = edge
    start, end = (corners[k, :2].detach() / corners[k, 2].detach() for k in (i, j))
    step = (end - start).abs()
    if (axis == 0 and step[1] < step[0]) or (axis == 1 and step[0] <= step[1]):
        return      # the other axis looks after edges that run along this one
    reach = ((along[i] * side[j] - along[j] * side[i]) / (w[i] * side[j] - w[j] * side[i])).clamp(0, 1)
    difference = color[view, far[0], far[1]] - color[view, near[0], near[1]]
    if reach > 0.5:
        result[view, far[0], far[1]] = result[view, far[0], far[1]] - (reach - 0.5) * difference
    else:
        result[view, near[0], near[1]] = result[view, near[0], near[1]] + (0.5 - reach) * difference


def _follow(along: torch.Tensor, side: torch.Tensor, w: torch.Tensor, faces: list[list[int]],
            neighbours: dict[frozenset[int], list[int]], face: int, max_steps: int) -> tuple[int, int] | None:
    """The edge (i, j) of the farthest fold of the cut, before it reaches the other pixel; None when there is none."""

    def cuts(index: int, without: frozenset[int] = frozenset()) -> list[tuple[float, frozenset[int]]]:
        found = []
        for k in range(3):
            i, j = faces[index][k], faces[index][(k + 1) % 3]
            if frozenset((i, j)) != without and (side[i] >= 0) != (side[j] >= 0):
                share = float(side[i] / (side[i] - side[j]))
                depth = float(w[i]) * (1 - share) + float(w[j]) * share
                if depth > 1e-6:
                    found.append(((float(along[i]) * (1 - share) + float(along[j]) * share) / depth, frozenset((i, j))))
        return found

    first = cuts(face)
    if not first:
        return None
    here, edge = max(first, key=lambda each: each[0])
    best, best_edge, forward = -1e-3, None, True
    turn, turn_edge = here, edge
    for _ in range(max_steps):
        if here >= 1 or (here <= -1 and not forward):
            break
        beyond = [index for index in neighbours[edge] if index != face]
        following = cuts(beyond[0], edge) if beyond else []
        if not following:
            if not beyond and forward and turn > best:
                best_edge = turn_edge
            break
        face = beyond[0]
        here, edge = following[0]
        if forward and here > turn:
            turn, turn_edge = here, edge
        elif forward and here < turn - 1e-3:
            if turn > best:
                best, best_edge = turn, turn_edge
            turn, forward = here, False
        elif not forward and here > turn + 1e-3:
            turn, turn_edge, forward = here, edge, True
        elif not forward:
            turn = min(turn, here)
    if best_edge is None:
        return None
    i, j = sorted(best_edge)
    return i, j
