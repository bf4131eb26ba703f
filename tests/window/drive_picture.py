"""Runs inside a Blender with a window: a picture is dropped onto the viewport, becomes a mesh, and its mask is painted.

    blender --enable-event-simulate --python drive_picture.py -- ZIP OUT ENGINE_PYTHON PICTURE

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
STEP_S, PATIENCE_S = 0.01, 60.0
ZIP, OUT, ENGINE_PYTHON, PICTURE = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
checks: dict[str, object] = {}


def place(kind: str = "WINDOW") -> dict:
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(each for each in area.regions if each.type == kind)}


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


def shot(name: str) -> Iterator[None]:
    """A picture of the screen, after it was drawn again. bpy's own screenshot is black on software GL."""
    for area in bpy.context.window_manager.windows[0].screen.areas:
        area.tag_redraw()
    yield from pause(0.6)
    if shutil.which("import"):
        subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=False, timeout=30)


def press(key: str) -> Iterator[None]:
    for value in ("PRESS", "RELEASE"):
        bpy.context.window_manager.windows[0].event_simulate(type=key, value=value)
    yield from pause(0.5)


def steps() -> Iterator[None]:
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.extensions.package_install_files(filepath=str(ZIP), repo="user_default", enable_on_install=True,
                                                 overwrite=True)
    pump = import_module(f"{NAME}.addon.pump")
    preferences = bpy.context.preferences.addons[NAME].preferences
    preferences.data_folder, preferences.engine_python = str(OUT / "data"), str(ENGINE_PYTHON)
    place()["area"].spaces.active.show_region_ui = True
    yield from pause(1.0)
    place("UI")["region"].active_panel_category = "Slipcast"
    yield from dropped(pump)
    yield from painted()
    yield from several()


def drop(*names: str) -> object:
    """As Blender itself does when the window system tells it of dropped files."""
    with bpy.context.temp_override(**place()):
        return bpy.ops.wm.drop_import_file("INVOKE_DEFAULT", directory=str(PICTURE.parent),
                                           files=[{"name": name} for name in names])


def dropped(pump) -> Iterator[None]:
    # Blender asks what is to become of the picture: its own way, an empty, is there as well
    checks["drop"] = str(drop(PICTURE.name))
    yield from shot("1-dropped")
    yield from press("DOWN_ARROW")
    yield from press("RET")
    yield from shot("2-dialog")
    checks["in_the_panel"] = bpy.context.scene.slipcast_picture.filepath
    yield from press("RET")
    yield from wait(lambda: pump.session().job is not None or pump.session().outcome, "the start of the job")
    yield from wait(lambda: pump.session().job is None, "the end of the job")
    checks["error"] = str(pump.session().error or "")
    checks["made"] = bool(pump.session().outcome) and pump.session().outcome.object_name in bpy.data.objects
    yield from shot("3-done")


def painted() -> Iterator[None]:
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.paint_picture_mask()
    yield from pause(0.5)
    editor = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "IMAGE_EDITOR")
    space = editor.spaces.active
    checks["editor"] = [space.mode, space.image.name]
    space.show_region_ui = True
    yield from pause(0.5)
    next(each for each in editor.regions if each.type == "UI").active_panel_category = "Slipcast"
    yield from shot("4-mask")


def several() -> Iterator[None]:
    with bpy.context.temp_override(**place()):
        try:
            bpy.ops.slipcast.generate_from_picture("INVOKE_DEFAULT", directory=str(PICTURE.parent),
                                                   files=[{"name": "a.png"}, {"name": "b.png"}])
        except RuntimeError as error:
            checks["several"] = str(error)
    yield from shot("5-several")


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
