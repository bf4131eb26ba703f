"""The live mesh follows a running job, and what becomes of it when that ends."""
from __future__ import annotations

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.panels.live import live_words, status_words
from bl_ext.user_default.slipcast.addon.scene.live import LIVE_KEY
from bl_ext.user_default.slipcast.bridge.errors import OutOfMemory
from bl_ext.user_default.slipcast.bridge.events import Failed
from fakes import JOB, finished
from live_stage import Stage, co, corners, previewed, srgb, thing, traces
from shapes import grid

OPS = bpy.ops.slipcast


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, in_place=True)


# --- what is shown -----------------------------------------------------------------------------------
def test_object_has_the_previews_positions_and_faces_and_a_mesh_that_blender_finds_nothing_wrong_with(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    assert np.array_equal(co(made.data), vertices) and np.array_equal(corners(made.data), faces)
    assert len(made.data.edges) == len(vertices) + len(faces) - 1     # Euler's formula for a disc
    assert made.data.validate(verbose=True) is False
    assert np.allclose(np.array(made.matrix_world), np.eye(4))


def test_it_is_marked_as_work_in_progress_and_left_out_of_renders(stage):
    made = stage.show(*grid()[:2])
    assert made.name == "skull (work in progress)" and made.show_name and made.hide_render and made.show_wire
    assert [each.name for each in made.users_collection] == ["Slipcast Work in Progress"]
    assert made.users_collection[0].color_tag == "COLOR_02" and made.color[0] > 0.9 > made.color[2]
    assert made.data.materials[0].name == "Slipcast Work in Progress"


def test_same_faces_move_in_place_and_other_faces_swap_the_mesh(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    mesh = made.data
    moved = stage.show(vertices + 0.25, faces, seq=2)
    assert moved == made and moved.data == mesh and np.array_equal(co(mesh), vertices + np.float32(0.25))
    finer, more, _ = grid(20)
    stage.show(finer, more, seq=3)
    assert np.array_equal(co(mesh), finer) and np.array_equal(corners(mesh), more)
    assert mesh.validate(verbose=True) is False and len(bpy.data.meshes) == 1
    fewer = stage.show(vertices, faces[:50], seq=4)
    assert len(fewer.data.polygons) == 50 and mesh.validate(verbose=True) is False


def test_colours_of_a_preview_become_a_colour_attribute_and_its_absence_takes_it_away(stage):
    vertices, faces, _ = grid()
    colours = np.random.default_rng(1).integers(0, 256, (len(vertices), 3), dtype=np.uint8)
    mesh = stage.show(vertices, faces, colours=colours).data
    # 1 / 2000: Blender's own conversion and the standard's differ by less than half a step of a byte
    assert np.abs(srgb(mesh) - colours / 255).max() < 5e-4
    assert mesh.materials[0].name == "Slipcast Preview Colors"
    stage.show(vertices, faces[:-1], seq=2)
    assert not mesh.color_attributes and mesh.materials[0].name == "Slipcast Work in Progress"


def test_viewport_is_told_to_show_colours_of_vertices_and_not_to_again(stage):
    area = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")
    shading = area.spaces.active.shading
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area):
        assert OPS.live_colors() == {"FINISHED"} and shading.color_type == "VERTEX"
        assert OPS.live_colors(shown=False) == {"FINISHED"} and shading.color_type == "MATERIAL"
        shading.type = "WIREFRAME"
        with pytest.raises(RuntimeError, match="must be in Solid shading"):
            OPS.live_colors()
    with pytest.raises(RuntimeError, match="Use it in a 3D viewport"):
        OPS.live_colors()


def test_it_stands_where_the_result_will_stand(tmp_path):
    stage = Stage(tmp_path, base=(1.0, -2.0, 0.5), target_size=4.0)
    made = stage.show(*grid()[:2])
    bpy.context.view_layer.update()
    world = np.array([made.matrix_world @ vertex.co for vertex in made.data.vertices])
    low, high = world.min(0), world.max(0)
    assert abs((high - low).max() - 4.0) < 1e-5
    assert np.allclose([*(low + high)[:2] / 2, low[2]], (1.0, -2.0, 0.5), atol=1e-5)


def test_a_person_may_move_it_and_it_stays_there(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    made.location = (5, 0, 0)
    bpy.context.view_layer.update()
    stage.show(vertices + 1, faces, seq=2)
    assert tuple(made.location) == (5, 0, 0)


@pytest.mark.parametrize("spoil", [
    lambda vertices, faces: (vertices * np.float32("nan"), faces), lambda vertices, faces: (vertices, faces + 10_000),
    lambda vertices, faces: (vertices, faces * 0), lambda vertices, faces: (vertices[:, :2], faces),
    lambda vertices, faces: (vertices[:0], faces), lambda vertices, faces: (vertices, faces - 5)])
def test_a_preview_that_is_no_mesh_is_left_out_and_the_next_one_shown(stage, spoil):
    vertices, faces, _ = grid()
    stage.come(previewed(*spoil(vertices, faces)))
    stage.until(lambda: stage.live._frame is None)
    assert thing() is None
    assert len(stage.show(vertices, faces, seq=2).data.polygons) == len(faces)


# --- what becomes of it -----------------------------------------------------------------------------------
def test_it_is_gone_without_a_trace_when_the_result_is_there(stage):
    before = traces()
    stage.show(*grid()[:2])
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.error is None and traces() == before


def test_cancel_takes_it_away_or_keeps_its_last_state(tmp_path):
    vertices, faces, _ = grid()
    stage = Stage(tmp_path, in_place=True)
    stage.show(vertices, faces)
    assert OPS.cancel() == {"FINISHED"}
    stage.until(lambda: stage.session.job is None)
    assert len(bpy.data.objects) == 0 and stage.session.kept == ""
    stage = Stage(tmp_path, in_place=True)
    stage.show(vertices, faces)
    assert OPS.cancel(keep=True) == {"FINISHED"}
    stage.until(lambda: stage.session.job is None)
    [kept] = bpy.data.objects
    assert kept.name == stage.session.kept and LIVE_KEY not in kept and not kept.hide_render
    assert (kept["slipcast_job"], kept["slipcast_method"], kept["slipcast_stage"]) == (JOB, "views", "refine")
    bpy.context.view_layer.update()
    world = np.array([kept.matrix_world @ vertex.co for vertex in kept.data.vertices])
    assert np.abs(world - vertices).max() < 1e-5 and np.abs(np.array(kept.bound_box)[:, 2].min()) < 1e-6


def test_a_job_that_fails_leaves_its_last_state(stage):
    stage.show(*grid()[:2])
    stage.come(Failed(JOB, OutOfMemory("The engine ran out of memory.")))
    assert isinstance(stage.session.error, OutOfMemory)
    assert [each.name for each in bpy.data.objects] == [stage.session.kept] != [""]


def test_a_job_that_ends_badly_with_a_preview_that_is_no_mesh_leaves_the_last_good_state_and_its_own_error(stage):
    vertices, faces, _ = grid()
    stage.show(vertices, faces)
    stage.come(previewed(vertices, faces * 0, seq=2), Failed(JOB, OutOfMemory("The engine ran out of memory.")))
    assert isinstance(stage.session.error, OutOfMemory)
    assert len(bpy.data.objects[stage.session.kept].data.polygons) == len(faces)


def test_a_job_that_ends_badly_and_showed_no_mesh_at_all_leaves_nothing_but_its_error(stage):
    vertices, faces, _ = grid()
    stage.come(previewed(vertices, faces * 0), Failed(JOB, OutOfMemory("The engine ran out of memory.")))
    assert isinstance(stage.session.error, OutOfMemory) and stage.session.kept == "" and not bpy.data.objects


def test_snapshot_stays_as_it_was_while_the_live_mesh_goes_on_and_is_one_undo_step(stage):
    vertices, faces, _ = grid()
    with pytest.raises(RuntimeError, match="No mesh has come yet"):
        OPS.live_snapshot()
    stage.show(vertices, faces)
    bpy.ops.ed.undo_push(message="before")
    assert OPS.live_snapshot() == {"FINISHED"}
    kept = bpy.data.objects["skull refine"]
    stage.show(vertices + 3, faces, seq=2)
    world = co(kept.data) + np.array(kept.location)
    assert np.abs(world - vertices).max() < 1e-5 and kept.users_collection[0].name == "Slipcast"
    assert kept.data != thing().data


def test_hidden_it_is_left_alone_and_shown_again_it_has_the_newest_state(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    assert OPS.live_visibility(visible=False) == {"FINISHED"}
    assert made.hide_viewport and "hidden" in live_words(stage.live)
    stage.come(previewed(vertices + 1, faces, seq=2))
    assert np.array_equal(co(made.data), vertices)
    OPS.live_visibility(visible=True)
    stage.until(lambda: stage.live._frame is None)
    assert not made.hide_viewport and np.array_equal(co(made.data), vertices + np.float32(1))


def test_good_enough_is_asked_of_the_engine_once_and_only_while_it_can_help(stage):
    with pytest.raises(RuntimeError, match="no mesh yet"):
        OPS.finish_early()
    stage.show(*grid()[:2])
    assert OPS.finish_early() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="being finished already"):
        OPS.finish_early()
    assert [asked for asked in stage.client.asked if asked[0] == "finish_early"] == [("finish_early", JOB)]
    assert status_words(stage.session.job).startswith("Slipcast skull: Finishing: Refining (4/9): 3 of 12 views, about")
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.outcome is not None


def test_without_a_job_every_live_operator_says_so():
    for name in ("live_visibility", "live_snapshot", "finish_early"):
        operator = getattr(OPS, name)
        assert len(operator.get_rna_type().description) > 30
        with pytest.raises(RuntimeError, match="No job is under way"):
            operator()
