"""The whole chain with the real pipeline: pictures of an ellipsoid -> zip, operator, engine, worker -> scene."""
from __future__ import annotations

import json
import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from shapes import png

AXES = np.array([0.5, 0.8, 0.35])
CENTRE = np.array([0.3, -0.2, 0.1])
EDGE_PX, VIEWS, DISTANCE, FOV_X = 128, 12, 4.0, 0.6


def _look_at(place: np.ndarray) -> np.ndarray:
    """(4, 4) OpenGL camera at `place`, looking at CENTRE."""
    back = (place - CENTRE) / np.linalg.norm(place - CENTRE)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(back, right), back, place], axis=1)
    return matrix


def _photograph(matrix: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: the ellipsoid, coloured by where it is, by its exact intersection with each pixel's ray."""
    focal = 0.5 * EDGE_PX / math.tan(0.5 * FOV_X)
    x, y = np.meshgrid(np.arange(EDGE_PX) + 0.5 - EDGE_PX / 2, np.arange(EDGE_PX) + 0.5 - EDGE_PX / 2)
    rays = np.stack([x / focal, -y / focal, -np.ones_like(x)], -1) @ matrix[:3, :3].T / AXES
    eye = (matrix[:3, 3] - CENTRE) / AXES
    a, b, c = (rays**2).sum(-1), rays @ eye, eye @ eye - 1
    inside = b * b - a * c
    hit = eye + rays * ((-b - np.sqrt(np.maximum(inside, 0))) / a)[..., None]
    picture = np.zeros((EDGE_PX, EDGE_PX, 4), np.uint8)
    picture[..., :3] = np.clip(128 + 100 * hit, 0, 255)
    picture[inside > 0, 3] = 255
    return picture


def _write_views(folder: Path) -> Path:
    folder.mkdir(parents=True)
    frames = []
    for index in range(VIEWS):
        turn, height = 2 * math.pi * index / VIEWS, (-0.5, 0.2, 0.8)[index % 3]
        flat = DISTANCE * math.cos(height)
        matrix = _look_at(CENTRE + [flat * math.cos(turn), flat * math.sin(turn), DISTANCE * math.sin(height)])
        (folder / f"{index:02}.png").write_bytes(png(_photograph(matrix)))
        frames.append({"file_path": f"{index:02}.png", "transform_matrix": matrix.tolist()})
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": FOV_X, "frames": frames}))
    return folder


def test_pictures_become_an_object_in_the_right_place_with_the_right_colours(tmp_path):
    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.data_folder = str(tmp_path / "data")
    views = _write_views(tmp_path / "pebble")
    assert bpy.ops.slipcast.generate(folder=str(views), quality="draft", face_budget=2000, texture_px="512",
                                     import_cameras=True) == {"FINISHED"}
    made = bpy.data.objects["pebble"]
    space = np.reshape(made["slipcast_views_from_local"].to_list(), (4, 4))
    matrix = np.array(made.matrix_basis) @ np.linalg.inv(space)
    assert np.allclose(matrix[:3, :3], np.eye(3))  # target size 0: the size the cameras have it in
    local = np.array([vertex.co for vertex in made.data.vertices])
    world = local - matrix[:3, 3]  # cursor at 0: back where the views have it
    # a hull of 12 views at 128 px: a pixel is 0.019 wide there, and between views it bulges by a few per cent
    assert np.abs((world.max(0) + world.min(0)) / 2 - CENTRE).max() < 0.05
    assert np.allclose(np.ptp(world, axis=0), 2 * AXES, atol=0.1)
    assert 300 < len(made.data.polygons) <= 2000
    _check_colours(made, world)
    camera = next(child for child in made.children if child.type == "CAMERA" and child.name.startswith("03"))
    given = json.loads((views / "transforms.json").read_text())["frames"][3]["transform_matrix"]
    bpy.context.view_layer.update()
    seen = np.array(camera.matrix_world)
    assert np.allclose(seen[:3, 3], np.array(given)[:3, 3] + matrix[:3, 3], atol=1e-4)
    assert np.allclose(seen[:3, :3], np.array(given)[:3, :3], atol=1e-5)


def _check_colours(made: bpy.types.Object, world: np.ndarray) -> None:
    """The texture at each corner is the colour that the pictures have there."""
    mesh, image = made.data, made.data.materials[0].node_tree.nodes.active.image
    pixels = np.array(image.pixels[:], np.float32).reshape(image.size[1], image.size[0], -1)[..., :3]
    uvs = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers["UVMap"].uv.foreach_get("vector", uvs.ravel())
    corners = np.array([loop.vertex_index for loop in mesh.loops])
    column, row = (np.clip((uvs * image.size[0]).astype(int), 0, image.size[0] - 1)).T
    meant = np.clip(128 + 100 * (world[corners] - CENTRE) / AXES, 0, 255)
    # 8 bit steps; a hull's surface is up to 5 % outside, which is 5 steps, and a draft texture is not sharp
    assert np.median(np.abs(pixels[row, column] * 255 - meant)) < 12


def _spoil(folder: Path, change) -> None:
    table = json.loads((folder / "transforms.json").read_text())
    change(table)
    (folder / "transforms.json").write_text(json.dumps(table))


def _one_place(table: dict) -> None:
    for frame in table["frames"]:
        frame["transform_matrix"] = np.eye(4).tolist()


def _masks(folder: Path, value: int) -> None:
    for path in folder.glob("*.png"):
        path.write_bytes(png(np.full((EDGE_PX, EDGE_PX, 4), value, np.uint8)))


BAD = {
    "02.png is cut short": lambda folder: (folder / "02.png").write_bytes((folder / "02.png").read_bytes()[:-60]),
    "02.png holds values that are no usable numbers": lambda folder: _spoil(
        folder, lambda table: table["frames"][2]["transform_matrix"][1].__setitem__(2, math.nan)),
    "only one view": lambda folder: _spoil(folder, lambda table: table.update(frames=table["frames"][:1])),
    "taken from the same place": lambda folder: _spoil(folder, _one_place),
    "masks are all black": lambda folder: _masks(folder, 0),
    "not there: 02.png": lambda folder: (folder / "02.png").unlink(),
}


def _state() -> dict[str, list[str]]:
    return {name: sorted(block.name for block in getattr(bpy.data, name))
            for name in ("objects", "meshes", "materials", "images", "collections", "cameras", "scenes")}


def test_bad_views_are_errors_with_their_own_words_and_leave_engine_and_scene_as_they_were(tmp_path):
    from bl_ext.user_default.slipcast.addon import pump

    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.data_folder = str(tmp_path / "data")
    before, engines = _state(), set()
    for number, (words, spoil) in enumerate(BAD.items()):
        views = _write_views(tmp_path / f"pebble {number} \u00fc")
        spoil(views)
        with pytest.raises(RuntimeError, match=words):
            bpy.ops.slipcast.generate(folder=str(views), quality="draft", import_cameras=True)
        assert _state() == before and pump.session().job is None
        assert pump.session().engine == "ready" and pump.session().devices
        engines.add((json.loads((tmp_path / "data" / "engine.json").read_text())["pid"], pump.session().devices))
    assert len(engines) == 1   # the same process on the same device took them all


def test_an_artists_mesh_is_painted_from_views_at_its_own_uvs(tmp_path):
    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.data_folder = str(tmp_path / "data")
    views = _write_views(tmp_path / "pebble")
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16, radius=1.0, calc_uvs=True)
    thing = bpy.context.object
    thing.name, thing.location, thing.scale = "Pebble", CENTRE, AXES
    uvs = np.empty(2 * len(thing.data.loops), np.float32)
    thing.data.uv_layers.active.uv.foreach_get("vector", uvs)
    assert bpy.ops.slipcast.rebake_views(folder=str(views), quality="draft", texture_px="512") == {"FINISHED"}
    after = np.empty_like(uvs)
    thing.data.uv_layers.active.uv.foreach_get("vector", after)
    assert np.array_equal(uvs, after) and thing.active_material.name == "Pebble Baked"
    image = next(node.image for node in thing.active_material.node_tree.nodes if node.type == "TEX_IMAGE")
    pixels = np.empty(4 * 512 * 512, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(512, 512, 4)[..., :3] * 255
    off = []
    for face in thing.data.polygons:
        u, v = np.mean([uvs.reshape(-1, 2)[loop] for loop in face.loop_indices], axis=0)
        off.append(np.abs(pixels[int(v * 512), int(u * 512)] - np.clip(128 + 100 * np.array(face.center), 0, 255)))
    assert np.mean(off) < 5 and np.quantile(off, 0.95) < 16      # of 255; a pixel shows a step of 2
