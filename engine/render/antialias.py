"""Smooth outlines, and through them the gradient of visibility to the positions."""
from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from .antialias_kernels import blend_contours, push_contours
from .arguments import Backend, check_backend, check_faces, check_positions, check_rast, check_triangle_ids, need
from .backend import Scatter, launch_pieces, launch_pixels, over_faces, over_pixels, plan_pieces, wrap
from .contour_kernels import NEAREST_W, STRETCH, Contours, Mesh, find_contours, mark_contours
from .fragments import screen_from_clip
from .rasterize import clip_gradient
from .topology import build_topology

MAX_STEPS = 64      # triangles followed from a pixel to the outline


def antialias(color: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor,
              topology: torch.Tensor | None = None, backend: Backend = "warp",
              max_steps: int = MAX_STEPS) -> torch.Tensor:
    """Blend neighbouring pixels where an outline runs between them, by how far the nearer surface reaches.

    color: (N, H, W, C) float32, any values per pixel (colours, coverage). rast, positions, faces: as in `rasterize`.
    topology: (3 F,) int32 from `build_topology`, made here when missing (make it once for many calls).
    max_steps: how many triangles are followed from a pixel's triangle to the outline; 1 = only its own edges.
    Returns (N, H, W, C) float32. Differentiable in color and positions. Raises ShapeError.
    Source: Laine et al. 2020, section 3.5, for what is blended; following the surface to the outline is our own, since
    the visible triangle's own edges are the outline only where triangles are larger than pixels.
    Slow twin: torch_reference.antialias_ref.
    """
    check_backend(backend)
    check_rast(rast)
    views = rast.shape[0]
    good = color.ndim == 4 and color.shape[:3] == rast.shape[:3] and color.dtype == torch.float32
    need("color", color, "(N, H, W, C) float32 of the size of rast", good)
    positions = check_positions(positions, views)
    check_faces(faces, positions.shape[1])
    check_triangle_ids(rast, faces)
    if backend == "nvdiffrast":
        from . import nvdiffrast_backend
        return nvdiffrast_backend.antialias(color, rast, positions, faces)
    topology = build_topology(faces) if topology is None else topology
    need("topology", topology, f"({3 * len(faces)},) int32", topology.shape == (3 * len(faces),)
         and topology.dtype == torch.int32)
    return _Antialias.apply(color.contiguous(), rast.detach().contiguous(), positions.expand(views, -1, -1),
                            faces.contiguous(), topology.contiguous(), max_steps)


def _kernel_mesh(screen: torch.Tensor, faces: torch.Tensor, topology: torch.Tensor, max_steps: int) -> Any:
    mesh = Mesh()
    mesh.screen, mesh.faces, mesh.links = wrap(screen, wp.vec4), wrap(faces), wrap(topology)
    mesh.max_steps = max_steps
    return mesh


def _kernel_contours(code: torch.Tensor, stretches: torch.Tensor) -> Any:
    contours = Contours()
    contours.code, contours.marked, contours.touched = wrap(code, wp.vec2i), wrap(stretches[0]), wrap(stretches[1])
    return contours


def _flat(screen: torch.Tensor) -> torch.Tensor:
    """(N, V, 2) pixels, NaN where a vertex is not before the eye."""
    w = screen[..., 3:]
    return (screen[..., :2] / torch.where(w > NEAREST_W, w, torch.nan)).contiguous()


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, color: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor,
                topology: torch.Tensor, max_steps: int) -> torch.Tensor:
        views, height, width, _ = color.shape
        screen = screen_from_clip(positions, height, width).contiguous()
        code = torch.full((views, height, width, 2), -1, dtype=torch.int32, device=color.device)
        stretches = torch.zeros((2, views, height, -(-width // STRETCH)), dtype=torch.int32, device=color.device)
        result = color.clone()
        ctx.save_for_backward(color, screen, faces, topology, code, stretches)
        ctx.max_steps = max_steps
        if color.numel() and len(faces):
            plan = plan_pieces(views, height, color.device)
            mesh = _kernel_mesh(screen, faces, topology, max_steps)
            contours = _kernel_contours(code, stretches)
            flat = wrap(_flat(screen), wp.vec2)
            launch_pieces([over_faces(mark_contours, len(faces), [mesh, flat, contours]),
                           over_pixels(find_contours, width, [mesh, wrap(rast, wp.vec4), contours], color.device)],
                          plan, color.device)
            launch_pixels(blend_contours, plan, width, [mesh, contours, wrap(color), 0, wrap(result)], color.device)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        color, screen, faces, topology, code, stretches = ctx.saved_tensors
        views, height, width, _ = color.shape
        plan = plan_pieces(views, height, color.device)
        grad = grad.contiguous()
        to_color = grad.clone()
        found = Scatter(plan, views, screen.shape[1], 4, screen, shared=False)
        if color.numel() and len(faces):
            mesh = _kernel_mesh(screen, faces, topology, ctx.max_steps)
            contours = _kernel_contours(code, stretches)
            launch_pixels(blend_contours, plan, width, [mesh, contours, wrap(grad), 1, wrap(to_color)], color.device)
            launch_pixels(push_contours, plan, width, [mesh, contours, wrap(color), wrap(grad),
                                                      wrap(found.buffers, wp.vec4)], color.device, found.slot_of)
        return to_color, None, clip_gradient(found.sum(), height, width), None, None, None
