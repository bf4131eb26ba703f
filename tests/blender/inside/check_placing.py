"""A result placed by a camera projects there as the view's camera had it."""
from __future__ import annotations

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene.cameras import pinhole_from_blender, use_render_size
from bl_ext.user_default.slipcast.addon.scene.placing import view_cameras
from bl_ext.user_default.slipcast.addon.scene.results import Placement, place_result, prepare_result
from mathutils import Euler, Matrix
from shapes import cameras, grid, result

OPS = bpy.ops.slipcast


def placed(**placement) -> bpy.types.Object:
    prepared = prepare_result(result(), Placement("skull", **placement), "9.9.9")
    return place_result(prepared, bpy.data, bpy.context.scene, bpy.context.view_layer)


def scene_camera(name: str = "shot", lens: float = 35.0) -> bpy.types.Object:
    data = bpy.data.cameras.new(name)
    data.lens = lens
    made = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(made)
    made.matrix_world = Matrix.Translation((4, -3, 2)) @ Euler((1.1, 0.2, 0.7)).to_matrix().to_4x4()
    bpy.context.scene.camera = made
    bpy.context.view_layer.update()
    return made


def projected(pinhole, points: np.ndarray) -> np.ndarray:
    """(N, 2) in widths of the picture, from its centre."""
    at = np.c_[points, np.ones(len(points))] @ np.linalg.inv(pinhole.world_from_camera).T
    assert (at[:, 2] > 0).all()
    return np.c_[pinhole.fx * at[:, 0] / at[:, 2] + pinhole.cx - pinhole.width / 2,
                 pinhole.fy * at[:, 1] / at[:, 2] + pinhole.cy - pinhole.height / 2] / pinhole.width


def world(thing) -> np.ndarray:
    bpy.context.view_layer.update()
    return np.array([thing.matrix_world @ vertex.co for vertex in thing.data.vertices])


def as_the_view(number: int) -> np.ndarray:
    from bl_ext.user_default.slipcast.addon.scene.cameras import camera_from_mapping

    return projected(camera_from_mapping(cameras()[number]), grid()[0])


def as_the_camera(thing) -> np.ndarray:
    scene = bpy.context.scene
    return projected(pinhole_from_blender(scene.camera, scene.render), world(thing))


@pytest.mark.parametrize("keep_size", [True, False])
@pytest.mark.parametrize("number, view", [(0, "views/a.png"), (0, "a")])
def test_with_the_views_lens_every_vertex_lines_up_and_the_size_is_kept_if_wanted(number, view, keep_size):
    thing = placed(base=(1, 2, 3), target_size=5.0)
    camera = scene_camera()
    stays = np.array(camera.matrix_world)
    assert OPS.place_by_camera(view=view, match_lens=True, keep_size=keep_size) == {"FINISHED"}
    assert np.abs(as_the_camera(thing) - as_the_view(number)).max() < 1e-5
    assert np.array_equal(np.array(camera.matrix_world), stays)
    longest = np.ptp(world(thing) @ np.array(thing.matrix_world.to_3x3().normalized()), axis=0).max()
    own = np.ptp(grid()[0], axis=0).max()
    assert longest == pytest.approx(5.0 if keep_size else own, rel=1e-4)


def test_wherever_it_was_moved_and_turned_before():
    thing = placed()
    scene_camera()
    thing.matrix_world = Matrix.Translation((9, 9, 9)) @ Euler((1, 2, 3)).to_matrix().to_4x4() @ Matrix.Scale(0.3, 4)
    bpy.context.view_layer.update()
    OPS.place_by_camera(view="a", match_lens=True)
    assert np.abs(as_the_camera(thing) - as_the_view(0)).max() < 1e-5
    assert thing.matrix_world.median_scale == pytest.approx(0.3, rel=1e-4)


def test_with_the_cameras_own_lens_the_middle_lines_up_in_place_and_size():
    thing = placed()
    scene_camera(lens=80.0)
    OPS.place_by_camera(view="a")
    shown, wanted = as_the_camera(thing), as_the_view(0)
    # a flat sheet seen at a slant: with a longer lens its near side is smaller, its far side larger
    assert np.abs(shown.mean(0) - wanted.mean(0)).max() < 0.03
    assert np.ptp(shown, axis=0).max() == pytest.approx(np.ptp(wanted, axis=0).max(), rel=0.1)


def test_the_view_is_the_one_named_like_the_picture_behind_the_camera():
    thing = placed()
    camera = scene_camera()
    with pytest.raises(RuntimeError, match=r"not clear which view shot .*views/a.png, b"):
        OPS.place_by_camera()
    camera.data.background_images.new().image = bpy.data.images.new("a.jpg", 4, 4)
    assert OPS.place_by_camera(match_lens=True) == {"FINISHED"}
    assert np.abs(as_the_camera(thing) - as_the_view(0)).max() < 1e-5


def test_imported_cameras_know_their_view_and_leave_the_object_where_it_is():
    thing = placed(import_cameras=True)
    bpy.context.view_layer.update()
    before = world(thing)
    camera = next(each for each in bpy.data.objects if each.type == "CAMERA")
    bpy.context.scene.camera = camera
    camera.parent = None
    use_render_size(bpy.context.scene.render, camera)
    bpy.context.view_layer.update()
    OPS.place_by_camera()
    assert np.abs(world(thing) - before).max() < 1e-4


def test_it_is_one_undo_step_and_says_what_it_needs():
    with pytest.raises(RuntimeError, match="Select a result of Slipcast"):
        OPS.place_by_camera()
    thing = placed()
    assert len(view_cameras(thing)) == 2
    with pytest.raises(RuntimeError, match="Add a camera to the scene first"):
        OPS.place_by_camera()
    scene_camera()
    with pytest.raises(RuntimeError, match="no view called nothing"):
        OPS.place_by_camera(view="nothing")
    with pytest.raises(RuntimeError, match="no camera Nobody"):
        OPS.place_by_camera(camera="Nobody")
    assert "UNDO" in bpy.types.SLIPCAST_OT_place_by_camera.bl_options
    assert len(OPS.place_by_camera.get_rna_type().description) > 30


def test_what_is_refused_changes_neither_the_lens_nor_the_size_of_the_render():
    thing = placed()
    camera, render = scene_camera(), bpy.context.scene.render
    size = (render.resolution_x, render.resolution_y)
    camera.data.type = "ORTHO"
    with pytest.raises(RuntimeError, match="not a perspective camera"):
        OPS.place_by_camera(view="a", match_lens=True)
    camera.data.type = "PERSP"
    for vertex in thing.data.vertices:
        vertex.co.z -= 500.0
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="behind the camera of view"):
        OPS.place_by_camera(view="a", match_lens=True)
    assert camera.data.lens == 35.0 and (render.resolution_x, render.resolution_y) == size
    assert not [key for key in camera.keys() if key.startswith("slipcast_")]
