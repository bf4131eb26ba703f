"""Files read back by another reader say what was written, in the axes of their format."""
from __future__ import annotations

import dataclasses
import io
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from skin import relief_of, textured_box

from slipcast.bridge.errors import BadOutput
from slipcast.engine.pipeline import export
from slipcast.engine.pipeline.export import check_output, write_mesh, y_up
from slipcast.engine.pipeline.normals import shading_normals
from slipcast.engine.pipeline.png import png_bytes
from slipcast.engine.pipeline.tangents import corner_tangents

BOX = textured_box()
LOW, HIGH = np.array([1, 2, 3.0]), np.array([3, 6, 9.0])


def texture_at(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Nearest texel; uv with v up."""
    side = len(texture)
    row, column = ((1 - uv[:, 1]) * side).astype(int), (uv[:, 0] * side).astype(int)
    return texture[row.clip(0, side - 1), column.clip(0, side - 1)]


def colors_by_place(corners: np.ndarray, uv: np.ndarray, texture: np.ndarray) -> dict[tuple, tuple]:
    """Colour at the middle of each face, by the place of the middle."""
    middle = corners.astype(np.float64).mean(1).round(3) + 0.0
    return dict(zip(map(tuple, middle.tolist()), map(tuple, texture_at(texture, uv.mean(1)).tolist())))


WANTED = colors_by_place(BOX.mesh.vertices[BOX.mesh.faces], BOX.corner_uvs, BOX.base_color)


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_textured_formats_keep_shape_and_texture_with_y_up(tmp_path, suffix):
    files = write_mesh(tmp_path / f"a box{suffix}", BOX)
    assert all(path.exists() for path in files)
    read = trimesh.load(files[0], process=False, force="mesh")
    world = np.stack([read.vertices[:, 0], -read.vertices[:, 2], read.vertices[:, 1]], -1)    # Y up -> Z up
    assert world.min(0) == pytest.approx(LOW) and world.max(0) == pytest.approx(HIGH)
    material = read.visual.material
    image = getattr(material, "baseColorTexture", None) or material.image
    found = colors_by_place(world[read.faces], np.asarray(read.visual.uv)[read.faces], np.asarray(image.convert("RGB")))
    assert found == WANTED
    assert read.volume > 0                    # turned, not mirrored


def test_glb_says_a_dielectric_of_roughness_0_8_with_outward_normals(tmp_path):
    write_mesh(tmp_path / "box.glb", BOX)
    read = trimesh.load(tmp_path / "box.glb", process=False, force="mesh")
    assert read.visual.material.metallicFactor == 0.0
    assert read.visual.material.roughnessFactor == pytest.approx(0.8)
    outward = read.vertices - read.vertices.mean(0)
    assert ((read.vertex_normals * outward).sum(1) > 0).all()


def test_glb_chunks_are_whole_words_and_the_length_is_right(tmp_path):
    data = write_mesh(tmp_path / "box.glb", BOX)[0].read_bytes()
    assert data[:4] == b"glTF" and int.from_bytes(data[8:12], "little") == len(data)
    assert int.from_bytes(data[12:16], "little") % 4 == 0 and len(data) % 4 == 0


@pytest.mark.parametrize("suffix", [".ply", ".stl"])
def test_plain_formats_keep_blenders_world(tmp_path, suffix):
    write_mesh(tmp_path / f"box{suffix}", BOX)
    read = trimesh.load(tmp_path / f"box{suffix}")
    assert read.bounds == pytest.approx(np.array([LOW, HIGH]))
    assert read.is_watertight
    assert read.volume == pytest.approx(48)


def test_ply_has_a_colour_at_every_vertex(tmp_path):
    write_mesh(tmp_path / "box.ply", BOX)
    read = trimesh.load(tmp_path / "box.ply", process=False)
    corner = texture_at(BOX.base_color, BOX.corner_uvs.reshape(-1, 2)).astype(float)
    wanted = np.stack([corner[BOX.mesh.faces.ravel() == vertex].mean(0) for vertex in range(8)])
    assert np.asarray(read.visual.vertex_colors)[:, :3] == pytest.approx(wanted, abs=1)


RELIEF = dataclasses.replace(BOX, normal_map=relief_of(BOX))


def test_glb_holds_the_normal_map_and_the_tangents_it_was_made_with(tmp_path):
    path = write_mesh(tmp_path / "box.glb", RELIEF)[0]
    read = trimesh.load(path, process=False, force="mesh")
    assert (np.asarray(read.visual.material.normalTexture) == RELIEF.normal_map).all()
    data = path.read_bytes()
    size = int.from_bytes(data[12:16], "little")
    document, body = json.loads(data[20:20 + size]), data[28 + size:]
    columns = {}
    for name, number in document["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][number]
        start, width = document["bufferViews"][accessor["bufferView"]]["byteOffset"], int(accessor["type"][3])
        columns[name] = np.frombuffer(body, "<f4", accessor["count"] * width, start).reshape(-1, width)
    tangent, normal = columns["TANGENT"], columns["NORMAL"]
    assert set(np.unique(tangent[:, 3])) <= {-1.0, 1.0}
    assert np.abs((tangent[:, :3] * normal).sum(1)).max() < 1e-5
    assert np.linalg.norm(tangent[:, :3], axis=1) == pytest.approx(np.ones(len(tangent)), abs=1e-5)
    normals = shading_normals(BOX.mesh.vertices, BOX.mesh.faces)
    known = corner_tangents(BOX.mesh, BOX.corner_uvs, normals)
    wanted = {(*y_up(BOX.mesh.vertices[vertex][None])[0].round(4), *uv.round(4)): y_up(each[None])[0]
              for corners, uvs, each_face in zip(BOX.mesh.faces, BOX.corner_uvs, known.tangents)
              for vertex, uv, each in zip(corners, uvs * [1, -1] + [0, 1], each_face)}
    found = {(*place.round(4), *uv.round(4)): way for place, uv, way in
             zip(columns["POSITION"], columns["TEXCOORD_0"].astype(np.float64), tangent[:, :3])}
    assert len(found) == len(wanted)
    for place, way in found.items():
        nearest = min(wanted, key=lambda other: sum(abs(a - b) for a, b in zip(place, other)))
        assert way == pytest.approx(wanted[nearest], abs=1e-5)


def test_obj_has_the_normal_map_beside_it_by_both_names(tmp_path):
    files = write_mesh(tmp_path / "box.obj", RELIEF)
    assert [path.name for path in files] == ["box.obj", "box.mtl", "box.png", "box_normal.png"]
    assert "norm box_normal.png" in files[1].read_text() and "map_Bump -bm 1.0 box_normal.png" in files[1].read_text()
    assert (np.asarray(Image.open(files[3])) == RELIEF.normal_map).all()


def test_npz_is_exact(tmp_path):
    write_mesh(tmp_path / "box.npz", BOX)
    with np.load(tmp_path / "box.npz") as read:
        assert (read["vertices"] == BOX.mesh.vertices).all() and (read["faces"] == BOX.mesh.faces).all()
        assert (read["corner_uvs"] == BOX.corner_uvs).all() and (read["base_color"] == BOX.base_color).all()


def test_obj_names_its_files_and_shares_vertices(tmp_path):
    files = write_mesh(tmp_path / "box.obj", BOX)
    assert [path.name for path in files] == ["box.obj", "box.mtl", "box.png"]
    text = files[0].read_text()
    assert "mtllib box.mtl" in text and text.count("\nv ") == 8
    assert "map_Kd box.png" in files[1].read_text()
    assert (np.asarray(Image.open(files[2])) == BOX.base_color).all()


def test_y_up_is_a_rotation():
    matrix = y_up(np.eye(3)).T
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert (matrix @ [0, 0, 1] == [0, 1, 0]).all()      # Blender's up is the file's up


@pytest.mark.parametrize("name", ["mesh", "mesh.fbx", "mesh.glb.txt"])
def test_an_unknown_suffix_is_told_with_those_that_work(tmp_path, name):
    with pytest.raises(BadOutput, match=r"\.glb, \.obj, \.ply, \.stl, \.npz"):
        check_output(tmp_path / name)


def test_a_missing_folder_a_folder_and_a_file_in_the_way_are_told(tmp_path):
    with pytest.raises(BadOutput, match="does not exist"):
        check_output(tmp_path / "no" / "box.glb")
    (tmp_path / "taken.glb").mkdir()
    with pytest.raises(BadOutput, match="is a folder"):
        check_output(tmp_path / "taken.glb")


def test_a_folder_one_may_not_write_to_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(export.tempfile, "TemporaryFile", refuse)    # root may write anywhere, so the refusal is made
    with pytest.raises(BadOutput, match="Permission denied"):
        check_output(tmp_path / "box.glb")


def test_when_writing_fails_the_old_file_stays_and_nothing_is_left_over(tmp_path, monkeypatch):
    target = tmp_path / "box.obj"
    target.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "fsync", full)
    from slipcast.bridge.errors import NoSpace

    with pytest.raises(NoSpace, match="full"):
        write_mesh(target, BOX)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["box.obj"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_files_get_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "other").write_text("x")
    path = write_mesh(tmp_path / "box.stl", BOX)[0]
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_png_is_what_was_baked():
    image = np.asarray(Image.open(io.BytesIO(png_bytes(BOX.base_color))))
    assert (image == BOX.base_color).all()


def test_every_suffix_is_documented_at_the_top_of_the_module():
    assert all(f"| {suffix} |" in (export.__doc__ or "") for suffix in export.WRITERS)
    assert Path(export.__file__).name == "export.py"
