"""Nearest triangle per pixel, with barycentric weights and depth; forward only, for stages without gradients.

Homogeneous edge functions (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997) need no
clipping: a triangle that crosses the near plane is tested like any other, only its bounding box is taken from the part
in front. Edge functions are taken relative to the pixel, so that float32 keeps its digits on large images.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import warp as wp

from .backend import Piece, launch_pieces, over_faces, over_pixels, plan_pieces, threads_of, wrap
from .raster_kernels import cover, resolve

EMPTY = 2**63 - 1


@dataclass(frozen=True)
class Fragments:
    """What each pixel shows. face: (B, H, W) int32, -1 = nothing. weights: (B, H, W, 2) float32, perspective-correct
    barycentric weights of the face's first and second corner (the third is the rest). depth: (B, H, W) float32,
    clip w of the surface (= distance along the camera's axis), inf = nothing."""

    face: torch.Tensor
    weights: torch.Tensor
    depth: torch.Tensor


def screen_from_clip(clip: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., 4) clip (x, y, z, w) to (pixel x times w, pixel y times w, z, w)."""
    x = (clip[..., 0] + clip[..., 3]) * (0.5 * width)
    y = (clip[..., 1] + clip[..., 3]) * (0.5 * height)
    return torch.stack([x, y, clip[..., 2], clip[..., 3]], dim=-1)


def nearest_of(plan: Sequence[Piece], height: int, width: int,
               device: torch.device) -> tuple[torch.Tensor, Callable[[Piece], int]]:
    """What `cover` finds, (slots, H, W) int64 of EMPTY, and which slot a piece uses. A CPU thread uses the same for one
    piece after the other, since `resolve` leaves it empty; CUDA has them at work all at once."""
    cuda = device.type != "cpu"
    count = len(plan) if cuda else threads_of(plan)
    nearest = torch.full((count, height, width), EMPTY, dtype=torch.int64, device=device)
    return nearest, lambda piece: piece.index if cuda else piece.thread


def find_fragments(clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, near_w: float = 1e-6) -> Fragments:
    """Nearest triangle per pixel; pixel centres at +0.5, both sides of a triangle are drawn.

    clip: (B, V, 4) float32, clip space with y DOWN (row 0 is y = -w). faces: (F, 3) int32 on the same device.
    A fragment counts when w >= near_w and -w <= z <= w; of equal depth the lower face index wins.
    Returns Fragments on the device of `clip`. Raises ValueError when a shape or dtype is another one.
    Source: own, after Olano and Greer 1997. Slow twin: reference.fragments_ref.
    """
    if clip.ndim != 3 or clip.shape[2] != 4 or clip.dtype != torch.float32:
        raise ValueError(f"Expected clip (B, V, 4) float32, got {tuple(clip.shape)} {clip.dtype}.")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int32:
        raise ValueError(f"Expected faces (F, 3) int32, got {tuple(faces.shape)} {faces.dtype}.")
    views, device = clip.shape[0], clip.device
    face_at = torch.full((views, height, width), -1, dtype=torch.int32, device=device)
    weights = torch.zeros((views, height, width, 2), dtype=torch.float32, device=device)
    depth = torch.full((views, height, width), torch.inf, dtype=torch.float32, device=device)
    if len(faces) and face_at.numel():
        plan = plan_pieces(views, height, device)
        nearest, slot_of = nearest_of(plan, height, width, device)
        screen = wrap(screen_from_clip(clip, height, width).contiguous(), dtype=wp.vec4)
        mesh, keys = [screen, wrap(faces.contiguous())], wrap(nearest, wp.uint64)
        outputs = [wrap(face_at), wrap(weights, dtype=wp.vec2), wrap(depth)]
        launch_pieces([over_faces(cover, len(faces), [*mesh, width, near_w, keys]),
                       over_pixels(resolve, width, [*mesh, wp.uint64(EMPTY), keys, *outputs], device)],
                      plan, device, slot_of)
    return Fragments(face_at, weights, depth)


def interpolate_fragments(fragments: Fragments, faces: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
    """Attributes at the pixels that show a face, in the order of fragments.face >= 0.

    faces: (F, 3) int32. attributes: (V, C) float32, one row a vertex. Returns (N, C) float32, N covered pixels.
    """
    seen = fragments.face >= 0
    return interpolate_at(fragments.face[seen], fragments.weights[seen], faces, attributes)


def interpolate_at(face: torch.Tensor, weights: torch.Tensor, faces: torch.Tensor,
                   attributes: torch.Tensor) -> torch.Tensor:
    """Attributes at N points given by face (N,) int32 and weights (N, 2) float32 of its first two corners. (N, C)."""
    corners = faces[face.long()].long()
    first, second = weights[:, :1], weights[:, 1:]
    return (attributes[corners[:, 0]] * first + attributes[corners[:, 1]] * second
            + attributes[corners[:, 2]] * (1 - first - second))
