"""Paint: the base colour texture of a mesh that a model made, from the model's colours and the picture itself."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ..render.colour import linear_from_srgb_table, srgb_bytes
from ..render.observe import ViewStack, observe
from .progress import Stage
from .texels import Texels
from .trust import stack_views
from .types import Mask, UvMesh, View

TEXELS_AT_ONCE = 200_000
FACING = (0.05, 0.3)    # cosine squared between surface and picture, times trust: below, the model's colour; above, the
#                         picture's; a picture says little of what it sees edge-on


def paint_texture(uv_mesh: UvMesh, color_at: Callable[[np.ndarray], np.ndarray], photo: tuple[View, Mask] | None,
                  texture_px: int, device: torch.device, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """The colours of the covered texels: (texture_px, texture_px, 3) uint8 sRGB, row 0 = highest v, and (H, W) bool
    where there are any.

    color_at: (N, 3) float32 world -> (N, 3) float32 sRGB in [0, 1], asked for covered texels only.
    photo: a picture of the object, painted over that where it sees the surface well, or None.
    Progress counts blocks of texels. Raises Cancelled.
    """
    texels = Texels(uv_mesh, texture_px, device)
    stage.total = stage.done + math.ceil(texels.count / TEXELS_AT_ONCE) + (photo is not None)
    stack = None if photo is None else stack_views(uv_mesh.mesh, [photo[0]], [photo[1]], device, stage)
    linear = torch.from_numpy(linear_from_srgb_table()).to(device)
    colors = np.empty((texels.count, 3), np.uint8)
    for start in range(0, texels.count, TEXELS_AT_ONCE):
        part = slice(start, start + TEXELS_AT_ONCE)
        points, normals = texels.surface(part)
        own = np.clip(color_at(points.cpu().numpy()), 0, 1) * 255
        if stack is not None:
            seen, share = _from_photo(points, normals, stack, linear)
            own += share * (srgb_bytes(seen) - own)
        colors[part] = (own + 0.5).astype(np.uint8)
        stage.advance()
    image = np.zeros((*texels.covered.shape, 3), np.uint8)
    image[texels.covered] = colors
    return image, texels.covered


def _from_photo(points: torch.Tensor, normals: torch.Tensor, stack: ViewStack,
                linear: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) linear that the only view of `stack` sees, and their share (N, 1) in [0, 1]."""
    seen, weight = observe(points, normals, stack, linear)
    depth = points @ stack.pose[0, 2, :3] + stack.pose[0, 2, 3]
    facing = weight[:, 0] * depth**2 / (stack.lens[0, 0] * stack.lens[0, 1])    # a pixel is nearer: larger, not better
    rise = ((facing - FACING[0]) / (FACING[1] - FACING[0])).clamp(0, 1)
    share = rise * rise * (3 - 2 * rise)
    return seen[:, 0].cpu().numpy(), share[:, None].cpu().numpy()
