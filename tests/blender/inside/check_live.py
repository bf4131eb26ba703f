"""The live mesh follows a running job, whatever people do to it meanwhile, and costs a tick no more than it may."""
from __future__ import annotations

import hashlib
import time

import bpy
import numpy as np
import pytest
from bl_ext.user_default import slipcast
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.panels.live import live_words, status_words
from bl_ext.user_default.slipcast.addon.scene.live import LIVE_KEY
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.addon.session import Session
from bl_ext.user_default.slipcast.bridge.errors import OutOfMemory
from bl_ext.user_default.slipcast.bridge.events import Failed, Previewed
from bl_ext.user_default.slipcast.bridge.messages import BufferSpec, Preview
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
from fakes import JOB, FakeClient, FakeLanding, FakeProcess, finished, progressed, view_folder
from shapes import grid

OPS = bpy.ops.slipcast
STALL_MS = 12.0
RATE_HZ, TICK_S = 4, 0.05


def previewed(vertices: np.ndarray, faces: np.ndarray, seq: int = 1, colours: np.ndarray | None = None,
              stage: str = "refine") -> Previewed:
    arrays = [("f4", vertices.astype("<f4")), ("i4", faces.astype("<i4"))]
    if colours is not None:
        arrays.append(("u1", colours.astype("u1")))
    frames = tuple(memoryview(np.ascontiguousarray(array).tobytes()) for _, array in arrays)
    specs = tuple(BufferSpec(dtype, array.shape, hashlib.sha256(frame).hexdigest())
                  for (dtype, array), frame in zip(arrays, frames))
    return Previewed(Preview(JOB, 1, seq, stage, colours is not None, specs), frames)


class Stage:
    """A session whose job is running, with the live mesh of this Blender."""

    def __init__(self, tmp_path, **placement) -> None:
        self.client, self.live = FakeClient(), pump.live_mesh()
        self.session = Session(FakeProcess, lambda connection: self.client, FakeLanding(), self.live)
        pump.open_session(self.session)
        request = GenerateRequest(view_folder(tmp_path / "skull"), ViewsSettings(), Placement("skull", **placement),
                                  bpy.context.scene.name)
        self.session.generate(request)
        self.until(lambda: self.session.job.job == JOB)
        self.come(progressed(stage="refine"))

    def until(self, condition, patience_s: float = 5.0) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"{self.session.job} {self.session.error}"
            self.session.pump(0.004)
            time.sleep(0.002)

    def come(self, *events) -> None:
        self.client.events.extend(events)
        self.session.pump(0.1)

    def show(self, vertices, faces, **more) -> bpy.types.Object:
        self.come(previewed(vertices, faces, **more))
        self.until(lambda: self.live._frame is None)
        return thing()


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, in_place=True)


def thing() -> bpy.types.Object | None:
    return next((each for each in bpy.data.objects if each.get(LIVE_KEY) == JOB), None)


def co(mesh: bpy.types.Mesh) -> np.ndarray:
    values = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", values)
    return values.reshape(-1, 3)


def corners(mesh: bpy.types.Mesh) -> np.ndarray:
    values = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", values)
    return values.reshape(-1, 3)


def traces() -> list[str]:
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.materials)
    return [block.name for kind in kinds for block in kind]


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
    shown = np.empty(4 * len(vertices), np.float32)
    mesh.color_attributes.active_color.data.foreach_get("color_srgb", shown)
    # 1 / 2000: Blender's own conversion and the standard's differ by less than half a step of a byte
    assert np.abs(shown.reshape(-1, 4)[:, :3] - colours / 255).max() < 5e-4
    assert mesh.materials[0].name == "Slipcast Preview Colors"
    stage.show(vertices, faces[:-1], seq=2)
    assert not mesh.color_attributes and mesh.materials[0].name == "Slipcast Work in Progress"


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


# --- what people do meanwhile -----------------------------------------------------------------------------------
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


def test_no_timer_and_no_work_when_nothing_is_under_way(stage):
    stage.show(*grid()[:2])
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.pump(0.004) is False                         # what the timer would return: it ends
    assert stage.live.job == "" and not stage.live.has_mesh


# --- what it costs -----------------------------------------------------------------------------------
def test_ticks_stay_within_their_budget_with_200_000_faces_four_times_a_second(stage, capsys):
    """20 s of a job, played: 20 ticks and 4 previews a second, new faces every 5 s, as refine's levels have them."""
    counts = (317, 318, 316, 317)
    sheets = [grid(count)[:2] for count in counts]
    events = []
    for index in range(20 * RATE_HZ):
        vertices, faces = sheets[index // (5 * RATE_HZ)]
        colours = np.full((len(vertices), 3), index, np.uint8)
        events.append(previewed(vertices + np.float32(0.001 * index), faces, index, colours))
    ticks, swaps, key = [], [], None
    for number in range(20 * int(1 / TICK_S)):
        if number % int(1 / TICK_S / RATE_HZ) == 0:
            stage.client.events.append(events[number // int(1 / TICK_S / RATE_HZ)])
        began = time.perf_counter()
        stage.session.pump(0.004)
        ticks.append(1000 * (time.perf_counter() - began))
        shown = stage.live._shown
        if shown is not None and shown.key != key:
            key, _ = shown.key, swaps.append(ticks[-1])
        time.sleep(0.01)                                              # the thread that looks for edges needs some
    p99 = float(np.percentile(ticks, 99))
    with capsys.disabled():
        print(f"live mesh, 200,000 faces: p50 {np.median(ticks):.2f} ms, p99 {p99:.2f} ms, max {max(ticks):.1f} ms; "
              f"new faces {', '.join(f'{each:.1f}' for each in swaps)} ms")
    assert len(swaps) == 4 and len(thing().data.polygons) == 2 * 316**2
    assert p99 <= STALL_MS
