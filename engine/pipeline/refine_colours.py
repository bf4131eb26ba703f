"""The colours that the views agree on, at the vertices of a mesh or finer."""
from __future__ import annotations

import math

import torch

from ..render import Cells, divide_faces, interpolate, rasterize
from .refine_losses import Surface, clip_positions, normals_of
from .targets import Targets

CELL_PX = 2
MOST_CELLS = 800_000
HIDDEN = 0.02        # a vertex deeper behind the drawn surface than this share of its distance's range is hidden
SOLID = 0.97         # coverage from which a pixel's colour is the object's alone
GREY = 0.5           # where no view looks
LEAST_SEEN = 1e-4    # weight of that beside a view's


def fine_cells(positions: torch.Tensor, surface: Surface, side_px: int) -> Cells:
    """Cells about two pixels wide in views of `side_px`. positions: (V, 3), unit frame.

    Coarser colours blur what the views show sharply, and the mesh is bent until its blur is seen at a sharper angle:
    dents inside patches of one colour. Finer ones explain anything, and leave no reason to move.
    """
    a, b = positions[surface.edges[:, 0]], positions[surface.edges[:, 1]]
    edge_px = float((a - b).norm(dim=1).mean()) * side_px / 2      # the object's sphere, 2 wide, fills about a view
    wanted = round(math.log2(max(edge_px / CELL_PX, 1)))
    most = math.floor(math.log2(max(MOST_CELLS / len(surface.faces), 1)) / 2)
    return divide_faces(surface.faces, len(positions), min(wanted, most))


@torch.no_grad()
def seen_colours(positions: torch.Tensor, surface: Surface, targets: Targets, brightness: torch.Tensor | None = None,
                 cells: Cells | None = None) -> torch.Tensor:
    """(V, 3) float32 in [0, 1]: mean over the views that see a vertex, those that face it most. Unit frame. With cells
    (P, 3), at their samples; where no view looks, those have the colours of the face's corners.

    brightness: (N, V, 3), of each view's light at each vertex (Light.brightness), which the colours are freed from.
    """
    spread = (lambda values: values) if cells is None else cells.spread
    points = spread(positions)
    normals = torch.nn.functional.normalize(spread(normals_of(positions, surface.faces)), dim=1, eps=1e-12)
    total = torch.zeros((len(points), 4), device=points.device)
    side = targets.rgba.shape[1]
    for view in range(len(targets.clip)):
        pose = targets.clip[view:view + 1]
        corners, clip = clip_positions(positions, pose), clip_positions(points, pose)[0]
        depth = interpolate(corners[..., 3:].contiguous(), rasterize(corners, surface.faces, (side, side)),
                            surface.faces)[0, ..., 0]
        seen, distance = clip[:, :2] / clip[:, 3:], clip[:, 3]
        pixel = ((seen + 1) * (side / 2)).long()
        framed = ((pixel >= 0) & (pixel < side)).all(1) & (distance > 0)
        x, y = pixel.clamp(0, side - 1).unbind(1)
        picture = targets.rgba[view].permute(2, 0, 1)[None].to(torch.float32) / 255
        colour = torch.nn.functional.grid_sample(picture, seen[None, None], align_corners=False)[0, :, 0].T
        reach = HIDDEN * (distance.max() - distance.min())
        towards = -(normals @ targets.clip[view, 3, :3])
        towards = towards / targets.clip[view, 3, :3].norm()
        good = framed & (colour[:, 3] > SOLID) & (targets.known[view, y, x] > 0) & (distance < depth[y, x] + reach)
        weight = good * towards.clamp(min=0).square()
        own = torch.where(good[:, None], colour[:, :3], 0)      # a point in the camera's plane has no colour, but NaN
        if brightness is not None:
            own = own / spread(brightness[view])
        total[:, :3] += weight[:, None] * own
        total[:, 3] += weight
    at_vertices = _mixed(total[:len(positions)], torch.full_like(positions, GREY))
    return at_vertices if cells is None else _mixed(total, cells.spread(at_vertices))


def _mixed(total: torch.Tensor, unseen: torch.Tensor) -> torch.Tensor:
    """Mean colours of sums of colour and weight, (P, 4); `unseen` where there are none."""
    return (total[:, :3] + LEAST_SEEN * unseen) / (total[:, 3:] + LEAST_SEEN)
