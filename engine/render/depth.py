"""Depth map of a mesh seen by a Camera."""
from __future__ import annotations

import numpy as np
import torch

from ..pipeline.types import Camera, Mesh
from .fragments import find_fragments

NEAREST = 1e-3     # near plane as a fraction of the farthest vertex: the range that float32 depth resolves well


def clip_from_camera(camera: Camera, vertices: np.ndarray) -> np.ndarray:
    """Project world points into clip space (x right, y down; w = distance along the camera's axis).

    vertices: (V, 3), world. Returns (V, 4) float32. Near and far plane enclose the vertices in front of the camera.
    """
    pose = camera.camera_from_world
    seen = vertices.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    distance = seen[:, 2]
    far = max(float(distance.max(initial=0.0)), 1e-9) * 1.01
    near = max(float(distance.min(initial=far)) * 0.99, far * NEAREST)
    x = (camera.fx * seen[:, 0] + camera.cx * distance) * (2 / camera.width) - distance
    y = (camera.fy * seen[:, 1] + camera.cy * distance) * (2 / camera.height) - distance
    z = ((far + near) * distance - 2 * far * near) / (far - near)
    return np.stack([x, y, z, distance], -1).astype(np.float32)


def depth_map(mesh: Mesh, camera: Camera, device: torch.device) -> torch.Tensor:
    """Distance along the camera's axis to the nearest surface, per pixel; inf where there is none.

    Returns (H, W) float32 on `device`, world units, pixel centres at +0.5.
    """
    clip = torch.from_numpy(clip_from_camera(camera, mesh.vertices)).to(device)
    faces = torch.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.int32)).to(device)
    return find_fragments(clip[None], faces, camera.height, camera.width).depth[0]
