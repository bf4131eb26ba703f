"""Masks as signed distances to the outline, and how far points in space are inside the outlines of all views.

A distance is far better to build a shape from than a mask value: it is right to a fraction of a pixel at the outline,
keeps thin parts, and grows steadily on both sides, so that bounds over whole blocks of space can be given.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch

from ...bridge.errors import BadCameras
from .cameras import resize_camera
from .types import Camera, Mask, View, ViewSet

Answer = TypeVar("Answer")
# On the CPU points go in pieces small enough to stay in its cache, and below the size from which torch starts threads
# of its own for every operation: where other programs run, those wait for each other (measured: 10 times slower).
CPU_PIECE = 1 << 14
NEAR_PX = 12  # around the object's picture; farther off a distance needs no fraction of a pixel
CLEAR_OF_RIM = 0.1  # of the picture's longer side
CUT_OUT_SOURCES = ("points", "key", "centre")  # drawn by us: good, but any of them may err somewhere


@dataclass(frozen=True)
class Silhouette:
    """One view. name, index: in the ViewSet. distance_px: (H, W) float32, pixels to the outline, positive inside;
    not-a-number where the view says nothing. projection: (3, 4) float32, rows x, y (pixels times depth) and depth, of
    points relative to Silhouettes.origin. focal_px: mean focal length. whole: the outline stays clear of the frame, so
    this view shows all of the object, or all of one part of it."""

    name: str
    index: int
    distance_px: torch.Tensor
    projection: torch.Tensor
    focal_px: float
    whole: bool


@dataclass(frozen=True)
class Silhouettes:
    """All usable views. origin: (3,) float64, world: coordinates are kept relative to it, so float32 is enough.
    trusted: every mask was given, none was cut out by us."""

    views: tuple[Silhouette, ...]
    origin: np.ndarray
    trusted: bool
    device: torch.device

    @property
    def needed_views(self) -> int:
        """A point seen by fewer views than this is not believed to be object."""
        return min(6, max(2, round(0.2 * len(self.views))))


@dataclass(frozen=True)
class Depths:
    """How deep N points are inside the outlines.

    smallest: (K, N) float32, world units, the K smallest over the views that see the point, in rising order; +inf
    where fewer see it. first: (N,) int64, position in Silhouettes.views of the smallest. seen: (N,) int16.
    missed: (N,) int16, how many views have the point outside their frame on a side where the object is well inside.
    """

    smallest: torch.Tensor
    first: torch.Tensor
    seen: torch.Tensor
    missed: torch.Tensor


def build_silhouettes(views: ViewSet, masks: Sequence[Mask], longer_px: int, origin: np.ndarray,
                      device: torch.device, fine: bool = True) -> Silhouettes:
    """Prepare the views whose mask has a confidence. longer_px: masks are brought down to it. origin: (3,) world.
    fine: distances to a fraction of a pixel; without it, to half a pixel and ten times faster.

    Raises BadCameras when fewer than two are left.
    """
    pairs = [(i, view, mask) for i, (view, mask) in enumerate(zip(views.views, masks, strict=True)) if mask.confidence]
    if len(pairs) < 2:
        raise BadCameras("Fewer than two views have a usable mask.", "Give more views of the object.")
    trusted = not any(mask.source in CUT_OUT_SOURCES for _, _, mask in pairs)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        ready = pool.map(lambda row: _silhouette(row[0], row[1], row[2], longer_px, origin, device, fine), pairs)
    return Silhouettes(tuple(ready), np.asarray(origin, dtype=np.float64), trusted, device)


def _silhouette(index: int, view: View, mask: Mask, longer_px: int, origin: np.ndarray, device: torch.device,
                fine: bool) -> Silhouette:
    values, valid, camera = mask.values, view.valid, view.camera
    scale = longer_px / max(camera.width, camera.height)
    if scale < 1:
        size = (max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        valid = None if valid is None else cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        camera = resize_camera(camera, *size)
    distance = signed_distance_px(values, fine)
    rim = np.concatenate([distance[0], distance[-1], distance[:, 0], distance[:, -1]])
    if valid is not None:
        distance[cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0] = np.nan
    return Silhouette(view.name, index, torch.from_numpy(distance).to(device),
                      projection_around(origin, camera).to(device), 0.5 * (camera.fx + camera.fy),
                      bool(rim.max() < -1.0))


def projection_around(origin: np.ndarray, camera: Camera) -> torch.Tensor:
    """(3, 4) float32: points relative to `origin`, (3,) world, to homogeneous pixels. Far from the world's origin
    single precision would not do without it."""
    shift = np.eye(4)
    shift[:3, 3] = origin
    return torch.from_numpy((camera.intrinsics @ (camera.camera_from_world @ shift)[:3]).astype(np.float32))


def signed_distance_px(values: np.ndarray, fine: bool = True) -> np.ndarray:
    """Distance of every pixel centre to the outline, where the mask crosses 0.5; positive inside.

    values: (H, W) float32 in [0, 1]. Returns (H, W) float32, pixels. Where there is no outline at all: +-(H + W).
    fine: near the object the mask is sampled 3 or 5 times finer first (bilinear), so that the outline lies where it
    is between pixels, to .17 or .1 of one; else to half a pixel.
    Source: own; distance transform by OpenCV (Felzenszwalb and Huttenlocher, exact).
    """
    inside = values >= 0.5
    if inside.all() or not inside.any():
        return np.full(values.shape, sum(values.shape) * (1.0 if inside.all() else -1.0), np.float32)
    distance = _distance_at_pixels(inside)
    if not fine:
        return distance
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    near = (slice(max(0, rows[0] - NEAR_PX), rows[-1] + NEAR_PX + 1),
            slice(max(0, columns[0] - NEAR_PX), columns[-1] + NEAR_PX + 1))
    part = np.ascontiguousarray(values[near])
    times = 5 if part.size < 100_000 else 3  # odd: pixel centres stay sample centres
    sampled = cv2.resize(part, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR) >= 0.5
    if not sampled.all():
        distance[near] = _distance_at_pixels(sampled)[times // 2::times, times // 2::times] / times
    return distance


def _distance_at_pixels(inside: np.ndarray) -> np.ndarray:
    """Signed distance to the border between pixels, which runs half a pixel from their centres."""
    to_outside = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    to_inside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(inside, to_outside - 0.5, 0.5 - to_inside).astype(np.float32)


def measure_depths(silhouettes: Silhouettes, points: torch.Tensor, count: int, reach: float = 0.0,
                   sign: int = 0) -> Depths:
    """How deep points are inside the outlines of all views.

    points: (N, 3) float32, relative to silhouettes.origin, on its device. count: how many of the smallest to keep.
    With sign = +1 or -1 the answer is an upper or lower bound for the whole ball of radius `reach` (world units)
    around each point; a view that sees the ball in part puts no upper bound, and is not counted as seeing it.
    A view says nothing of what is outside its frame or behind it.
    """
    parts = in_pieces(lambda piece: _measure_piece(silhouettes, piece, count, reach, sign), points)
    return Depths(torch.cat([part.smallest for part in parts], dim=1), torch.cat([part.first for part in parts]),
                  torch.cat([part.seen for part in parts]), torch.cat([part.missed for part in parts]))


def in_pieces(work: Callable[[torch.Tensor], Answer], points: torch.Tensor) -> list[Answer]:
    """`work` of all points, in order: on the CPU in pieces, on as many threads as there are cores."""
    if points.device.type != "cpu" or len(points) <= CPU_PIECE:
        return [work(points)]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(work, points.split(CPU_PIECE)))


def _measure_piece(silhouettes: Silhouettes, points: torch.Tensor, count: int, reach: float, sign: int) -> Depths:
    total = len(points)
    smallest = torch.full((count, total), torch.inf, device=points.device)
    first = torch.zeros(total, dtype=torch.int64, device=points.device)
    seen = torch.zeros(total, dtype=torch.int16, device=points.device)
    missed = torch.zeros_like(seen)
    for number, view in enumerate(silhouettes.views):
        depth, sees, touches, misses = view_depth(view, points, reach)
        depth = depth + sign * 1.25 * reach  # 1.25: off the middle of the picture a pixel is less than depth / focal
        depth = torch.where(sees if sign >= 0 else touches, depth, torch.inf)
        seen += sees
        missed += misses
        first = torch.where(depth < smallest[0], number, first)
        for row in smallest:
            low = torch.minimum(row, depth)
            depth = torch.maximum(row, depth)
            row.copy_(low)
    return Depths(smallest, first, seen, missed)


def agreed_depth(silhouettes: Silhouettes, depths: Depths, strict: bool | None = None) -> torch.Tensor:
    """One depth a point, (N,) float32, world units; -inf where too few views see it. `depths` must hold three.

    A view says nothing of what is outside its frame. But where only a few cones meet by chance, far off, most views
    show the whole object elsewhere: a point that more of those miss than see it is not believed either.

    strict: the smallest counts; else the second where 6 views see the point, the third where 14 do, so that one or
    two wrong masks are outvoted. Default: strict where the masks are trusted.
    """
    if silhouettes.trusted if strict is None else strict:
        agreed = depths.smallest[0]
    else:
        rank = (depths.seen >= 6).long() + (depths.seen >= 14).long()
        agreed = depths.smallest.gather(0, rank[None])[0]
    believed = (depths.seen >= silhouettes.needed_views) & (depths.seen > depths.missed)
    return torch.where(believed, agreed, -torch.inf)


def view_depth(view: Silhouette, points: torch.Tensor, reach: float
                   ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth (N,) in world units; whether the view sees the whole ball; whether it sees any of it; whether the ball is
    out of the frame although the object does not leave the frame on that side."""
    height, width = view.distance_px.shape
    local = torch.addmm(view.projection[:, 3], points, view.projection[:, :3].T)
    z = local[:, 2]
    safe = z.clamp(min=1e-12)
    x, y = local[:, 0] / safe, local[:, 1] / safe
    at = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], dim=-1)
    sampled = torch.nn.functional.grid_sample(view.distance_px[None, None], at[None, None], mode="bilinear",
                                              padding_mode="border", align_corners=False)[0, 0, 0]
    silent = torch.isnan(sampled)
    in_front = z > reach
    ring = 1.25 * reach * view.focal_px / (safe - reach).clamp(min=1e-12)
    edge = torch.minimum(torch.minimum(x, width - x), torch.minimum(y, height - y))
    depth = torch.where(silent, -torch.inf, sampled) * (z / view.focal_px)  # -inf: only a lower bound keeps it
    touches = in_front & (edge > -ring)
    # outside the frame `sampled` is the value of the nearest pixel of its rim
    clear = ~silent & in_front & (sampled < -CLEAR_OF_RIM * max(height, width))
    return depth, in_front & ~silent & (edge >= ring), touches, ~touches & (clear | view.whole)
