"""The whole chain with the real engine: one picture -> zip, operator, engine, worker -> an object in the scene.

SLIPCAST_TEST_PICTURES: files, separated as on a PATH; without any: two that are drawn here. Each goes through the
fallback and through the code of TripoSR (with a network that always sees the same chair, tests/data/plugins).
"""
from __future__ import annotations

import json
import os
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import mask_store
from bl_ext.user_default.slipcast.addon.scene.masks import grey_of_png
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from shapes import png

SIDE = 200
LOOKED_AT = 200      # pixels along the longer side through which is looked
FAST = {"face_budget": 4000, "texture_px": "512"}      # a fifth of the faces, half of the texture


def _figure() -> np.ndarray:
    """(SIDE, SIDE) coverage in [0, 1]: a head, a body, two thin arms, and a ring in one hand."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)

    def capsule(start, end, radius):
        start, along = np.array(start, float), np.subtract(end, start)
        place = np.stack([columns, rows], -1) - start
        share = np.clip(place @ along / (along @ along), 0, 1)
        return radius - np.linalg.norm(place - share[..., None] * along, axis=-1)

    def disc(x, y, radius):
        return radius - np.hypot(columns - x, rows - y)

    ring = np.minimum(disc(162, 84, 24), -disc(162, 84, 13))
    parts = [disc(95, 42, 24), capsule((95, 70), (95, 128), 20), capsule((90, 130), (74, 184), 10),
             capsule((100, 130), (118, 184), 10), capsule((95, 78), (48, 112), 7), capsule((95, 78), (142, 86), 7),
             ring]
    return np.clip(np.max(parts, axis=0) + 0.5, 0, 1)


def _own_pictures(folder: Path) -> list[Path]:
    """The same figure, cut out by its alpha, and in front of a plain backdrop."""
    cover = _figure()[..., None]
    ramp = np.linspace(40, 220, SIDE)
    colors = np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE)), np.full((SIDE, SIDE), 60.0)], -1)
    cut = np.concatenate([colors, 255 * cover], -1)
    before = colors * cover + 235 * (1 - cover)
    (folder / "cut.png").write_bytes(png((cut + 0.5).astype(np.uint8)))
    (folder / "backdrop.png").write_bytes(png((before + 0.5).astype(np.uint8)))
    return [folder / "cut.png", folder / "backdrop.png"]


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    given = [Path(text) for text in os.environ.get("SLIPCAST_TEST_PICTURES", "").split(os.pathsep) if text]
    return given or _own_pictures(tmp_path)


@pytest.fixture(autouse=True)
def data_folder(tmp_path):
    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.data_folder = str(tmp_path / "data")


def _generate(picture: Path, model: str) -> bpy.types.Object:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.cursor.location = (3, 2, 1)
    assert bpy.ops.slipcast.generate_from_picture(filepath=str(picture), model=model, import_cameras=True, **FAST) == \
        {"FINISHED"}
    made = bpy.data.objects[picture.stem]
    bpy.context.view_layer.update()
    assert bpy.context.object == made and 200 < len(made.data.polygons) <= FAST["face_budget"]
    image = made.data.materials[0].node_tree.nodes.active.image
    assert tuple(image.size) == (512, 512) and image.packed_file is not None and len(made.data.uv_layers) == 1
    low = np.array([made.matrix_world @ Vector(corner) for corner in made.bound_box]).min(0)
    assert low[2] == pytest.approx(1, abs=1e-3)        # it stands on the cursor
    return made


def _seen(made: bpy.types.Object, camera: bpy.types.Object, width: int, height: int) -> np.ndarray:
    """(h, w) bool, row 0 on top: where the object is when one looks through the picture's camera, with rays through
    LOOKED_AT points of the longer side. Only what Blender itself knows of the camera is used."""
    step = max(width, height) / LOOKED_AT
    columns, rows = max(1, round(width / step)), max(1, round(height / step))
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    inverse = np.linalg.inv(np.array(camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=width,
                                                               y=height)))
    vertices = [made.matrix_world @ vertex.co for vertex in made.data.vertices]
    tree = BVHTree.FromPolygons(vertices, [tuple(face.vertices) for face in made.data.polygons])
    place, turn = camera.matrix_world.translation, np.array(camera.matrix_world.to_3x3())
    seen = np.zeros((rows, columns), bool)
    for row in range(rows):
        for column in range(columns):
            x, y = 2 * (column + 0.5) / columns - 1, 1 - 2 * (row + 0.5) / rows
            far = inverse @ (x, y, 1, 1)
            seen[row, column] = tree.ray_cast(place, Vector(turn @ (far[:3] / far[3])).normalized())[0] is not None
    return seen


def _own_camera(made: bpy.types.Object) -> bpy.types.Object:
    """The one that came with it."""
    [camera] = [child for child in made.children if child.type == "CAMERA"]
    return camera


def _overlap(made: bpy.types.Object, camera: bpy.types.Object) -> float:
    """Intersection over union of the object as the camera sees it and the mask that it was made of."""
    [mask], _ = mask_store.kept_masks(made["slipcast_picture"], [made])
    solid = grey_of_png(mask.png)[::-1] > 0.5
    width, height = (int(side) for side in camera["slipcast_render_size"])
    seen = _seen(made, camera, width, height)
    at_y = ((np.arange(seen.shape[0]) + 0.5) * solid.shape[0] / seen.shape[0]).astype(int)
    at_x = ((np.arange(seen.shape[1]) + 0.5) * solid.shape[1] / seen.shape[1]).astype(int)
    wanted = solid[at_y[:, None], at_x]
    return float((seen & wanted).sum() / (seen | wanted).sum())


def _placed_before_a_camera(made: bpy.types.Object) -> bpy.types.Object:
    """A camera of the scene, somewhere, before which the object was put as its picture shows it."""
    lens = bpy.data.cameras.new("mine")
    camera = bpy.data.objects.new("mine", lens)
    bpy.context.scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (-7, 4, 2), (1.1, 0.2, -2.0)
    bpy.context.view_layer.update()
    assert bpy.ops.slipcast.place_by_camera(camera="mine", match_lens=True) == {"FINISHED"}
    bpy.context.view_layer.update()
    return camera


def test_every_picture_becomes_an_object_whose_outline_is_its_mask_without_any_weights(pictures, capsys):
    found = {}
    for picture in pictures:
        made = _generate(picture, "auto")
        found[picture.name] = _overlap(made, _own_camera(made))
        told = json.loads(made["slipcast_settings"])
        assert made["slipcast_method"] == "image" and told["model"] == "auto"
    found["placed"] = _overlap(made, _placed_before_a_camera(made))
    with capsys.disabled():
        print({name: round(value, 4) for name, value in found.items()})
    assert min(found.values()) >= 0.95, found


def test_the_picture_becomes_an_object_through_the_code_of_the_model(pictures):
    # the golden's chair, whatever the picture: as tall as its bounds say, to some lattice steps
    assert _generate(pictures[0], "chair").dimensions.z == pytest.approx(1.085, abs=0.02)
