"""Colours finer than a mesh: triangles are divided into cells whose corners carry colours; drawn, with gradients.

Neighbouring triangles share the colours on their edge, so there are no seams, and nothing has to be unwrapped.
Source: the idea is Yuksel, Keyser and House, "Mesh Colors", 2010; halving and gradients are our own.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from .arguments import ShapeError, check_faces, check_rast, check_triangle_ids, need
from .backend import Scatter, launch_pixels, plan_pieces, wrap
from .mesh_colours_kernels import mix_colours, spread_colours


@dataclass(frozen=True)
class Cells:
    """Triangles whose sides were halved k times, each time into four cells.

    corners: k + 1 tensors (F 4^each, 3) int32, which samples are at the corners of each cell; the first are the
    triangles themselves, and the four cells of one follow each other. between: k tensors (E, 2) int64, the samples that
    each new one lies halfway between. vertices: V, the first samples. P: their number in the end.
    """

    corners: tuple[torch.Tensor, ...]
    between: tuple[torch.Tensor, ...]
    vertices: int

    @property
    def halvings(self) -> int:
        return len(self.between)

    @property
    def count(self) -> int:
        return self.vertices + sum(len(each) for each in self.between)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """(V, C) values of the vertices -> (P, C), linear on each face."""
        for ends in self.between:
            values = torch.cat([values, (values[ends[:, 0]] + values[ends[:, 1]]) / 2])
        return values

    def smooth(self, values: torch.Tensor) -> torch.Tensor:
        """(P, C) values of the samples -> those before the last halving: each with half of the new ones around it."""
        if not self.between:
            return values
        ends, counted = self.between[-1], torch.cat([values, torch.ones_like(values[:, :1])], 1)
        total, half = counted[:-len(ends)].clone(), counted[-len(ends):] / 2
        for each in range(2):
            total.index_add_(0, ends[:, each], half)
        return total[:, :-1] / total[:, -1:]


def divide_faces(faces: torch.Tensor, vertices: int, halvings: int) -> Cells:
    """Halve the sides of a mesh's faces. faces: (F, 3) int32. vertices: how many there are. Raises ShapeError."""
    check_faces(faces, vertices)
    if halvings < 0:
        raise ShapeError(f"Expected 0 halvings or more, got {halvings}.")
    corners, between, count = [faces], [], vertices
    for _ in range(halvings):
        a, b, c = corners[-1].long().unbind(1)
        sides = torch.stack([torch.stack([b, c]), torch.stack([c, a]), torch.stack([a, b])], 2)    # (2, F, 3)
        low, high = sides.amin(0), sides.amax(0)
        edges, edge = torch.unique(low * count + high, return_inverse=True)
        ab, bc, ca = count + edge[:, 2], count + edge[:, 0], count + edge[:, 1]
        new = torch.stack([a, ab, ca, ab, b, bc, ca, bc, c, bc, ca, ab], 1).reshape(-1, 3)
        corners.append(new.to(torch.int32))
        between.append(torch.stack([edges // count, edges % count], 1))
        count += len(edges)
    return Cells(tuple(corners), tuple(between), vertices)


def draw_colours(colours: torch.Tensor, cells: Cells, light: torch.Tensor, rast: torch.Tensor) -> torch.Tensor:
    """Colours of the cells' samples at the pixels, times the light of each view, and coverage.

    colours: (P, 3) float32, shared by all views. light: (N, V, 3) float32, factors at the vertices. rast: (N, H, W, 4)
    float32 from `rasterize` of the triangles. Returns (N, H, W, 4) float32: colour and 1, or 0 where there is nothing.
    Gradients go to colours and rast (u, v), none to light. How the lit colours change along the surface, which is what
    moves it, is asked of cells.smooth(colours): between neighbouring samples, each found from few pixels, it is mostly
    noise. Raises ShapeError.
    """
    check_rast(rast)
    check_triangle_ids(rast, cells.corners[0])
    need("colours", colours, f"({cells.count}, 3) float32",
         colours.shape == (cells.count, 3) and colours.dtype == torch.float32)
    need("light", light, f"({len(rast)}, {cells.vertices}, 3) float32",
         light.shape == (len(rast), cells.vertices, 3) and light.dtype == torch.float32)
    return _DrawColours.apply(colours.contiguous(), light.detach().contiguous(), rast.contiguous(), cells)


class _DrawColours(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, colours: torch.Tensor, light: torch.Tensor, rast: torch.Tensor, cells: Cells) -> torch.Tensor:
        views, height, width, _ = rast.shape
        ctx.save_for_backward(colours, light, rast)
        ctx.cells = cells
        result = torch.empty_like(rast) if len(cells.corners[0]) else torch.zeros_like(rast)
        if len(cells.corners[0]) and result.numel():
            arguments = [wrap(colours, wp.vec3), wrap(cells.corners[-1], wp.vec3i), cells.halvings,
                         wrap(light, wp.vec3), wrap(cells.corners[0], wp.vec3i), wrap(rast, wp.vec4),
                         wrap(result, wp.vec4)]
            launch_pixels(mix_colours, plan_pieces(views, height, rast.device), width, arguments, rast.device)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        colours, light, rast = ctx.saved_tensors
        cells: Cells = ctx.cells
        views, height, width, _ = rast.shape
        plan = plan_pieces(views, height, rast.device)
        to_rast = torch.empty_like(rast) if len(cells.corners[0]) else torch.zeros_like(rast)
        found = Scatter(plan, 1, len(colours), 3, colours, shared=True)
        if len(cells.corners[0]) and grad.numel():
            coarse = max(cells.halvings - 1, 0)
            arguments = [wrap(cells.corners[-1], wp.vec3i), cells.halvings, wrap(cells.smooth(colours), wp.vec3),
                         wrap(cells.corners[coarse], wp.vec3i), coarse, wrap(light, wp.vec3),
                         wrap(cells.corners[0], wp.vec3i), wrap(rast, wp.vec4), wrap(grad.contiguous(), wp.vec4),
                         wrap(to_rast, wp.vec4), wrap(found.buffers, wp.vec3)]
            launch_pixels(spread_colours, plan, width, arguments, rast.device, found.slot_of)
        return found.sum()[0], None, to_rast, None
