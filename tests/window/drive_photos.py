"""Runs inside a Blender with a window (test_photos.py starts it): what an artist does, step by step from a timer.

    blender ... --python drive_photos.py -- ZIP VIEW_FOLDER REPORT SCREENSHOT_STEM
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

ADDON = "bl_ext.user_default.slipcast"
TICK_S = 0.02
JOB_LIMIT_S = 500.0

zip_path, view_folder, report_path, shot_stem = sys.argv[sys.argv.index("--") + 1:]
report: dict[str, object] = {}


def steps() -> Iterator[None]:
    """Each `yield` gives Blender back its main loop for a tick."""
    bpy.ops.extensions.package_install_files(filepath=zip_path, repo="user_default", enable_on_install=True,
                                             overwrite=True)
    pump = import_module(f"{ADDON}.addon.pump")
    asked = bpy.context.scene.slipcast
    asked.folder, asked.quality, asked.texture_px, asked.target_size = view_folder, "draft", "512", 4.0
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    yield from show_tab()
    take_screenshot("panel")
    report["timer_before"] = bpy.app.timers.is_registered(pump._tick)

    bpy.ops.ed.undo_push(message="before")
    before = set(bpy.data.objects.keys())
    began = time.perf_counter()
    bpy.ops.slipcast.generate("INVOKE_DEFAULT")
    report["operator_seconds"] = time.perf_counter() - began
    report["gaps"] = yield from wait_for_the_end(pump)
    for _ in range(20):
        yield
    take_screenshot("done")
    session = pump.session()
    report["error"] = str(session.error or "")
    report["made"] = sorted(set(bpy.data.objects.keys()) - before)
    report["timer_after"] = bpy.app.timers.is_registered(pump._tick)

    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        bpy.ops.ed.undo()
    yield
    report["left_after_one_undo"] = sorted(set(bpy.data.objects.keys()) - before)


def show_tab() -> Iterator[None]:
    """Open the sidebar of the 3D viewport at the tab, and let it be drawn."""
    area = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")
    area.spaces.active.show_region_ui = True
    area.spaces.active.shading.color_type = "TEXTURE"
    for _ in range(20):
        yield
    region = next(region for region in area.regions if region.type == "UI")
    region.active_panel_category = "Slipcast"
    report["tab"] = region.active_panel_category
    for _ in range(40):
        area.tag_redraw()
        yield


def wait_for_the_end(pump) -> Iterator[None]:
    """Returns the seconds between two ticks of this timer while the job ran: how long Blender was busy with others."""
    gaps, last, deadline = [], time.perf_counter(), time.perf_counter() + JOB_LIMIT_S
    shown = False
    while pump.session().busy and time.perf_counter() < deadline:
        yield
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
        job = pump.session().job
        if not shown and job is not None and job.progress is not None:
            take_screenshot("running")
            shown, last = True, time.perf_counter()
    return gaps


def take_screenshot(name: str) -> None:
    """Of the whole screen, with ImageMagick where it is (Blender's own operator is black on software GL)."""
    program = shutil.which("import")
    if program:
        subprocess.run([program, "-window", "root", f"{shot_stem}-{name}.png"], check=False, timeout=30)


def tick() -> float | None:
    try:
        next(running)
        return TICK_S
    except StopIteration:
        pass
    except BaseException:
        report["traceback"] = traceback.format_exc()
    Path(report_path).write_text(json.dumps(report), encoding="utf-8")
    bpy.ops.wm.quit_blender()
    return None


running = steps()
bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(tick, first_interval=1.0)
