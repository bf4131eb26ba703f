"""What people do while the live mesh follows a job: delete, rename, undo, edit, load files, switch the add-on off."""
from __future__ import annotations

import time

import bpy
import numpy as np
import pytest
from bl_ext.user_default import slipcast
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.panels.live import live_words
from bl_ext.user_default.slipcast.addon.scene.live import LIVE_KEY
from fakes import finished
from live_stage import Stage, co, previewed, thing
from shapes import grid

OPS = bpy.ops.slipcast


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, in_place=True)


def test_deleted_by_a_person_it_stays_away_until_asked_for_and_the_job_goes_on(stage):
    vertices, faces, _ = grid()
    bpy.data.objects.remove(stage.show(vertices, faces))
    for seq in (2, 3):
        stage.come(previewed(vertices, faces, seq=seq))
    assert thing() is None and stage.live.deleted and "was deleted" in live_words(stage.live)
    assert OPS.live_snapshot() == {"FINISHED"}                        # its state is still known
    OPS.live_visibility(visible=True)
    stage.until(lambda: thing() is not None)
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert thing() is None


def test_renamed_and_moved_to_another_collection_it_is_followed_and_taken_away(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    made.name = "mine"
    other = bpy.data.objects.new("skull (work in progress)", None)    # somebody else takes its name
    bpy.context.scene.collection.objects.link(other)
    bpy.context.scene.collection.objects.link(made)
    stage.show(vertices + 1, faces, seq=2)
    assert made.name == "mine" and np.array_equal(co(made.data), vertices + np.float32(1))
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert [each.name for each in bpy.data.objects] == [other.name]


def test_a_copy_that_a_person_makes_stays_and_is_not_marked_any_more(stage):
    made = stage.show(*grid()[:2])
    copy = made.copy()
    copy.data = made.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert list(bpy.data.objects) == [copy] and LIVE_KEY not in copy and not copy.hide_render


def test_undo_and_redo_while_it_runs_lose_nothing(stage):
    vertices, faces, _ = grid()
    cube = bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(cube)
    bpy.ops.ed.undo_push(message="cube")
    cube.location = (1, 0, 0)
    bpy.ops.ed.undo_push(message="moved")
    stage.show(vertices, faces)
    bpy.ops.ed.undo()                                                 # to before there was a live mesh
    stage.until(lambda: thing() is not None)
    assert tuple(bpy.data.objects["cube"].location) == (0, 0, 0)
    finer, more, _ = grid(20)
    stage.show(finer, more, seq=2)
    bpy.ops.ed.undo_push(message="with it")
    stage.show(vertices, faces, seq=3)
    bpy.ops.ed.undo_push(message="again")
    bpy.ops.ed.undo()                                                 # to where it had other faces
    stage.until(lambda: stage.live._frame is None)
    assert np.array_equal(co(thing().data), vertices) and thing().data.validate() is False
    bpy.ops.ed.redo()
    assert len(stage.show(vertices + 1, faces, seq=4).data.polygons) == len(faces)
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert thing() is None


def test_undo_after_the_end_does_not_bring_it_back(stage):
    stage.show(*grid()[:2])
    bpy.ops.ed.undo_push(message="while it ran")
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert stage.live.has_stale
    stage.live.tidy()                                                 # in a window a timer does, once
    assert thing() is None and not any(LIVE_KEY in each for each in bpy.data.objects)
    bpy.ops.ed.redo()
    bpy.ops.ed.undo()
    stage.live.tidy()
    assert thing() is None


def test_in_edit_mode_it_waits_and_goes_on_afterwards(stage):
    vertices, faces, _ = grid()
    made = stage.show(vertices, faces)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    stage.come(previewed(vertices + 1, faces[:-3], seq=2))
    stage.session.pump(0.1)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert np.array_equal(co(made.data), vertices)
    stage.until(lambda: stage.live._frame is None)
    assert np.array_equal(co(made.data), vertices + np.float32(1))


def test_job_that_ends_while_it_is_in_edit_mode_takes_it_away(stage):
    made = stage.show(*grid()[:2])
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    stage.session.cancel()
    stage.until(lambda: stage.session.job is None)
    assert thing() is None and bpy.context.mode == "OBJECT"


def test_it_stays_in_the_scene_it_was_asked_for_and_survives_the_end_of_that_scene(stage):
    vertices, faces, _ = grid()
    first = bpy.context.scene
    second = bpy.data.scenes.new("second")
    made = stage.show(vertices, faces)
    if bpy.context.window_manager.windows:
        bpy.context.window_manager.windows[0].scene = second
    stage.show(vertices + 1, faces, seq=2)
    assert made.name in first.objects and made.name not in second.objects
    bpy.data.scenes.remove(first)
    stage.come(previewed(vertices + 2, faces, seq=3), previewed(vertices, faces[:-2], seq=4))
    for _ in range(20):
        stage.session.pump(0.1)
        time.sleep(0.005)
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert thing() is None


def test_another_file_loaded_meanwhile_is_not_written_into_and_the_job_ends_well(stage):
    vertices, faces, _ = grid()
    stage.show(vertices, faces)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    stage.come(previewed(vertices, faces, seq=2))
    stage.session.pump(0.1)
    assert thing() is None and len(bpy.data.objects) == 0
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.outcome is not None


def test_a_file_saved_meanwhile_and_loaded_again_is_followed_again(stage, tmp_path):
    vertices, faces, _ = grid()
    stage.show(vertices, faces)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    made = stage.show(vertices + 2, faces, seq=2)
    assert np.array_equal(co(made.data), vertices + np.float32(2))


def test_three_rounds_of_switching_off_and_on_during_a_job_leave_nothing(stage):
    stage.show(*grid()[:2])
    for _ in range(3):
        slipcast.unregister()
        assert thing() is None and not any("slipcast" in getattr(each, "__module__", "")
                                           for each in bpy.app.handlers.undo_post)
        slipcast.register()
    assert not bpy.app.timers.is_registered(pump._tick) and pump.session().job is None
    assert [each.__name__ for each in bpy.app.handlers.undo_post].count("_after_undo") == 1
