"""Runs inside a Blender with a window: what an artist does, step by step, from a timer (so that Blender stays Blender).

    blender --python drive.py -- ZIP OUT ENGINE_PYTHON VIEWS

Writes OUT/report.json: one entry a check, and what went wrong; OUT/<step>.png where ImageMagick's `import` is at hand.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import bpy

NAME = "bl_ext.user_default.slipcast"
STEP_S = 0.01
PATIENCE_S = 60.0
BAD_MASKS, SLOW = 2, 1   # of fake_engine.py
ZIP, OUT, ENGINE_PYTHON, VIEWS = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
checks: dict[str, object] = {}


def view3d() -> dict:
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "UI")
    return {"window": window, "area": area, "region": region}


def shot(name: str) -> Iterator[None]:
    """A picture of the screen, after it was drawn again. bpy's own screenshot is black on software GL."""
    view3d()["area"].tag_redraw()
    yield from pause(0.6)
    if shutil.which("import"):
        subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=False, timeout=30)


def pause(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def wait(condition, what: str) -> Iterator[None]:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(what)
        yield


def steps() -> Iterator[None]:
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.extensions.package_install_files(filepath=str(ZIP), repo="user_default", enable_on_install=True,
                                                 overwrite=True)
    pump = import_module(f"{NAME}.addon.pump")
    preferences = bpy.context.preferences.addons[NAME].preferences
    preferences.data_folder = str(OUT / "data")
    place = view3d()
    place["area"].spaces.active.show_region_ui = True
    yield from pause(1.0)
    place["region"].active_panel_category = "Slipcast"
    yield from shot("1-no-folder-no-python")
    checks["tab"] = place["region"].active_panel_category
    with bpy.context.temp_override(**place):
        checks["grey_without_python"] = not bpy.ops.slipcast.generate.poll()
    preferences.engine_python = str(ENGINE_PYTHON)
    asked = bpy.context.scene.slipcast
    asked.folder, asked.target_size, asked.import_cameras = str(VIEWS), 2.0, True
    yield from shot("2-ready-to-generate")
    yield from good_job(pump, asked)
    yield from cancelled_job(pump, asked)
    yield from failed_job(pump, asked)
    yield from waits_for_object_mode(pump, asked)
    yield from stop(pump)


def generate() -> None:
    with bpy.context.temp_override(**view3d()):
        bpy.ops.slipcast.generate("INVOKE_DEFAULT")


def good_job(pump, asked) -> Iterator[None]:
    session, before = pump.session(), len(bpy.data.objects)
    started = time.perf_counter()
    generate()
    checks["generate_returned_ms"] = (time.perf_counter() - started) * 1e3
    checks["timer_while_busy"] = bpy.app.timers.is_registered(pump._tick)
    taken, pumped = [], session.pump

    def timed(budget_s: float) -> bool:
        begun = time.perf_counter()
        busy = pumped(budget_s)
        taken.append(time.perf_counter() - begun)
        return busy

    session.pump = timed
    yield from wait(lambda: session.job is None, "the end of the job")
    session.pump = pumped
    checks["pump_ms"] = [round(seconds * 1e3, 1) for seconds in taken]
    checks["good_error"] = str(session.error or "")
    name = session.outcome.object_name if session.outcome else ""
    checks["placed"] = name in bpy.data.objects and len(bpy.data.objects) - before
    yield from pause(0.3)
    checks["timer_when_idle"] = bpy.app.timers.is_registered(pump._tick)
    yield from shot("3-done")
    with bpy.context.temp_override(**view3d()):
        bpy.ops.ed.undo()
    checks["after_one_undo"] = len(bpy.data.objects) - before
    with bpy.context.temp_override(**view3d()):
        bpy.ops.ed.redo()
    checks["after_redo"] = len(bpy.data.objects) - before


def cancelled_job(pump, asked) -> Iterator[None]:
    session = pump.session()
    bpy.context.scene.slipcast.seed = SLOW
    generate()
    yield from wait(lambda: session.job is None or (session.job.progress and session.job.progress.done > 4), "progress")
    yield from shot("4-running")
    asked_s = time.perf_counter()
    with bpy.context.temp_override(**view3d()):
        bpy.ops.slipcast.cancel()
    yield from wait(lambda: session.job is None, "cancel")
    checks["cancel_s"] = time.perf_counter() - asked_s
    yield from shot("5-cancelled")


def failed_job(pump, asked) -> Iterator[None]:
    session = pump.session()
    bpy.context.scene.slipcast.seed = BAD_MASKS
    generate()
    yield from wait(lambda: session.job is None, "failure")
    checks["failure"] = str(session.error)
    yield from shot("6-failed")


def waits_for_object_mode(pump, asked) -> Iterator[None]:
    session, before = pump.session(), len(bpy.data.objects)
    bpy.context.scene.slipcast.seed = 0
    generate()
    with bpy.context.temp_override(**view3d()):
        bpy.context.view_layer.objects.active = next(each for each in bpy.data.objects if each.type == "MESH")
        bpy.ops.object.mode_set(mode="EDIT")
    yield from wait(lambda: session.job is None or session.job.waiting_for, "a result that waits")
    assert bpy.context.mode == "EDIT_MESH"
    checks["in_edit_mode"] = session.job.waiting_for if session.job else "did not wait"
    yield from shot("7-waits")
    with bpy.context.temp_override(**view3d()):
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from wait(lambda: session.job is None, "the result")
    checks["after_edit_mode"] = len(bpy.data.objects) - before


def stop(pump) -> Iterator[None]:
    with bpy.context.temp_override(**view3d()):
        bpy.ops.slipcast.stop_engine()
    yield from wait(lambda: not pump.session().busy, "the engine's end")
    checks["engine_at_the_end"] = pump.session().engine
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.screen.userpref_show()
        bpy.context.preferences.active_section = "ADDONS"
        bpy.context.window_manager.addon_search = "slipcast"
        bpy.ops.preferences.addon_expand(module=NAME)
    yield from shot("8-preferences")
    # last of all: Blender is closed in the middle of a job
    bpy.context.scene.slipcast.seed = SLOW
    generate()
    yield from wait(lambda: pump.session().job.progress and pump.session().job.progress.done > 2, "progress")
    checks["engine_pid"] = json.loads((OUT / "data" / "engine.json").read_text())["pid"]


def finish(error: str = "") -> None:
    (OUT / "report.json").write_text(json.dumps({"checks": checks, "error": error}, indent=1))
    bpy.ops.wm.quit_blender()


def tick(running=steps()) -> float | None:  # noqa: B008  (the one generator of this run)
    try:
        next(running)
    except StopIteration:
        finish()
        return None
    except Exception:
        finish(traceback.format_exc())
        return None
    return STEP_S


bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
