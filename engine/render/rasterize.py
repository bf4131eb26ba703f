"""Nearest triangle per pixel, with barycentric weights and depth.

Homogeneous edge functions (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997) need no
clipping: a triangle that crosses the near plane is tested like any other, only its bounding box is taken from the part
in front. Edge functions are taken relative to the pixel, so that float32 keeps its digits on large images.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp

from .backend import launch_rows, wrap

DEPTH_STEPS = 2147483647.0     # 31 bits of depth above 32 bits of face index
EMPTY = 2**63 - 1


@dataclass(frozen=True)
class Fragments:
    """What each pixel shows. face: (B, H, W) int32, -1 = nothing. weights: (B, H, W, 2) float32, perspective-correct
    barycentric weights of the face's first and second corner (the third is the rest). depth: (B, H, W) float32,
    clip w of the surface (= distance along the camera's axis), inf = nothing."""

    face: torch.Tensor
    weights: torch.Tensor
    depth: torch.Tensor


@wp.func
def corner_at(screen: wp.array(dtype=wp.vec4, ndim=2), block: int, index: int, x: float, y: float) -> wp.vec4:
    """A corner (X, Y, z, w in pixels times w) as seen from the pixel at (x, y)."""
    c = screen[block, index]
    return wp.vec4(c[0] - x * c[3], c[1] - y * c[3], c[2], c[3])


@wp.func
def edge(a: wp.vec4, b: wp.vec4, ia: int, ib: int) -> float:
    """Signed edge function at the pixel. Taken from the lower to the higher index, so that two triangles that share an
    edge get the same number with opposite sign and leave no gap."""
    e = float(0.0)
    if ia < ib:
        e = a[0] * b[1] - a[1] * b[0]
    else:
        e = -(b[0] * a[1] - b[1] * a[0])
    return e


@wp.func
def weights_at(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), block: int, face: int,
               x: float, y: float) -> wp.vec4:
    """(weight of corner 0, of corner 1, z/w, w) at a pixel; w <= 0 when the pixel is outside."""
    i0 = faces[face, 0]
    i1 = faces[face, 1]
    i2 = faces[face, 2]
    a = corner_at(screen, block, i0, x, y)
    b = corner_at(screen, block, i1, x, y)
    c = corner_at(screen, block, i2, x, y)
    e0 = edge(b, c, i1, i2)
    e1 = edge(c, a, i2, i0)
    e2 = edge(a, b, i0, i1)
    total = e0 + e1 + e2
    outside = wp.vec4(0.0, 0.0, 0.0, -1.0)
    if total == 0.0:
        return outside
    if wp.min(e0, wp.min(e1, e2)) < 0.0 and wp.max(e0, wp.max(e1, e2)) > 0.0:
        return outside
    w0 = e0 / total
    w1 = e1 / total
    w2 = e2 / total
    w = w0 * a[3] + w1 * b[3] + w2 * c[3]
    if w <= 0.0:
        return outside
    return wp.vec4(w0, w1, (w0 * a[2] + w1 * b[2] + w2 * c[2]) / w, w)


@wp.func
def grow(box: wp.vec4, p: wp.vec4) -> wp.vec4:
    x = p[0] / p[3]
    y = p[1] / p[3]
    return wp.vec4(wp.min(box[0], x), wp.min(box[1], y), wp.max(box[2], x), wp.max(box[3], y))


@wp.func
def grow_by_crossing(box: wp.vec4, a: wp.vec4, b: wp.vec4, near_w: float) -> wp.vec4:
    """Add where the edge a-b crosses w = near_w, if it does."""
    result = box
    if (a[3] < near_w) != (b[3] < near_w):
        t = (near_w - a[3]) / (b[3] - a[3])
        p = a + (b - a) * t
        result = grow(box, wp.vec4(p[0], p[1], p[2], near_w))
    return result


@wp.func
def bounds(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), block: int, face: int,
           near_w: float) -> wp.vec4:
    """(low x, low y, high x, high y) in pixels of the part of a triangle in front of w = near_w."""
    a = screen[block, faces[face, 0]]
    b = screen[block, faces[face, 1]]
    c = screen[block, faces[face, 2]]
    box = wp.vec4(1.0e30, 1.0e30, -1.0e30, -1.0e30)
    if a[3] >= near_w:
        box = grow(box, a)
    if b[3] >= near_w:
        box = grow(box, b)
    if c[3] >= near_w:
        box = grow(box, c)
    box = grow_by_crossing(box, a, b, near_w)
    box = grow_by_crossing(box, b, c, near_w)
    box = grow_by_crossing(box, c, a, near_w)
    return box


@wp.kernel
def cover(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), width: int, near_w: float,
          nearest: wp.array(dtype=wp.uint64, ndim=3), block: int, first_row: int, end_row: int):
    face = wp.tid()
    box = bounds(screen, faces, block, face, near_w)
    # pixel centres lie at +0.5: the first centre at or after x is ceil(x - 0.5)
    left = int(wp.clamp(wp.ceil(box[0] - 0.5), 0.0, float(width)))
    right = int(wp.clamp(wp.floor(box[2] - 0.5) + 1.0, 0.0, float(width)))
    top = int(wp.clamp(wp.ceil(box[1] - 0.5), float(first_row), float(end_row)))
    bottom = int(wp.clamp(wp.floor(box[3] - 0.5) + 1.0, float(first_row), float(end_row)))
    for row in range(top, bottom):
        for column in range(left, right):
            hit = weights_at(screen, faces, block, face, float(column) + 0.5, float(row) + 0.5)
            if hit[3] >= near_w and hit[2] >= -1.0 and hit[2] <= 1.0:
                step = wp.uint64((wp.float64(hit[2]) * wp.float64(0.5) + wp.float64(0.5)) * wp.float64(DEPTH_STEPS))
                key = (step << wp.uint64(32)) | wp.uint64(face)
                if key < nearest[block, row, column]:
                    wp.atomic_min(nearest, block, row, column, key)


@wp.kernel
def resolve(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), empty: wp.uint64,
            nearest: wp.array(dtype=wp.uint64, ndim=3), face_at: wp.array(dtype=wp.int32, ndim=3),
            weights: wp.array(dtype=wp.vec2, ndim=3), depth: wp.array(dtype=wp.float32, ndim=3),
            block: int, first_row: int, end_row: int):
    row, column = wp.tid()
    row = row + first_row
    key = nearest[block, row, column]
    if key != empty:
        face = int(key & wp.uint64(4294967295))
        hit = weights_at(screen, faces, block, face, float(column) + 0.5, float(row) + 0.5)
        face_at[block, row, column] = face
        weights[block, row, column] = wp.vec2(hit[0], hit[1])
        depth[block, row, column] = hit[3]


def screen_from_clip(clip: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(..., 4) clip (x, y, z, w) to (pixel x times w, pixel y times w, z, w)."""
    x = (clip[..., 0] + clip[..., 3]) * (0.5 * width)
    y = (clip[..., 1] + clip[..., 3]) * (0.5 * height)
    return torch.stack([x, y, clip[..., 2], clip[..., 3]], dim=-1)


def rasterize(clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, near_w: float = 1e-6) -> Fragments:
    """Nearest triangle per pixel; pixel centres at +0.5, both sides of a triangle are drawn.

    clip: (B, V, 4) float32, clip space with y DOWN (row 0 is y = -w). faces: (F, 3) int32 on the same device.
    A fragment counts when w >= near_w and -w <= z <= w; of equal depth the lower face index wins.
    Returns Fragments on the device of `clip`. Raises ValueError when a shape or dtype is another one.
    Source: own, after Olano and Greer 1997. Slow twin: reference.rasterize_ref.
    """
    if clip.ndim != 3 or clip.shape[2] != 4 or clip.dtype != torch.float32:
        raise ValueError(f"Expected clip (B, V, 4) float32, got {tuple(clip.shape)} {clip.dtype}.")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int32:
        raise ValueError(f"Expected faces (F, 3) int32, got {tuple(faces.shape)} {faces.dtype}.")
    views, device = clip.shape[0], clip.device
    nearest = torch.full((views, height, width), EMPTY, dtype=torch.int64, device=device)
    face_at = torch.full((views, height, width), -1, dtype=torch.int32, device=device)
    weights = torch.zeros((views, height, width, 2), dtype=torch.float32, device=device)
    depth = torch.full((views, height, width), torch.inf, dtype=torch.float32, device=device)
    if len(faces) and views:
        screen = wrap(screen_from_clip(clip, height, width).contiguous(), dtype=wp.vec4)
        faces_warp = wrap(faces.contiguous(), dtype=wp.int32)
        nearest_warp = wrap(nearest, dtype=wp.uint64)
        launch_rows(cover, height, lambda first, end: len(faces),
                    [screen, faces_warp, width, near_w, nearest_warp], device, views)
        outputs = [wrap(face_at), wrap(weights, dtype=wp.vec2), wrap(depth)]
        launch_rows(resolve, height, lambda first, end: (end - first, width),
                    [screen, faces_warp, wp.uint64(EMPTY), nearest_warp, *outputs], device, views)
    return Fragments(face_at, weights, depth)
