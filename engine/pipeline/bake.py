"""Bake: the base colour texture of an unwrapped mesh from the views.

For every texel: where it lies on the surface, which views see it (depth map, away from outlines), how well (angle,
pixels per surface, trust), then one colour in linear light out of the best of them. Exposure differences are evened out
before, highlights are held back by a robust mean, unseen texels take on their surroundings on the surface.
"""
from __future__ import annotations

import math

import numpy as np
import torch

from ..render.observe import ViewStack, blend_observations, linear_from_srgb_table, observe
from .exposure import solve_gains
from .favour import view_favour
from .fill import pad_with_nearest, vertex_colors
from .progress import Stage
from .texels import Texels
from .trust import stack_views
from .types import Mask, UvMesh, ViewSet

SHARPNESS = 3.0              # exponent on weights: 1 = mean of the views, large = only the best view
BRIGHTER, DARKER = 0.12, 0.3  # log luminance off the median at which a view counts half: highlights are brighter
OBSERVATIONS_AT_ONCE = 4_000_000
EXPOSURE_SAMPLES = 20_000
FAINT = 0.01                 # of the median confidence: below, the fill shines through


def bake_base_color(uv_mesh: UvMesh, views: ViewSet, masks: tuple[Mask, ...], texture_px: int, device: torch.device,
                    stage: Stage) -> np.ndarray:
    """Base colour texture, (texture_px, texture_px, 3) uint8 sRGB, row 0 = highest v; every texel is filled.

    masks: one per view; a view whose mask has confidence 0 is left out. Progress counts views (their depth maps), then
    blocks of texels. Raises Cancelled.
    """
    used = [(view, mask) for view, mask in zip(views.views, masks) if mask.confidence > 0]
    if not used:
        used = list(zip(views.views, masks))
    texels = Texels(uv_mesh, texture_px, device)
    block = max(1, OBSERVATIONS_AT_ONCE // len(used))
    stage.total = stage.done + len(used) + math.ceil(texels.count / block)
    stack = stack_views(uv_mesh.mesh, [view for view, _ in used], [mask for _, mask in used], device, stage)
    linear = torch.from_numpy(linear_from_srgb_table()).to(device)
    gains = _gains(texels, stack, linear)
    favour = view_favour(uv_mesh.mesh, stack, linear)
    color = np.zeros((texels.count, 3), np.float32)
    confidence = np.zeros(texels.count, np.float32)
    for start in range(0, texels.count, block):
        part = slice(start, start + block)
        seen, weight = observe(*texels.surface(part), stack, linear)
        weight = torch.sqrt(weight * texels.at(part, favour))   # 0 stays 0: hidden is hidden
        mixed, sure = blend_observations(seen * gains, weight, SHARPNESS, BRIGHTER, DARKER)
        color[part], confidence[part] = mixed.cpu().numpy(), sure.cpu().numpy()
        stage.advance()
    stage.check()
    return _finish(texels, color, confidence)


def _gains(texels: Texels, stack: ViewStack, linear: torch.Tensor) -> torch.Tensor:
    """(V, 3) float32 factors that even out exposure, from evenly spread texels."""
    step = max(1, texels.count // EXPOSURE_SAMPLES)
    seen, weight = observe(*texels.surface(slice(0, None, step)), stack, linear)
    gains = solve_gains(seen.cpu().numpy(), weight.cpu().numpy())
    return torch.from_numpy(gains.astype(np.float32)).to(linear.device)


def _finish(texels: Texels, color: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Fill what is unseen or only faintly seen, pad, and go to sRGB bytes."""
    mesh = texels.mesh
    seen = confidence[confidence > 0]
    sure = np.clip(confidence / (FAINT * float(np.median(seen))), 0, 1) if len(seen) else confidence
    corners, weights = texels.corners()
    smooth = vertex_colors(len(mesh.vertices), mesh.faces, corners, weights, color, sure)
    faint = np.flatnonzero(sure < 1)
    under = (smooth[corners[faint]] * weights[faint][..., None]).sum(1)
    color[faint] += (1 - sure[faint])[:, None] * (under - color[faint])
    image = np.zeros((*texels.covered.shape, 3), np.uint8)
    image[texels.covered] = srgb_bytes(color)
    return pad_with_nearest(image, texels.covered)


def srgb_bytes(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB bytes, uint8, same shape (IEC 61966-2-1)."""
    value = np.clip(linear, 0, 1)
    coded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return (coded * 255 + 0.5).astype(np.uint8)
