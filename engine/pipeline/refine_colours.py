"""The colour that the views agree on, at each vertex of a mesh."""
from __future__ import annotations

import torch

from ..render import interpolate, rasterize
from .refine_losses import Surface, clip_positions, normals_of
from .targets import Targets

HIDDEN = 0.02        # a vertex deeper behind the drawn surface than this share of its distance's range is hidden
SOLID = 0.97         # coverage from which a pixel's colour is the object's alone
GREY = 0.5           # where no view looks


@torch.no_grad()
def seen_colours(positions: torch.Tensor, surface: Surface, targets: Targets,
                 brightness: torch.Tensor | None = None) -> torch.Tensor:
    """(V, 3) float32 in [0, 1]: mean over the views that see a vertex, those that face it most. Unit frame.

    brightness: (N, V, 3), of each view's light at each vertex (Light.brightness), which the colours are freed from.
    """
    normals = normals_of(positions, surface.faces)
    total = torch.full((len(positions), 4), 1e-4, device=positions.device)
    total[:, :3] *= GREY
    side = targets.rgba.shape[1]
    for view in range(len(targets.clip)):
        clip = clip_positions(positions, targets.clip[view:view + 1])
        rast = rasterize(clip, surface.faces, (side, side))
        depth = interpolate(clip[..., 3:].contiguous(), rast, surface.faces)[0, ..., 0]
        seen, distance = clip[0, :, :2] / clip[0, :, 3:], clip[0, :, 3]
        pixel = ((seen + 1) * (side / 2)).long()
        framed = ((pixel >= 0) & (pixel < side)).all(1) & (distance > 0)
        x, y = pixel.clamp(0, side - 1).unbind(1)
        colour = targets.rgba[view, y, x].to(torch.float32) / 255
        reach = HIDDEN * (distance.max() - distance.min())
        towards = -(normals @ targets.clip[view, 3, :3])
        towards = towards / targets.clip[view, 3, :3].norm()
        good = framed & (colour[:, 3] > SOLID) & (targets.known[view, y, x] > 0) & (distance < depth[y, x] + reach)
        weight = good * towards.clamp(min=0).square()
        own = colour[:, :3] if brightness is None else colour[:, :3] / brightness[view]
        total[:, :3] += weight[:, None] * own
        total[:, 3] += weight
    return total[:, :3] / total[:, 3:]
