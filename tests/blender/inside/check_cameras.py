"""Camera conversion against Blender's own projection, both ways."""
from __future__ import annotations

import math
import random

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene import cameras
from bl_ext.user_default.slipcast.bridge.errors import BadCameras
from mathutils import Euler, Matrix

BOUND_PX = 0.1


def _project_blender(camera: bpy.types.Object, render: bpy.types.RenderSettings, points: np.ndarray) -> np.ndarray:
    """(N, 3) world -> (N, 2) pixels from the top left, by Blender's own matrix."""
    width, height = cameras.render_size_px(render)
    projection = np.array(camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(), x=width, y=height, scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y))
    clip = np.c_[points, np.ones(len(points))] @ (projection @ np.array(camera.matrix_world.normalized().inverted())).T
    return np.c_[(clip[:, 0] / clip[:, 3] + 1) * width / 2, (1 - clip[:, 1] / clip[:, 3]) * height / 2]


def _project_pinhole(camera: cameras.PinholeCamera, points: np.ndarray) -> np.ndarray:
    at = np.c_[points, np.ones(len(points))] @ np.linalg.inv(camera.world_from_camera).T
    return np.c_[camera.fx * at[:, 0] / at[:, 2] + camera.cx, camera.fy * at[:, 1] / at[:, 2] + camera.cy]


def _points_before(camera: bpy.types.Object, rng: random.Random) -> np.ndarray:
    local = np.array([[rng.uniform(-1, 1), rng.uniform(-1, 1), -rng.uniform(2, 9), 1] for _ in range(20)])
    return (local @ np.array(camera.matrix_world.normalized()).T)[:, :3]


def _random_blender_camera(rng: random.Random) -> bpy.types.Object:
    data = bpy.data.cameras.new("random")
    camera = bpy.data.objects.new("random", data)
    bpy.context.scene.collection.objects.link(camera)
    data.sensor_fit = rng.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
    data.lens, data.sensor_width, data.sensor_height = rng.uniform(15, 120), rng.uniform(10, 50), rng.uniform(10, 50)
    data.shift_x, data.shift_y = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)
    turn = Euler([rng.uniform(-math.pi, math.pi) for _ in range(3)]).to_matrix().to_4x4()
    place = Matrix.Translation([rng.uniform(-5, 5) for _ in range(3)])
    camera.matrix_world = place @ turn @ Matrix.Diagonal([rng.uniform(0.5, 2)] * 3 + [1])
    return camera


def _random_render(rng: random.Random) -> bpy.types.RenderSettings:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = rng.randint(64, 4000), rng.randint(64, 4000)
    render.resolution_percentage = rng.choice([100, 100, 50, 33])
    render.pixel_aspect_x, render.pixel_aspect_y = rng.choice([(1, 1), (2, 1), (1, 1.5), (1.25, 1.0)])
    return render


@pytest.mark.parametrize("seed", range(100))
def test_random_blender_camera_becomes_a_pinhole_that_projects_the_same(seed):
    rng = random.Random(seed)
    camera, render = _random_blender_camera(rng), _random_render(rng)
    bpy.context.view_layer.update()
    points = _points_before(camera, rng)
    pinhole = cameras.pinhole_from_blender(camera, render)
    assert np.abs(_project_pinhole(pinhole, points) - _project_blender(camera, render, points)).max() < BOUND_PX


@pytest.mark.parametrize("seed", range(100))
def test_random_pinhole_becomes_a_blender_camera_that_projects_the_same(seed):
    rng = random.Random(seed)
    width, height = rng.randint(64, 4000), rng.randint(64, 4000)
    turn = np.array(Euler([rng.uniform(-math.pi, math.pi) for _ in range(3)]).to_matrix().to_4x4())
    turn[:3, 3] = [rng.uniform(-5, 5) for _ in range(3)]
    fx = rng.uniform(0.5, 3) * width
    given = cameras.PinholeCamera("v", width, height, fx, fx * rng.choice([1, 1, rng.uniform(0.6, 1.7)]),
                                  width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.8), turn)
    made = cameras.add_camera(bpy.data, given, "v")
    bpy.context.scene.collection.objects.link(made)
    made.matrix_world = Matrix(cameras.blender_matrix(turn).tolist())
    render = bpy.context.scene.render
    cameras.use_render_size(render, made)
    bpy.context.view_layer.update()
    points = _points_before(made, rng)
    assert np.abs(_project_blender(made, render, points) - _project_pinhole(given, points)).max() < BOUND_PX
    again = cameras.pinhole_from_blender(made, render)
    assert (again.width, again.height) == (width, height)
    # float32 in Blender: 1.2e-7 relative, a few roundings
    assert np.allclose([again.fx, again.fy, again.cx, again.cy], [given.fx, given.fy, given.cx, given.cy], rtol=2e-6,
                       atol=2e-6 * max(width, height))
    # Blender keeps the turn as three float32 angles: 1.9e-6 was the worst of 3000
    assert np.allclose(again.world_from_camera, turn, atol=5e-6)


def test_camera_without_perspective_is_refused():
    camera = _random_blender_camera(random.Random(0))
    camera.data.type = "ORTHO"
    with pytest.raises(BadCameras, match="perspective"):
        cameras.pinhole_from_blender(camera, bpy.context.scene.render)


def test_render_size_of_a_camera_that_is_not_ours_is_not_guessed():
    with pytest.raises(BadCameras, match="not imported by Slipcast"):
        cameras.use_render_size(bpy.context.scene.render, _random_blender_camera(random.Random(0)))
