"""Small meshes, views of them and what else the tests of finish, unwrap, bake and export share."""
from __future__ import annotations

import numpy as np
import torch
import trimesh
from scenes import cameras_around

from slipcast.engine.pipeline.bake import bake_texture
from slipcast.engine.pipeline.progress import Stage
from slipcast.engine.pipeline.texels import Texels
from slipcast.engine.pipeline.texture_fit import TextureSettings
from slipcast.engine.pipeline.types import Camera, Mask, Mesh, TexturedMesh, UvMesh, View, ViewSet
from slipcast.engine.render import clip_from_camera, find_fragments, interpolate_fragments

CPU = torch.device("cpu")


def to_mesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def to_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def ball(level: int = 3, radius: float = 1.0, centre=(0.0, 0.0, 0.0)) -> Mesh:
    shape = trimesh.creation.icosphere(level, radius)
    shape.apply_translation(centre)
    return to_mesh(shape)


def dented() -> Mesh:
    """A ball with a hollow at the top that its rim hides from every outline: 0.75 deep, where the ball has 1."""
    shape = trimesh.creation.icosphere(5, 1.0)
    place = np.array(shape.vertices)
    dent = 0.25 * np.exp(-((place - [0, 0, 1]) ** 2).sum(1) / 0.1)
    return Mesh((place - dent[:, None] * place).astype(np.float32), np.asarray(shape.faces, np.int32))


def top(mesh: Mesh) -> float:
    """Mean height of what lies about the z axis, above the middle."""
    x, y, z = mesh.vertices.T
    return float(z[(np.hypot(x, y) < 0.1) & (z > 0)].mean())


def joined(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]),
                np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets)]).astype(np.int32))


def paint(mesh: Mesh, colors: np.ndarray, camera: Camera) -> View:
    """A view of a mesh with sRGB bytes (V, 3) at its vertices; black outside, alpha = where the mesh is."""
    clip = torch.from_numpy(clip_from_camera(camera, mesh.vertices))[None]
    faces = torch.from_numpy(mesh.faces)
    fragments = find_fragments(clip, faces, camera.height, camera.width)
    seen = (fragments.face[0] >= 0).numpy()
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    values = interpolate_fragments(fragments, faces, torch.from_numpy(colors.astype(np.float32)))
    image[seen] = (values.numpy() + 0.5).astype(np.uint8)
    return View("painted.png", camera, image, (seen * 255).astype(np.uint8))


def painted_views(mesh: Mesh, colors: np.ndarray, count: int = 12, size: int = 160) -> tuple[ViewSet, tuple[Mask, ...]]:
    views = tuple(paint(mesh, colors, camera) for camera in cameras_around(count, size=size))
    return ViewSet(views), tuple(Mask((view.alpha > 0).astype(np.float32), "alpha", 1.0) for view in views)


def one_chart_a_face(mesh: Mesh) -> UvMesh:
    """Each face alone in a cell of a grid: needs no unwrapper, overlaps nowhere."""
    side = int(np.ceil(np.sqrt(len(mesh.faces))))
    cell = np.stack(np.divmod(np.arange(len(mesh.faces)), side), -1)[:, None]
    corners = (cell + np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])) / side
    return UvMesh(mesh, corners.astype(np.float32), np.arange(len(mesh.faces), dtype=np.int32))


def bake_base_color(uv_mesh: UvMesh, views: ViewSet, masks: tuple[Mask, ...], texture_px: int, stage: Stage,
                    fit: TextureSettings | None = None) -> np.ndarray:
    """(texture_px, texture_px, 3) uint8 sRGB."""
    return bake_texture(Texels(uv_mesh, texture_px, CPU), views, masks, stage, fit).base_color


def textured_box() -> TexturedMesh:
    """A box of 2 x 4 x 6 with its low corner at (1, 2, 3), red where x is high; texture rows and columns all differ."""
    shape = trimesh.creation.box((2, 4, 6))
    shape.apply_translation((2, 4, 6))
    mesh = to_mesh(shape)
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    texture = np.stack([rows * 4, columns * 4, 128 + 0 * rows], -1).astype(np.uint8)
    return TexturedMesh(mesh, one_chart_a_face(mesh).corner_uvs, texture)


def relief_of(textured: TexturedMesh) -> np.ndarray:
    """A normal map for it, (H, W, 3) uint8, that leans another way at every row and column."""
    rows, columns = np.meshgrid(*map(np.arange, textured.base_color.shape[:2]), indexing="ij")
    return np.stack([96 + rows, 96 + columns, 240 + 0 * rows], -1).astype(np.uint8)
