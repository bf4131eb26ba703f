"""Textures at UV points, with gradients to the texture, the UVs and, through the mip level, their derivatives."""
from __future__ import annotations

from typing import Any, Literal

import torch
import warp as wp
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .arguments import Backend, check_backend, need
from .backend import Scatter, launch_pixels, plan_pieces, wrap
from .texture_kernels import Pyramid, sample_texels, spread_texels

Filter = Literal["linear", "linear-mipmap-linear"]
Boundary = Literal["clamp", "wrap"]
SMALLEST_FOOTPRINT = 1e-8      # texels squared; below it the mip level no longer matters


def texture(tex: torch.Tensor, uv: torch.Tensor, uv_da: torch.Tensor | None = None, filter: Filter = "linear",
            boundary: Boundary = "wrap", max_level: int | None = None, backend: Backend = "warp") -> torch.Tensor:
    """Read a texture at a UV point for each pixel.

    tex: (H', W', C), shared by all views, or (N, H', W', C) float32. uv: (N, H, W, 2) float32; (0, 0) is the outer
    corner of texel [0, 0], u runs along columns, (1, 1) is the opposite corner (flip v for images whose row 0 is the
    top). uv_da: (N, H, W, 4) float32, du/dX du/dY dv/dX dv/dY per pixel; needed for, and only read by, the filter
    "linear-mipmap-linear". max_level: the coarsest mip level used (None: down to one texel).
    boundary: outside [0, 1] the border texel ("clamp"), or the texture again ("wrap").
    Returns (N, H, W, C) float32. Differentiable in tex, uv and uv_da. Raises ShapeError, ValueError.
    Each level is the average of the one before, of half its size rounded down. The level is log2 of the longer axis of
    the pixel's footprint, in texels. Source: Laine et al. 2020, section 3.4; footprint by the larger eigenvalue of
    J^T J. Slow twin: torch_reference.texture_ref.
    """
    check_backend(backend)
    need("tex", tex, "(H, W, C) or (N, H, W, C) float32", tex.ndim in (3, 4) and tex.dtype == torch.float32)
    tex = tex if tex.ndim == 4 else tex[None]
    need("uv", uv, "(N, H, W, 2) float32", uv.ndim == 4 and uv.shape[3] == 2 and uv.dtype == torch.float32)
    need("tex", tex, f"with 1 or {len(uv)} items and no empty axis", tex.shape[0] in (1, len(uv)) and tex.numel() > 0)
    if filter not in ("linear", "linear-mipmap-linear") or boundary not in ("clamp", "wrap"):
        raise ValueError("Expected filter linear or linear-mipmap-linear and boundary clamp or wrap, "
                         f"got {filter}, {boundary}.")
    if filter == "linear-mipmap-linear":
        if uv_da is None:
            raise ValueError("The filter linear-mipmap-linear needs uv_da; see interpolate_derivatives.")
        need("uv_da", uv_da, "(N, H, W, 4) float32", uv_da.shape == (*uv.shape[:3], 4) and uv_da.dtype == torch.float32)
    if backend == "nvdiffrast":
        from . import nvdiffrast_backend
        return nvdiffrast_backend.texture(tex, uv, uv_da, filter, boundary, max_level)
    levels, sizes = [tex], [(tex.shape[1], tex.shape[2])]
    level = uv.new_zeros((1, 1, 1))
    if filter == "linear-mipmap-linear" and uv_da is not None:
        levels = build_pyramid(tex, max_level)
        sizes = [(each.shape[1], each.shape[2]) for each in levels]
        level = mip_level(uv_da, *sizes[0])
    flat = torch.cat([each.flatten(1, 2) for each in levels], 1)
    return _Texture.apply(flat, uv.contiguous(), level.contiguous(), tuple(sizes), boundary == "wrap")


def build_pyramid(tex: torch.Tensor, max_level: int | None = None) -> list[torch.Tensor]:
    """(N, H, W, C) and its mip levels down to one texel or max_level, each the average of the one before."""
    levels = [tex]
    while max(levels[-1].shape[1:3]) > 1 and (max_level is None or len(levels) <= max_level):
        height, width = (max(1, each // 2) for each in levels[-1].shape[1:3])
        smaller = functional.adaptive_avg_pool2d(levels[-1].permute(0, 3, 1, 2), (height, width))
        levels.append(smaller.permute(0, 2, 3, 1))
    return levels


def mip_level(uv_da: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., 4) du/dX du/dY dv/dX dv/dY -> (...) log2 of the footprint's longer axis in texels of such a map."""
    ux, uy, vx, vy = uv_da.unbind(-1)
    ux, uy, vx, vy = ux * width, uy * width, vx * height, vy * height
    half_trace = 0.5 * (ux**2 + vx**2 + uy**2 + vy**2)
    determinant = (ux * vy - uy * vx) ** 2
    # the root's slope is infinite at 0, where the footprint is round
    longer = half_trace + torch.sqrt((half_trace**2 - determinant).clamp(min=SMALLEST_FOOTPRINT**2))
    return 0.5 * torch.log2(longer.clamp(min=SMALLEST_FOOTPRINT))


def _kernel_pyramid(flat: torch.Tensor, sizes: tuple[tuple[int, int], ...], wraps: bool) -> Any:
    starts = [0]
    for height, width in sizes[:-1]:
        starts.append(starts[-1] + height * width)
    pyramid = Pyramid()
    pyramid.texels = wrap(flat)
    pyramid.size = wrap(torch.tensor(sizes, dtype=torch.int32, device=flat.device), wp.vec2i)
    pyramid.start = wrap(torch.tensor(starts, dtype=torch.int32, device=flat.device))
    pyramid.per_view, pyramid.wraps = int(flat.shape[0] > 1), int(wraps)
    return pyramid


class _Texture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, uv: torch.Tensor, level: torch.Tensor,
                sizes: tuple[tuple[int, int], ...], wraps: bool) -> torch.Tensor:
        views, height, width, _ = uv.shape
        flat = flat.contiguous()
        ctx.save_for_backward(flat, uv, level)
        ctx.sizes, ctx.wraps = sizes, wraps
        result = torch.empty((views, height, width, flat.shape[2]), dtype=torch.float32, device=uv.device)
        if result.numel():
            arguments = [_kernel_pyramid(flat, sizes, wraps), wrap(uv, wp.vec2), wrap(level), wrap(result)]
            launch_pixels(sample_texels, plan_pieces(views, height, uv.device), width, arguments, uv.device)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, uv, level = ctx.saved_tensors
        views, height, width, _ = uv.shape
        plan = plan_pieces(views, height, uv.device)
        found = Scatter(plan, flat.shape[0], flat.shape[1], flat.shape[2], flat, shared=flat.shape[0] == 1)
        to_uv, to_level = torch.zeros_like(uv), uv.new_zeros(uv.shape[:3])
        if grad.numel():
            arguments = [_kernel_pyramid(flat, ctx.sizes, ctx.wraps), wrap(uv, wp.vec2), wrap(level),
                         wrap(grad.contiguous()), wrap(to_uv, wp.vec2), wrap(to_level), wrap(found.buffers)]
            launch_pixels(spread_texels, plan, width, arguments, uv.device, found.slot_of)
        return found.sum(), to_uv, to_level if level.shape == to_level.shape else None, None, None
