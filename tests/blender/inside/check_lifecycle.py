"""What outlives what: renamed things, other files, the add-on switched off, Blender closed. Nothing leaks."""
from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default import slipcast
from bl_ext.user_default.slipcast.addon import pending
from bl_ext.user_default.slipcast.addon.engine_process import is_process_alive
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.scene.refine_source import SourceWishes, read_source
from bl_ext.user_default.slipcast.addon.scene.results import Placement, prepare_result
from fakes import finished, view_folder
from live_stage import Stage, thing
from played import engine_pid, played_engine, wait
from refine_played import result
from shapes import grid

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")


# --- renaming, two scenes, other files
def test_result_goes_into_the_scene_that_asked_for_it_whatever_that_is_called_by_then(tmp_path):
    first = bpy.context.scene
    first.name = "Set"
    stage = Stage(tmp_path, in_place=True)
    stage.session._landing = SceneLanding()
    pending.note(stage.session)
    made = stage.show(*grid()[:2])
    first.name = "Renamed"
    open_one = bpy.data.scenes.new("Set")                              # another takes its name, and is worked in
    bpy.context.window_manager.windows[0].scene = open_one
    pending.note(stage.session)
    assert made.name in first.objects and pending.pending_job(open_one) == ""
    bpy.data.objects.remove(made)
    stage.live.show(True)
    stage.until(lambda: thing() is not None)                           # it comes back where it was
    assert thing().name in first.objects
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.outcome.object_name in first.objects and not open_one.objects


def _land(source, moved: np.ndarray) -> tuple[bpy.types.Object, tuple[str, ...]]:
    placement = Placement(source.object_name, in_place=True)
    landing = SceneLanding()
    name = landing.land(prepare_result(result(moved, source.faces, np.zeros((len(source.faces), 3, 2))), placement),
                        GenerateRequest(None, None, placement, bpy.context.scene.name, method="refine", refined=source))
    return bpy.data.objects[name], landing.notes


def _sent(wishes: SourceWishes) -> tuple[bpy.types.Object, object]:
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    bpy.context.view_layer.update()
    return cube, read_source(cube, wishes)[0]


@pytest.mark.parametrize("keep", [True, False])
def test_mesh_that_was_renamed_while_it_was_refined_gets_its_result(keep):
    cube, source = _sent(SourceWishes(keep_topology=keep))
    cube.name = "Renamed"
    other = bpy.data.objects.new("Cube", bpy.data.meshes.new("other"))
    bpy.context.scene.collection.objects.link(other)
    landed, notes = _land(source, source.vertices + np.float32(1))
    assert landed == cube and notes[1 if keep else 0:] == () and not other.data.vertices
    assert abs(np.mean([vertex.co.x for vertex in cube.data.vertices]) - 1) < 1e-6


def test_object_of_the_same_name_in_another_file_is_not_touched():
    _, source = _sent(SourceWishes())
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.mesh.primitive_monkey_add()
    stranger = bpy.context.object
    stranger.name, before = "Cube", len(stranger.data.vertices)
    landed, notes = _land(source, source.vertices)
    assert landed != stranger and len(stranger.data.vertices) == before and "slipcast_job" not in stranger
    assert "is not there any more" in notes[0]


def test_file_that_was_saved_and_loaded_again_meanwhile_takes_the_result_onto_its_mesh(tmp_path):
    _, source = _sent(SourceWishes())
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    landed, _ = _land(source, source.vertices + np.float32(1))
    assert [each.name for each in bpy.data.objects if each.type == "MESH"] == ["Cube"] == [landed.name]


# --- nothing leaks
def _held() -> dict[str, object]:
    """What a running add-on holds outside of the file."""
    functions = [function for name in dir(bpy.types) for function in _drawn_by(getattr(bpy.types, name))]
    handlers = [handler for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)
                for handler in getattr(bpy.app.handlers, name)]
    ours = [each for each in functions + handlers if "slipcast" in getattr(each, "__module__", "")]
    return {"ours": sorted(f"{each.__module__}.{each.__name__}" for each in ours),
            "threads": sorted(thread.name for thread in threading.enumerate())}


def _drawn_by(kind: type) -> list:
    return getattr(getattr(kind, "draw", None), "_draw_funcs", [])


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@on_posix
def test_three_rounds_of_job_and_switching_off_hold_no_more_than_one(tmp_path, monkeypatch):
    def round_() -> tuple[dict, list[str], int]:
        stage = bpy.ops.slipcast.generate(folder=str(tmp_path / "skull"), quality="draft")
        assert stage == {"FINISHED"}
        held, pid = _held(), engine_pid()
        slipcast.unregister()
        left = _held()["ours"]
        slipcast.register()
        wait(lambda: not is_process_alive(pid))
        return held, left, _open_files() if sys.platform == "linux" else 0

    view_folder(tmp_path / "skull")
    with played_engine(tmp_path, monkeypatch):
        rounds = [round_() for _ in range(3)]
    assert [left for _, left, _ in rounds] == [[], [], []]
    assert rounds[1][0] == rounds[2][0] and "_after_undo" in " ".join(rounds[0][0]["ours"])
    assert rounds[2][2] <= rounds[1][2]


def test_ten_jobs_leave_no_data_behind_that_nobody_uses(tmp_path):
    def job(number: int) -> None:
        stage = Stage(tmp_path / str(number), in_place=True)
        stage.show(*grid(8 + number)[:2])
        stage.come(finished())
        stage.until(lambda: stage.session.job is None)

    for number in range(10):
        job(number)
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.materials, bpy.data.images)
    assert [block.name for kind in kinds for block in kind] == []      # FakeLanding puts nothing in the scene


def test_switched_off_while_its_live_mesh_is_edited_it_leaves_blender_in_object_mode(tmp_path):
    stage = Stage(tmp_path, in_place=True)
    made = stage.show(*grid()[:2])
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    slipcast.unregister()
    slipcast.register()
    assert thing() is None and bpy.context.mode == "OBJECT" and not bpy.data.meshes


# --- Blender is closed in the middle of a job
CLOSING = """
import os, sys, time
import bpy
bpy.ops.preferences.addon_enable(module="bl_ext.user_default.slipcast")
sys.path.insert(0, {inside!r})
from bl_ext.user_default.slipcast.addon import pump, preferences
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
bpy.context.preferences.addons[preferences.ROOT_PACKAGE].preferences.data_folder = {data!r}
from pathlib import Path
session = pump.session()
session.generate(GenerateRequest(Path({views!r}), ViewsSettings(seed=1), Placement("skull"), bpy.context.scene.name))
while session.job.progress is None or session.job.progress.done < 2:
    session.pump(0.004); time.sleep(0.01)
print("RUNS", flush=True)
{ending}
"""


def _close_during_job(tmp_path, ending: str) -> subprocess.Popen:
    code = CLOSING.format(inside=str(Path(__file__).parent), data=str(tmp_path / "data"), ending=ending,
                          views=str(view_folder(tmp_path / "skull")))
    blender = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True)
    while "RUNS" not in (line := blender.stdout.readline()):
        assert line or blender.poll() is None, "the Blender that was to be closed did not get so far"
    return blender


def _ended(pid: int, patience_s: float = 15.0) -> bool:
    deadline = time.monotonic() + patience_s
    while is_process_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_process_alive(pid)


@on_posix
@pytest.mark.parametrize("ending", ["quit", "kill"])
def test_engine_ends_with_its_blender_in_the_middle_of_a_job(tmp_path, monkeypatch, ending):
    with played_engine(tmp_path, monkeypatch):
        how = {"quit": "pump.unregister()   # as Blender does with all add-ons when it quits",
               "kill": "time.sleep(60)"}[ending]
        blender = _close_during_job(tmp_path, how)
        pid = json.loads((tmp_path / "data" / "engine.json").read_text())["pid"]
        assert is_process_alive(pid)
        if ending == "kill":
            blender.send_signal(signal.SIGKILL)
        code = blender.wait(30)
        blender.stdout.close()
        assert code == (-signal.SIGKILL if ending == "kill" else 0)
        assert _ended(pid) and not (tmp_path / "data" / "engine.json").exists()
        with sqlite3.connect(tmp_path / "data" / "jobs.sqlite") as table:
            [(state,)] = table.execute("SELECT state FROM jobs")
        # who quits wants it no more; after a crash the next engine does it, and the file that is opened offers it
        assert state == "cancelled" if ending == "quit" else state in ("queued", "running")
