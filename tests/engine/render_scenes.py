"""Meshes in clip space for the tests of the rasteriser."""
from __future__ import annotations

import numpy as np
import torch
import trimesh

NEAR, FAR = 0.1, 10.0


def rough_ball(level: int, seed: int, roughness: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """vertices (V, 3) float64, faces (F, 3) int32 of an icosphere whose vertices are off at random."""
    shape = trimesh.creation.icosphere(level)
    rng = np.random.default_rng(seed)
    radius = 1 + roughness * rng.uniform(-1, 1, (len(shape.vertices), 1))
    return torch.from_numpy(shape.vertices * radius), torch.from_numpy(shape.faces.astype(np.int32))


def project(vertices: torch.Tensor, distance: float = 3.2, turn: float = 0.0) -> torch.Tensor:
    """(V, 3) -> (V, 4) clip space of a camera on the z axis; turn: radians about y."""
    x, y, z = vertices.unbind(-1)
    c, s = float(np.cos(turn)), float(np.sin(turn))
    x, z = c * x + s * z, c * z - s * x
    depth = distance - z
    return torch.stack([2.1 * x, -2.1 * y, ((FAR + NEAR) * depth - 2 * FAR * NEAR) / (FAR - NEAR), depth], -1)


def two_views(level: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """positions (2, V, 4) float64 of two balls, one partly before the other, and faces (F, 3)."""
    near, faces = rough_ball(level, seed)
    far, _ = rough_ball(level, seed + 1)
    vertices = torch.cat([near * 0.6 + torch.tensor([0.25, 0.1, 0.6]), far * 0.8 - torch.tensor([0.3, 0.1, 0.5])])
    faces = torch.cat([faces, faces + len(near)])
    return torch.stack([project(vertices), project(vertices, turn=0.7)]), faces


def soup(seed: int, low_w: float, views: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles at random; with low_w < 0 many cross the near plane or lie behind it. (views, 30, 4) float64."""
    rng = np.random.default_rng(seed)
    clip = rng.normal(size=(views, 30, 4))
    clip[..., 3] = rng.uniform(low_w, 2, (views, 30))
    clip[..., 2] = rng.uniform(-1, 1, (views, 30)) * np.abs(clip[..., 3])
    return torch.from_numpy(clip), torch.from_numpy(rng.integers(0, 30, (25, 3)).astype(np.int32))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Length of the difference over the length of what is expected."""
    return float((found.double() - expected).norm() / expected.norm())
