"""Photos behind cameras: what is sent of them is what they show, with the cameras that took them."""
from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene.photos import image_file, photo_camera, write_photos
from bl_ext.user_default.slipcast.bridge.errors import BadCameras
from mathutils import Matrix
from refine_played import Played
from shapes import png

OPS = bpy.ops.slipcast


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # the engine is played; it must only be named


def photo(width: int, height: int, name: str = "photo") -> bpy.types.Image:
    image = bpy.data.images.new(name, width, height)
    held = png(np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8))
    image.source = "FILE"
    image.pack(data=held, data_len=len(held))
    return image


def camera_with(image, **more) -> bpy.types.Object:
    data = bpy.data.cameras.new("shot")
    made = bpy.data.objects.new("shot", data)
    bpy.context.scene.collection.objects.link(made)
    made.matrix_world = Matrix.Translation((0, -5, 1)) @ Matrix.Rotation(1.5, 4, "X")
    shown = data.background_images.new()
    shown.image = image
    for name, value in more.items():
        setattr(shown, name, value)
    bpy.context.view_layer.update()
    return made


def test_photos_behind_cameras_are_sent_as_they_are_with_the_cameras_that_took_them():
    played = Played()
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 400, 300
    shots = [camera_with(photo(80, 60, str(number))) for number in range(2)]
    bpy.ops.mesh.primitive_cube_add()
    assert OPS.refine(targets="PHOTOS", keep_topology=True) == {"FINISHED"}
    frames = json.loads(played.sent["transforms.json"])["frames"]
    assert [frame["file_path"] for frame in frames] == ["images/000.png", "images/001.png"]
    assert played.sent["images/000.png"] == bytes(shots[0].data.background_images[0].image.packed_file.data)
    assert np.allclose(frames[0]["transform_matrix"], np.array(shots[0].matrix_world), atol=1e-6)
    assert (frames[0]["w"], frames[0]["h"], frames[0]["cx"], frames[0]["cy"]) == (80, 60, 40, 30)
    assert frames[0]["fl_x"] == pytest.approx(50 / 36 * 80) and frames[0]["fl_y"] == pytest.approx(frames[0]["fl_x"])


@pytest.mark.parametrize("method, size, wanted", [
    # a frame of 400 x 300 with a focal length of 50 / 36 * 400 = 555.6 of its pixels
    ("STRETCH", (80, 80), (555.6 * 80 / 400, 555.6 * 80 / 300)),      # each side by itself
    ("FIT", (80, 80), (555.6 * 80 / 300, 555.6 * 80 / 300)),          # 300 x 300 of the frame
    ("CROP", (80, 80), (555.6 * 80 / 400, 555.6 * 80 / 400))])        # 400 x 400
def test_a_photo_of_another_shape_is_placed_as_blender_places_it_behind_the_camera(method, size, wanted):
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = 400, 300
    made = camera_with(photo(*size), frame_method=method)
    pinhole = photo_camera(made, made.data.background_images[0], bpy.context.scene, size)
    assert (pinhole.fx, pinhole.fy) == pytest.approx(wanted, rel=1e-3)
    assert (pinhole.cx, pinhole.cy) == pytest.approx((40, 40))


def test_a_photo_that_is_moved_behind_its_camera_or_missing_is_refused_in_words():
    Played()
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(RuntimeError, match=r"No camera of .* has a photo behind it"):
        OPS.refine(targets="PHOTOS")
    made = camera_with(photo(8, 8), scale=1.5)
    with pytest.raises(BadCameras, match="moved, scaled"):
        write_photos(bpy.context.scene, Path(bpy.app.tempdir) / "nothing")
    made.data.background_images[0].scale = 1.0
    made.data.background_images[0].image = lost = bpy.data.images.new("lost", 4, 4)
    lost.source, lost.filepath = "FILE", "/no/such/photo.jpg"
    with pytest.raises(RuntimeError, match="photo lost cannot be read"):
        OPS.refine(targets="PHOTOS")


@pytest.mark.parametrize("of_a_file", [True, False], ids=["photo", "blank"])
def test_what_was_painted_into_a_photo_is_sent_also_before_it_is_saved(tmp_path, of_a_file):
    image = photo(8, 4) if of_a_file else bpy.data.images.new("blank", 8, 4)
    painted = np.random.default_rng(5).random((4, 8, 4)).astype(np.float32)
    painted[..., 3] = 1.0
    image.pixels.foreach_set(painted.ravel())
    before = len(bpy.data.images)
    suffix, content = image_file(image)
    assert suffix == ".png" and image.is_dirty and len(bpy.data.images) == before
    (tmp_path / "sent.png").write_bytes(content)
    sent = np.empty(painted.size, np.float32)
    bpy.data.images.load(str(tmp_path / "sent.png")).pixels.foreach_get(sent)
    assert np.abs(sent - painted.ravel()).max() <= 0.51 / 255     # rounded to bytes
