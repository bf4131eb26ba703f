"""A textured mesh that is known exactly, and views of it, for measuring what comes back."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image

from ..engine.pipeline.types import Camera
from ..engine.render import clip_from_camera, find_fragments, interpolate_fragments

FIELD_OF_VIEW_DEG = 40.0
ELEVATIONS_DEG = (-25.0, 0.0, 30.0, 60.0)
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
FINE = 2        # samples across a pixel


@dataclass(frozen=True)
class KnownMesh:
    """corners: (F, 3, 3) float32, Blender's world. uvs: (F, 3, 2), v up. texture: (H, W, 3) uint8 sRGB, or neither.
    colours: (F, 3, 3) float32 sRGB in [0, 1] at the corners, where there is no texture."""

    corners: np.ndarray
    uvs: np.ndarray | None = None
    texture: np.ndarray | None = None
    colours: np.ndarray | None = None

    @property
    def solid(self) -> trimesh.Trimesh:
        """Without texture, vertices at the same place merged."""
        shape = trimesh.Trimesh(self.corners.reshape(-1, 3), np.arange(self.corners.size // 3).reshape(-1, 3),
                                process=False)
        shape.merge_vertices(digits_vertex=6)
        return shape


def load_known_mesh(path: Path, y_up: bool | None = None) -> KnownMesh:
    """Read a mesh file. y_up: whether its second axis is up; None: as usual for its suffix (.glb, .obj: yes)."""
    read = trimesh.load_mesh(path, process=False)
    assert isinstance(read, trimesh.Trimesh), "load_mesh gives one mesh"
    vertices = np.asarray(read.vertices, np.float32)
    if y_up if y_up is not None else path.suffix.lower() in (".glb", ".gltf", ".obj"):
        vertices = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], -1)
    uv = getattr(read.visual, "uv", None)
    material = getattr(read.visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is None or image is None:
        return KnownMesh(vertices[read.faces])
    return KnownMesh(vertices[read.faces], np.asarray(uv, np.float32)[read.faces], np.asarray(image.convert("RGB")))


def orbit_cameras(mesh: KnownMesh, count: int, size_px: int, turn: float = 0.0) -> list[Camera]:
    """Cameras on rings round the mesh, all of it in frame. turn: radians that the rings are turned by."""
    ups = np.deg2rad([ELEVATIONS_DEG[index % len(ELEVATIONS_DEG)] for index in range(count)])
    return _cameras(mesh, size_px, np.arange(count) * GOLDEN_ANGLE + turn, ups)


def round_cameras(mesh: KnownMesh, count: int, size_px: int) -> list[Camera]:
    """Cameras spread evenly over a sphere round the mesh, from below too, all of it in frame."""
    return _cameras(mesh, size_px, np.arange(count) * GOLDEN_ANGLE, np.arcsin(1 - (2 * np.arange(count) + 1) / count))


def _cameras(mesh: KnownMesh, size_px: int, arounds: np.ndarray, ups: np.ndarray) -> list[Camera]:
    """That look at the mesh's middle. arounds, ups: (N,) radians, azimuths and elevations."""
    points = mesh.corners.reshape(-1, 3)
    centre = (points.min(0) + points.max(0)) / 2
    half_angle = np.deg2rad(FIELD_OF_VIEW_DEG / 2)
    distance = 1.05 * float(np.linalg.norm(points.max(0) - points.min(0))) / 2 / np.sin(half_angle)
    focal = size_px / 2 / np.tan(half_angle)
    cameras = []
    for around, up in zip(arounds, ups):
        way = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
        forward = -way
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], -1)
        pose[:3, 3] = centre + distance * way
        cameras.append(Camera(size_px, size_px, focal, focal, size_px / 2, size_px / 2, pose))
    return cameras


def render(mesh: KnownMesh, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Unlit picture: (H, W, 3) float32 sRGB in [0, 1], straight, and coverage (H, W) in [0, 1]."""
    height, width = camera.height * FINE, camera.width * FINE
    clip = torch.from_numpy(clip_from_camera(camera, mesh.corners.reshape(-1, 3)))[None]
    faces = torch.arange(mesh.corners.size // 3, dtype=torch.int32).reshape(-1, 3)
    found = find_fragments(clip, faces, height, width)
    seen = (found.face[0] >= 0).numpy()
    color = np.zeros((height, width, 3), np.float32)
    if mesh.uvs is not None and mesh.texture is not None:
        uv = interpolate_fragments(found, faces, torch.from_numpy(mesh.uvs.reshape(-1, 2))).numpy()
        color[seen] = _bilinear(mesh.texture, uv)
    elif mesh.colours is not None:
        color[seen] = interpolate_fragments(found, faces, torch.from_numpy(mesh.colours.reshape(-1, 3))).numpy()
    else:
        color[seen] = 0.7
    cover = seen.reshape(camera.height, FINE, camera.width, FINE).mean((1, 3)).astype(np.float32)
    total = color.reshape(camera.height, FINE, camera.width, FINE, 3).mean((1, 3))
    return total / np.maximum(cover, 1e-6)[..., None] * (cover > 0)[..., None], cover


def _bilinear(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = texture.shape[:2]
    x, y = uv[:, 0] % 1.0 * width - 0.5, (1 - uv[:, 1] % 1.0) * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, low_share = (x - left)[:, None], (y - top)[:, None]

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return texture[row.clip(0, height - 1), column.clip(0, width - 1)].astype(np.float32) / 255

    upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share
    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share
    return upper * (1 - low_share) + lower * low_share


def write_views(mesh: KnownMesh, folder: Path, count: int = 24, size_px: int = 512,
                cameras_of: Callable[[KnownMesh, int, int], list[Camera]] = orbit_cameras) -> Path:
    """A view folder (transforms.json, RGBA images) of the mesh."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for index, camera in enumerate(cameras_of(mesh, count, size_px)):
        color, cover = render(mesh, camera)
        pixels = np.concatenate([color, cover[..., None]], -1)
        name = f"{index:03d}.png"
        Image.fromarray((pixels * 255 + 0.5).clip(0, 255).astype(np.uint8), "RGBA").save(folder / name)
        opengl = camera.world_from_camera @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": name, "transform_matrix": opengl.tolist()})
    table = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": size_px, "h": size_px,
             "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(table, indent=1))
    return folder
