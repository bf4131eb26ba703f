"""Runs inside a Blender with a window: what people do to windows and files while a job runs.

    blender --python drive_lifecycle.py -- ZIP OUT ENGINE_PYTHON VIEWS

Writes OUT/report.json: one entry a check, and what went wrong.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import hands

SLOW, BAD_MASKS = 1, 2   # of fake_engine.py
ZIP, OUT, ENGINE_PYTHON, VIEWS = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
checks: dict[str, Any] = {}
drawn = 0


def place(number: int = 0) -> dict:
    window = bpy.context.window_manager.windows[number]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(each for each in area.regions if each.type == "WINDOW")}


def live_meshes() -> list[bpy.types.Object]:
    return [thing for thing in bpy.data.objects if "slipcast_live" in thing]


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def count_draws(self, context) -> None:
    global drawn
    drawn += 1


def settings() -> None:
    preferences = bpy.context.preferences.addons[hands.ADDON].preferences
    preferences.data_folder, preferences.engine_python = str(OUT / "data"), str(ENGINE_PYTHON)


def generate(seed: int) -> None:
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.generate("INVOKE_DEFAULT", folder=str(VIEWS), seed=seed)


def runs(pump, more: int = 3) -> Iterator[None]:
    """Wait until the job has done some more."""
    begun = pump.session().job.progress.done if pump.session().job.progress else 0
    yield from hands.wait(lambda: (at := pump.session().job.progress) is not None and at.done >= begun + more,
                          "progress")


def steps() -> Iterator[None]:
    pump = hands.install(ZIP)
    settings()
    bpy.types.STATUSBAR_HT_header.append(count_draws)
    yield from hands.pause(0.5)
    yield from status_bar(pump)
    yield from two_windows(pump)
    yield from other_file(pump)
    yield from file_while_rendering(pump)
    yield from error_in_the_clipboard(pump)
    yield from off_and_on_again()


def status_bar(pump) -> Iterator[None]:
    generate(SLOW)
    yield from runs(pump)
    before = drawn
    yield from hands.pause(2.0)
    checks["status_bar_draws_in_2_s"] = drawn - before


def two_windows(pump) -> Iterator[None]:
    """The second shows another scene, is undone in, and closed; the job belongs to the first."""
    asked = bpy.context.window_manager.windows[0].scene.name
    with bpy.context.temp_override(**place()):
        bpy.ops.wm.window_new()
    yield from hands.pause(0.5)
    windows = bpy.context.window_manager.windows
    checks["windows"] = len(windows)
    windows[1].scene = bpy.data.scenes.new("Second")
    yield from runs(pump)
    with bpy.context.temp_override(window=windows[1]):
        bpy.ops.ed.undo_push(message="in the second window")
        bpy.ops.ed.undo()
    yield from hands.wait(lambda: live_meshes(), "the live mesh, after an undo to before it")
    checks["live_in"] = [scene.name for thing in live_meshes() for scene in thing.users_scene] == [asked]
    checks["noted_in"] = [scene.name for scene in bpy.data.scenes if scene.slipcast.pending_job] == [asked]
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[1]):
        bpy.ops.wm.window_close()
    yield from runs(pump)
    checks["windows_after_closing"] = len(bpy.context.window_manager.windows)
    checks["timer_in_one_window"] = bpy.app.timers.is_registered(pump._tick)
    with bpy.context.temp_override(**place(), selected_objects=live_meshes()):
        bpy.ops.object.delete()
    yield from runs(pump)
    checks["live_after_delete"] = len(live_meshes())
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.live_visibility(visible=True)
    yield from hands.wait(lambda: live_meshes(), "the live mesh, asked for again")


def other_file(pump) -> Iterator[None]:
    """The job goes on while another file is loaded, and is ended there."""
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.wm.read_homefile(use_factory_startup=True)
    yield from runs(pump)
    checks["live_in_other_file"] = len(live_meshes())
    checks["after_file_load"] = pump.session().job is not None and bpy.app.timers.is_registered(pump._tick)
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.cancel()
    yield from hands.wait(lambda: pump.session().job is None, "cancel")
    yield from hands.pause(0.3)
    checks["timer_when_idle"] = bpy.app.timers.is_registered(pump._tick)
    before = drawn
    yield from hands.pause(2.0)
    checks["status_bar_draws_when_idle"] = drawn - before


def file_while_rendering(pump) -> Iterator[None]:
    """Rendering views is modal; a file that is loaded meanwhile ends it, and takes nothing with it."""
    folder = OUT / "rendered"
    with bpy.context.temp_override(**place()):
        bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
        checks["rendering"] = str(bpy.ops.slipcast.render_views(
            "INVOKE_DEFAULT", folder=str(folder), count=64, resolution=64, samples=1))
    yield from hands.wait(lambda: len(files_in(folder)) > 3, "the first views")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.wm.read_homefile(use_factory_startup=True)
    yield from hands.pause(0.5)
    checks["scenes_after"] = [scene.name for scene in bpy.data.scenes]
    checks["files_after"] = files_in(folder)


def error_in_the_clipboard(pump) -> Iterator[None]:
    generate(BAD_MASKS)
    yield from hands.wait(lambda: pump.session().job is None, "failure")
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.copy_error()
    checks["clipboard"] = bpy.context.window_manager.clipboard


def off_and_on_again() -> Iterator[None]:
    """Three times, a job under way each time."""
    checks["timer_when_off"], checks["on_again"] = [], []
    for _ in range(3):
        pump = sys.modules[f"{hands.ADDON}.addon.pump"]
        settings()
        generate(SLOW)
        yield from runs(pump, 1)
        bpy.ops.preferences.addon_disable(module=hands.ADDON)
        checks["timer_when_off"].append(bpy.app.timers.is_registered(pump._tick))
        yield from hands.pause(0.3)
        bpy.ops.preferences.addon_enable(module=hands.ADDON)
        yield from hands.pause(0.3)
        checks["on_again"].append(hasattr(bpy.types, "SLIPCAST_OT_generate"))
    checks["live_at_the_end"] = len(live_meshes())


hands.run(steps(), {"checks": checks}, OUT / "report.json")
