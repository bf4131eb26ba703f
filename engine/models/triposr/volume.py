"""Pictures of the field by marching along rays: slow, for parity with the published code. Source: spec triposr, 5.

What a job shows is the mesh, drawn by the rasteriser.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .field import TriplaneField, sliced

_INSET = 1e-3           # the box that rays are cut with is this fraction smaller than the planes
_MIN_DIRECTION = 1e-6   # a smaller component counts as this, so that nothing is divided by 0
_MIN_PATH = 0.01        # a ray that is shorter than this inside the box sees nothing
_LIGHT_LEFT = 1e-10     # added to what a sample lets through


@dataclass(frozen=True)
class Orbit:
    """Where a picture of the field is taken from; the object's front faces azimuth 0."""

    azimuth_deg: float = 0.0
    elevation_deg: float = 0.0
    distance: float = 1.9
    fov_y_deg: float = 40.0


def orbit_rays(orbit: Orbit, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The rays through the pixel centres: origin (3,), directions (H, W, 3) of length 1; float32, the model's frame."""
    azimuth, elevation = math.radians(orbit.azimuth_deg), math.radians(orbit.elevation_deg)
    away = torch.tensor([math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth),
                         math.sin(elevation)], dtype=torch.float64)
    look = -away
    right = torch.linalg.cross(look, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    up = torch.linalg.cross(right, look)
    focal_px = 0.5 * height / math.tan(math.radians(orbit.fov_y_deg) / 2)
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / focal_px
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2) / focal_px
    directions = x[None, :, None] * right - y[:, None, None] * up + look
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return (orbit.distance * away).float(), directions.float()


def cut_with_box(origin: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave the box: near (N,), far (N,), along the directions, and whether they see it (N,) bool.

    origin: (3,). directions: (N, 3).
    """
    half = radius * (1 - _INSET)
    divisor = torch.where(directions.abs() < _MIN_DIRECTION, directions.new_tensor(_MIN_DIRECTION), directions)
    ends = torch.stack([(-half - origin) / divisor, (half - origin) / divisor])
    near = ends.amin(dim=0).amax(dim=-1).clamp(min=0)
    far = ends.amax(dim=0).amin(dim=-1)
    return near, far, far - near > _MIN_PATH


def march_rays(field: TriplaneField, origin: Tensor, directions: Tensor,
               check: Callable[[], None] = lambda: None) -> Tensor:
    """Colours along rays before white. origin: (3,). directions: (N, 3). Returns (N, 3) float32, about [0, 1]."""
    near, far, sees = cut_with_box(origin, directions, field.sizes.radius)
    colors = torch.ones_like(directions)
    index = sees.nonzero()[:, 0]
    rays = max(1, field.chunk // field.sizes.ray_samples)
    for part in sliced(len(index), rays):
        check()
        chosen = index[part]
        colors[chosen] = _march(field, origin, directions[chosen], near[chosen, None], far[chosen, None])
    return colors


def _march(field: TriplaneField, origin: Tensor, directions: Tensor, near: Tensor, far: Tensor) -> Tensor:
    count = field.sizes.ray_samples
    edges = torch.linspace(0, 1, count + 1, device=directions.device)
    middle = (edges[1:] + edges[:-1]) / 2
    depths = near * (1 - middle) + far * middle
    points = origin + depths[..., None] * directions[:, None]
    raw = field.raw(points.reshape(-1, 3)).view(len(directions), count, 4)
    # the step is that of the parameter, not of the depth: so the published weights were trained
    opaque = 1 - torch.exp(-field.density(raw[..., 0]) / count)
    through = torch.cumprod(1 - opaque[:, :-1] + _LIGHT_LEFT, dim=1)
    weights = opaque * torch.cat([torch.ones_like(through[:, :1]), through], dim=1)
    seen = (weights[..., None] * torch.sigmoid(raw[..., 1:])).sum(dim=1)
    return seen + 1 - weights.sum(dim=1, keepdim=True)


def render_view(field: TriplaneField, orbit: Orbit, height: int, width: int,
                check: Callable[[], None] = lambda: None) -> Tensor:
    """A picture of the field on white: (H, W, 3) float32 sRGB, row 0 on top. check: called often; may raise to stop."""
    origin, directions = orbit_rays(orbit, height, width)
    device = field.code.device
    return march_rays(field, origin.to(device), directions.to(device).flatten(0, 1), check).view(height, width, 3)
