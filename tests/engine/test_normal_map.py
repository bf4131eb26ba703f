"""The normal map: it gives the fine mesh's shading back, on mirrored charts too, and files carry it."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cameras_around, make_stage
from skin import CPU, ball, one_chart_a_face

from slipcast.bridge.errors import Cancelled
from slipcast.engine.pipeline.finish import reduce_faces
from slipcast.engine.pipeline.normal_map import bake_normal_map, worth_a_normal_map
from slipcast.engine.pipeline.normals import shading_normals
from slipcast.engine.pipeline.tangents import corner_tangents
from slipcast.engine.pipeline.texels import Texels
from slipcast.engine.pipeline.types import Camera, Mesh, UvMesh
from slipcast.engine.pipeline.unwrap import UnwrapSettings, unwrap_mesh
from slipcast.engine.render import clip_from_camera, find_fragments, texture

SUN = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])


def relief(level: int = 5) -> Mesh:
    """A ball with ridges too fine for a few thousand faces: 20,480 faces at level 5."""
    smooth = ball(level)
    waves = np.sin(11 * smooth.vertices).sum(1, keepdims=True) + np.sin(23 * smooth.vertices).sum(1, keepdims=True)
    return Mesh((smooth.vertices * (1 + 0.012 * waves)).astype(np.float32), smooth.faces)


def drawn_normals(uv_mesh: UvMesh, camera: Camera, normal_map: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) normals as a renderer shades with, and (H, W) where the mesh is. Written after Blender's manual alone:
    normal = x tangent + y sign cross(normal, tangent) + z normal."""
    mesh = uv_mesh.mesh
    normals = shading_normals(mesh.vertices, mesh.faces)
    clip = torch.from_numpy(clip_from_camera(camera, mesh.vertices))[None]
    found = find_fragments(clip, torch.from_numpy(mesh.faces), camera.height, camera.width)
    seen = (found.face[0] >= 0).numpy()
    face = found.face[0].numpy()[seen]
    two = found.weights[0].numpy()[seen]
    share = np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1)[..., None]
    shown = (normals[mesh.faces[face]] * share).sum(1)
    if normal_map is not None:
        known = corner_tangents(mesh, uv_mesh.corner_uvs, normals)
        uv = (uv_mesh.corner_uvs[face] * share).sum(1)
        uv = torch.from_numpy(np.stack([uv[:, 0], 1 - uv[:, 1]], -1).astype(np.float32))[None, None]
        read = texture(torch.from_numpy(normal_map / np.float32(255)), uv.contiguous(), boundary="clamp")[0, 0].numpy()
        x, y, z = np.split(2 * read - 1, 3, axis=1)
        tangent = (known.tangents[face] * share).sum(1)
        shown = x * tangent + y * known.signs[face][:, None] * np.cross(shown, tangent) + z * shown
    image = np.zeros((*seen.shape, 3))
    image[seen] = shown / np.linalg.norm(shown, axis=1, keepdims=True)
    return image, seen


def decibel(shown: np.ndarray, wanted: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((shown - wanted) / 2).mean()))


@pytest.fixture(scope="module")
def simplified() -> tuple[Mesh, UvMesh]:
    fine = relief()
    small = reduce_faces(fine, 3_000, make_stage([]))
    return fine, unwrap_mesh(small, UnwrapSettings(texture_px=1024), make_stage([]))


def test_a_simplified_mesh_with_its_map_is_shaded_like_the_fine_one(simplified):
    fine, uv_mesh = simplified
    baked = bake_normal_map(Texels(uv_mesh, 1024, CPU), fine, make_stage([]))
    assert baked.shape == (1024, 1024, 3) and baked.dtype == np.uint8
    area = np.linalg.det((uv_mesh.corner_uvs[:, 1:] - uv_mesh.corner_uvs[:, :1]).astype(np.float64))
    assert 0.05 < (area < 0).mean() < 0.95             # the unwrapper mirrors charts, so both kinds are tried
    flat_db, map_db = [], []
    for camera in cameras_around(4, size=400, focal=650.0):
        wanted, there = drawn_normals(UvMesh(fine, np.zeros((len(fine.faces), 3, 2), np.float32),
                                             np.zeros(len(fine.faces), np.int32)), camera, None)
        for rows, image in ((flat_db, None), (map_db, baked)):
            shown, seen = drawn_normals(uv_mesh, camera, image)
            inner = seen & there
            rows.append(decibel(shown[inner], wanted[inner]))
    print("normals, dB without and with the map:", np.mean(flat_db), np.mean(map_db))
    assert np.mean(map_db) > np.mean(flat_db) + 6      # measured: see the line above


def test_a_mesh_baked_onto_itself_needs_no_map():
    mesh = relief(3)
    baked = bake_normal_map(Texels(one_chart_a_face(mesh), 512, CPU), mesh, make_stage([]))
    assert np.abs(baked.astype(int) - [128, 128, 255]).max() <= 1


def test_the_map_is_right_on_charts_that_are_mirrored():
    """The same ball with one chart a face, and with u turned over: what is read back is the same normal."""
    fine, mesh = relief(4), ball(2)
    plain = one_chart_a_face(mesh)
    turned = UvMesh(mesh, plain.corner_uvs * np.float32([-1, 1]) + np.float32([1, 0]), plain.chart_of_face)
    camera = cameras_around(1, size=200, focal=320.0)[0]
    shown = [drawn_normals(each, camera, bake_normal_map(Texels(each, 1024, CPU), fine, make_stage([])))[0]
             for each in (plain, turned)]
    wanted, there = drawn_normals(one_chart_a_face(fine), camera, None)
    flat, seen = drawn_normals(plain, camera, None)
    both = there & seen
    # 8 bits and texels; a wrong sign of green would be as far off as the relief itself
    assert np.abs(shown[0] - shown[1])[seen].mean() < 0.02
    for each in shown:
        assert decibel(each[both], wanted[both]) > decibel(flat[both], wanted[both]) + 5


def test_what_the_fine_mesh_does_not_have_stays_as_the_mesh_is():
    mesh, far = ball(2), ball(2, centre=(9.0, 0.0, 0.0))
    baked = bake_normal_map(Texels(one_chart_a_face(mesh), 256, CPU), far, make_stage([]))
    assert (baked == [128, 128, 255]).all()


def test_a_map_is_made_only_of_what_was_finer():
    assert worth_a_normal_map(ball(3), ball(2)) and not worth_a_normal_map(ball(2), ball(2))


def test_cancel_is_heard():
    with pytest.raises(Cancelled):
        bake_normal_map(Texels(one_chart_a_face(ball(1)), 128, CPU), ball(2), make_stage([], is_cancelled=lambda: True))
