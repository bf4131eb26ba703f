"""What views with depth say of space: in front of the surface that a view sees, nothing is.

Outlines never show a hollow; a depth does. Where the surface is even, the depth is read between pixels and turned into
a distance to the surface; at its edges the nearest of four pixels counts, so that too little is carved, not too much.
Source: own, after space carving (Kutulakos and Seitz 2000); distances as in volumetric fusion (Curless and Levoy 1996).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .progress import Stage
from .silhouettes import Silhouettes, agreed_depth, in_pieces, measure_depths, projection_around
from .types import Mask, View, ViewSet

STEEP = 4.0         # depth per width: beyond it four neighbours see two surfaces
LEAST_FACING = 0.25  # cosine to the surface below which a distance is not made any shorter
ASKED = 2000        # pixels of a view whose depth is looked at
AGREEING = 0.9      # of them: inside the outlines of all views


@dataclass(frozen=True)
class DepthView:
    """depth: (H, W) float32, along the axis, world units; not-a-number = nothing known. projection: (3, 4) float32, as
    in Silhouette. focal_px: mean focal length."""

    depth: torch.Tensor
    projection: torch.Tensor
    focal_px: float


def depth_views(views: ViewSet, masks: Sequence[Mask], silhouettes: Silhouettes, slack: float, stage: Stage
                ) -> tuple[DepthView, ...]:
    """The views with a depth that agrees with the outlines; the person is told of the others.

    slack: world units, by which a seen surface may lie outside the outlines.
    """
    found, wrong = [], []
    for view, mask in zip(views.views, masks, strict=True):
        if view.depth is None or not mask.confidence:
            continue
        ready = _depth_view(view, view.depth, mask, silhouettes)
        seen = _seen_points(view, ready.depth.cpu().numpy(), silhouettes.origin)
        if not len(seen):
            continue
        depths = measure_depths(silhouettes, torch.from_numpy(seen).to(silhouettes.device), 3)
        inside = agreed_depth(silhouettes, depths) > -slack
        (found if float(inside.float().mean()) >= AGREEING else wrong).append((view.name, ready))
        stage.check()
    if wrong:
        stage.warn(f"The depth of {len(wrong)} of {len(found) + len(wrong)} views does not lie where their outlines "
                   f"meet ({wrong[0][0]}, for one), so it was not used for the shape. Check that it is metric, "
                   "measured along the camera's axis, and in the cameras' units.")
    return tuple(ready for _, ready in found)


def carve(views: Sequence[DepthView], points: torch.Tensor) -> torch.Tensor:
    """How far points are behind the surface: (N,) float32, world units, negative where any view looks through the point
    at something behind it; +inf where no view says anything. Of all views' answers the one nearest to 0 counts, because
    the way along a ray is never shorter than the way to the surface.

    points: (N, 3) float32, relative to the origin of the silhouettes, on their device.
    """
    return torch.cat(in_pieces(lambda piece: _carve_piece(views, piece), points))


def _depth_view(view: View, depth: np.ndarray, mask: Mask, silhouettes: Silhouettes) -> DepthView:
    known = np.isfinite(depth) & (depth > 0) & (mask.values >= 0.5)
    if view.valid is not None:
        known &= view.valid
    camera, device = view.camera, silhouettes.device
    return DepthView(torch.from_numpy(np.where(known, depth, np.nan).astype(np.float32)).to(device),
                     projection_around(silhouettes.origin, camera).to(device), 0.5 * (camera.fx + camera.fy))


def _seen_points(view: View, depth: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Some of the points that a view sees, evenly over its picture: (N, 3) float32, relative to `origin`."""
    rows, columns = np.nonzero(np.isfinite(depth))
    some = np.linspace(0, len(rows) - 1, min(ASKED, len(rows))).astype(int)
    rows, columns = rows[some], columns[some]
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1) * depth[rows, columns][:, None]
    camera = view.camera
    local = pixels @ np.linalg.inv(camera.intrinsics).T
    world = (local - camera.camera_from_world[:3, 3]) @ camera.camera_from_world[:3, :3]
    return (world - origin).astype(np.float32)


def _carve_piece(views: Sequence[DepthView], points: torch.Tensor) -> torch.Tensor:
    inside = torch.full((len(points),), torch.inf, device=points.device)
    outside = -inside
    for view in views:
        behind = _behind(view, points)
        inside = torch.minimum(inside, torch.where(behind >= 0, behind, torch.inf))
        outside = torch.maximum(outside, torch.where(behind < 0, behind, -torch.inf))
    return torch.where(outside.isfinite(), outside, inside)


def _behind(view: DepthView, points: torch.Tensor) -> torch.Tensor:
    height, width = view.depth.shape
    local = torch.addmm(view.projection[:, 3], points, view.projection[:, :3].T)
    z = local[:, 2]
    safe = z.clamp(min=1e-12)
    x, y = local[:, 0] / safe - 0.5, local[:, 1] / safe - 0.5   # in steps of pixels from the first one's centre
    sees = (z > 0) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    left = x.clamp(0, width - 2).floor().long()
    top = y.clamp(0, height - 2).floor().long()
    across, down = (x - left).clamp(0, 1), (y - top).clamp(0, 1)
    flat, first = view.depth.reshape(-1), top * width + left
    a, b, c, d = (flat[first + step] for step in (0, 1, width, width + 1))
    corners = torch.stack([a, b, c, d])
    nearest = torch.where(corners.isnan(), torch.inf, corners).amin(0)
    pixel = nearest / view.focal_px
    even = (corners.amax(0) - nearest) < STEEP * pixel          # False where one is not-a-number
    between = torch.lerp(torch.lerp(a, b, across), torch.lerp(c, d, across), down)
    slope = torch.hypot(b + d - a - c, c + d - a - b) / (2 * pixel)
    facing = (1 + slope.square()).rsqrt().clamp(min=LEAST_FACING)
    behind = torch.where(even, (z - between) * facing, z - nearest)
    return torch.where(sees & nearest.isfinite(), behind, torch.inf)
