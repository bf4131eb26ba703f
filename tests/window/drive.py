"""Runs inside a Blender with a window: what an artist does, step by step, from a timer (so that Blender stays Blender).

    blender --python drive.py -- ZIP OUT ENGINE_PYTHON VIEWS

Writes OUT/report.json: one entry a check, and what went wrong; OUT/<step>.png where ImageMagick's `import` is at hand.
"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import hands

BAD_MASKS, SLOW = 2, 1   # of fake_engine.py
ZIP, OUT, ENGINE_PYTHON, VIEWS = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
checks: dict[str, object] = {}


def shot(name: str) -> Iterator[None]:
    yield from hands.shot(OUT / f"{name}.png")


def steps() -> Iterator[None]:
    pump = hands.install(ZIP)
    preferences = bpy.context.preferences.addons[hands.ADDON].preferences
    preferences.data_folder = str(OUT / "data")
    place = hands.view3d()
    place["area"].spaces.active.show_region_ui = True
    yield from hands.pause(1.0)
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
    with bpy.context.temp_override(**hands.view3d()):
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
    yield from hands.wait(lambda: session.job is None, "the end of the job")
    session.pump = pumped
    checks["pump_ms"] = [round(seconds * 1e3, 1) for seconds in taken]
    checks["good_error"] = str(session.error or "")
    name = session.outcome.object_name if session.outcome else ""
    checks["placed"] = name in bpy.data.objects and len(bpy.data.objects) - before
    yield from hands.pause(0.3)
    checks["timer_when_idle"] = bpy.app.timers.is_registered(pump._tick)
    yield from shot("3-done")
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.ed.undo()
    checks["after_one_undo"] = len(bpy.data.objects) - before
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.ed.redo()
    checks["after_redo"] = len(bpy.data.objects) - before


def cancelled_job(pump, asked) -> Iterator[None]:
    session = pump.session()
    bpy.context.scene.slipcast.seed = SLOW
    generate()
    yield from hands.wait(lambda: session.job is None or (session.job.progress and session.job.progress.done > 4),
                          "progress")
    yield from shot("4-running")
    asked_s = time.perf_counter()
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.slipcast.cancel()
    yield from hands.wait(lambda: session.job is None, "cancel")
    checks["cancel_s"] = time.perf_counter() - asked_s
    yield from shot("5-cancelled")


def failed_job(pump, asked) -> Iterator[None]:
    session = pump.session()
    bpy.context.scene.slipcast.seed = BAD_MASKS
    generate()
    yield from hands.wait(lambda: session.job is None, "failure")
    checks["failure"] = str(session.error)
    yield from shot("6-failed")


def waits_for_object_mode(pump, asked) -> Iterator[None]:
    session, before = pump.session(), len(bpy.data.objects)
    bpy.context.scene.slipcast.seed = 0
    generate()
    with bpy.context.temp_override(**hands.view3d()):
        bpy.context.view_layer.objects.active = next(each for each in bpy.data.objects if each.type == "MESH")
        bpy.ops.object.mode_set(mode="EDIT")
    yield from hands.wait(lambda: session.job is None or session.job.waiting_for, "a result that waits")
    assert bpy.context.mode == "EDIT_MESH"
    checks["in_edit_mode"] = session.job.waiting_for if session.job else "did not wait"
    yield from shot("7-waits")
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from hands.wait(lambda: session.job is None, "the result")
    checks["after_edit_mode"] = len(bpy.data.objects) - before


def stop(pump) -> Iterator[None]:
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.slipcast.stop_engine()
    yield from hands.wait(lambda: not pump.session().busy, "the engine's end")
    checks["engine_at_the_end"] = pump.session().engine
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.screen.userpref_show()
        bpy.context.preferences.active_section = "ADDONS"
        bpy.context.window_manager.addon_search = "slipcast"
        bpy.ops.preferences.addon_expand(module=hands.ADDON)
    yield from shot("8-preferences")
    # last of all: Blender is closed in the middle of a job
    bpy.context.scene.slipcast.seed = SLOW
    generate()
    yield from hands.wait(lambda: pump.session().job.progress and pump.session().job.progress.done > 2, "progress")
    checks["engine_pid"] = json.loads((OUT / "data" / "engine.json").read_text())["pid"]


hands.run(steps(), {"checks": checks}, OUT / "report.json")
