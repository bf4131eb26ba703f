"""Vertex attributes to pixels, with gradients to the attributes and to where on its triangle a pixel is."""
from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from .arguments import Backend, check_backend, check_faces, check_rast, check_triangle_ids, per_view
from .backend import Scatter, launch_pixels, plan_pieces, wrap
from .interpolate_kernels import ANY_CHANNELS, KERNELS


def interpolate(attributes: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor,
                backend: Backend = "warp") -> torch.Tensor:
    """Attributes of the vertices at the pixels.

    attributes: (V, C), shared by all views, or (N, V, C) float32. rast: (N, H, W, 4) float32 from `rasterize`. faces:
    (F, 3) int32, in the order in which they were rasterised; the indices may be others (attributes with seams).
    Returns (N, H, W, C) float32, 0 where there is nothing. Differentiable in attributes and rast (u, v).
    Raises ShapeError. Source: Laine et al. 2020, section 3.3. Slow twin: torch_reference.interpolate_ref.
    """
    check_backend(backend)
    check_rast(rast)
    attributes = per_view("attributes", attributes, rast.shape[0])
    check_faces(faces, attributes.shape[1])
    check_triangle_ids(rast, faces)
    if backend == "nvdiffrast":
        from . import nvdiffrast_backend
        return nvdiffrast_backend.interpolate(attributes, rast, faces)
    return _Interpolate.apply(attributes, rast.contiguous(), faces.contiguous())


def interpolate_derivatives(attributes: torch.Tensor, rast: torch.Tensor, rast_db: torch.Tensor,
                            faces: torch.Tensor) -> torch.Tensor:
    """How interpolated attributes change from pixel to pixel: what `texture` needs as uv_da when these are UVs.

    rast_db: (N, H, W, 4) float32 from `pixel_derivatives`. The rest as in `interpolate`.
    Returns (N, H, W, 2 C) float32: d/dX and d/dY of the first attribute, then of the second, ... Differentiable in
    attributes. Raises ShapeError. Source: chain rule.
    """
    check_rast(rast)
    attributes = per_view("attributes", attributes, rast.shape[0])
    check_faces(faces, attributes.shape[1])
    check_triangle_ids(rast, faces)
    face = (rast[..., 3].long() - 1).clamp(min=0)
    view = torch.arange(len(rast), device=rast.device)[:, None, None, None].clamp(max=len(attributes) - 1)
    corners = (faces.long()[face] + view * attributes.shape[1]).reshape(-1, 3)
    # not attributes[view, corners]: with two threads or more PyTorch adds up its gradient in an order of chance
    a, b, last = (attributes.flatten(0, 1).index_select(0, corners[:, each]).reshape(*face.shape, -1)
                  for each in range(3))
    along_u, along_v = a - last, b - last
    change = (along_u[..., None] * rast_db[..., None, 0:2] + along_v[..., None] * rast_db[..., None, 2:4])
    return change.flatten(-2) * (rast[..., 3:] > 0)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        views, height, width, _ = rast.shape
        items, _, channels = attributes.shape
        ctx.save_for_backward(attributes, rast, faces)
        result = torch.empty((views, height, width, channels), dtype=torch.float32, device=rast.device)
        if not len(faces):
            result.zero_()
        elif result.numel():
            mix, _, vector = KERNELS.get(channels, ANY_CHANNELS)
            arguments = [wrap(attributes, vector), wrap(faces), wrap(rast, wp.vec4), int(items > 1),
                         wrap(result, vector)]
            launch_pixels(mix, plan_pieces(views, height, rast.device), width, arguments, rast.device)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        attributes, rast, faces = ctx.saved_tensors
        views, height, width, _ = rast.shape
        items, vertices, channels = attributes.shape
        plan = plan_pieces(views, height, rast.device)
        to_rast = torch.empty_like(rast)
        found = Scatter(plan, items, vertices, channels, attributes, shared=items == 1)
        if not len(faces) or not channels:
            to_rast.zero_()
        elif grad.numel():
            _, spread, vector = KERNELS.get(channels, ANY_CHANNELS)
            arguments = [wrap(attributes, vector), wrap(faces), wrap(rast, wp.vec4), wrap(grad.contiguous(), vector),
                         int(items > 1), wrap(to_rast, wp.vec4), wrap(found.buffers, vector)]
            launch_pixels(spread, plan, width, arguments, rast.device, found.slot_of)
        return found.sum(), to_rast, None
