"""Triangles to pixels, with gradients to the positions."""
from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from .arguments import (
    Backend,
    check_backend,
    check_faces,
    check_positions,
    check_rast,
    check_triangle_ids,
    mark_triangle_ids,
)
from .backend import Scatter, launch_pieces, launch_pixels, over_faces, over_pixels, plan_pieces, wrap
from .fragments import EMPTY, nearest_of, screen_from_clip
from .raster_kernels import cover
from .rasterize_kernels import derive_pixels, resolve_rast, spread_rast

NEAREST_W = 1e-6


def rasterize(positions: torch.Tensor, faces: torch.Tensor, resolution: tuple[int, int],
              backend: Backend = "warp") -> torch.Tensor:
    """Which triangle each pixel shows, and where on it.

    positions: (V, 4) or (N, V, 4) float32, clip space; pixel row r is centred at y/w = (2r + 1)/H - 1, so row 0 is
    y = -w. faces: (F, 3) int32, shared by all N views; both sides are drawn. resolution: (H, W), pixels.
    Returns rast (N, H, W, 4) float32: (u, v, z/w, triangle id + 1). An attribute is u a0 + v a1 + (1 - u - v) a2, with
    perspective; all four are 0 where there is nothing. What lies outside -w <= z <= w is cut off; of equal depth the
    lower triangle id wins. Differentiable: (u, v, z/w) to the positions; visibility has its gradient in `antialias`.
    Raises ShapeError. Source: Laine et al. 2020 (arXiv 2011.03277), section 3.2; homogeneous edge functions after Olano
    and Greer 1997, which need no clipped triangles. Slow twin: torch_reference.rasterize_ref.
    """
    check_backend(backend)
    positions = check_positions(positions)
    check_faces(faces, positions.shape[1])
    if backend == "nvdiffrast":
        from . import nvdiffrast_backend
        return nvdiffrast_backend.rasterize(positions, faces, resolution)
    return mark_triangle_ids(_Rasterize.apply(positions, faces.contiguous(), *resolution), faces)


def pixel_derivatives(rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """How (u, v) of a pixel's triangle change from pixel to pixel, for choosing mip levels.

    rast: from `rasterize` of these positions and faces. Returns (N, H, W, 4) float32: (du/dX, du/dY, dv/dX, dv/dY) per
    pixel, 0 where there is nothing. Not differentiable. Raises ShapeError.
    Source: quotient rule on the edge functions. Slow twin: torch_reference.pixel_derivatives_ref.
    """
    check_rast(rast)
    views, height, width, _ = rast.shape
    positions = check_positions(positions.detach(), views)
    check_faces(faces, positions.shape[1])
    check_triangle_ids(rast, faces)
    screen = _screen(positions, views, height, width)
    result = torch.empty_like(rast, memory_format=torch.contiguous_format)
    arguments = [wrap(screen, wp.vec4), wrap(faces.contiguous()), wrap(rast.detach().contiguous(), wp.vec4),
                 wrap(result, wp.vec4)]
    plan = plan_pieces(views, height, rast.device)
    launch_pixels(derive_pixels, plan, width, arguments, rast.device)
    return result


def _screen(positions: torch.Tensor, views: int, height: int, width: int) -> torch.Tensor:
    return screen_from_clip(positions.detach(), height, width).expand(views, -1, -1).contiguous()


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> torch.Tensor:
        views, device = positions.shape[0], positions.device
        rast = torch.empty((views, height, width, 4), dtype=torch.float32, device=device)
        screen = _screen(positions, views, height, width)
        ctx.save_for_backward(screen, faces, rast)
        if not rast.numel() or not len(faces):
            return rast.zero_()
        plan = plan_pieces(views, height, device)
        nearest, slot_of = nearest_of(plan, height, width, device)
        mesh, keys = [wrap(screen, wp.vec4), wrap(faces)], wrap(nearest, wp.uint64)
        launch_pieces([over_faces(cover, len(faces), [*mesh, width, NEAREST_W, keys]),
                       over_pixels(resolve_rast, width, [*mesh, wp.uint64(EMPTY), keys, wrap(rast, wp.vec4)], device)],
                      plan, device, slot_of)
        return rast

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        screen, faces, rast = ctx.saved_tensors
        views, height, width, _ = rast.shape
        plan = plan_pieces(views, height, rast.device)
        found = Scatter(plan, views, screen.shape[1], 4, screen, shared=False)
        if rast.numel() and len(faces):
            arguments = [wrap(screen, wp.vec4), wrap(faces), wrap(rast, wp.vec4), wrap(grad.contiguous(), wp.vec4),
                         wrap(found.buffers, wp.vec4)]
            launch_pixels(spread_rast, plan, width, arguments, rast.device,
                          found.slot_of)
        return clip_gradient(found.sum(), height, width), None, None, None


def clip_gradient(of_screen: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Gradient to clip coordinates from one to screen_from_clip of them, (..., 4)."""
    x, y, z, w = of_screen.unbind(-1)
    x, y = x * (0.5 * width), y * (0.5 * height)
    return torch.stack([x, y, z, w + x + y], -1)
