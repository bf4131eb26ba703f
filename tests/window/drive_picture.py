"""Runs inside a Blender with a window: a picture is dropped onto the viewport, becomes a mesh, and its mask is painted.

    blender --enable-event-simulate --python drive_picture.py -- ZIP OUT ENGINE_PYTHON PICTURE

Writes OUT/report.json: one entry a check, and what went wrong; OUT/<step>.png where ImageMagick's `import` is at hand.
"""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import hands

ZIP, OUT, ENGINE_PYTHON, PICTURE = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
checks: dict[str, object] = {}


def place(kind: str = "WINDOW") -> dict:
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(each for each in area.regions if each.type == kind)}


def shot(name: str) -> Iterator[None]:
    yield from hands.shot(OUT / f"{name}.png")


def press(key: str) -> Iterator[None]:
    for value in ("PRESS", "RELEASE"):
        bpy.context.window_manager.windows[0].event_simulate(type=key, value=value)
    yield from hands.pause(0.5)


def steps() -> Iterator[None]:
    pump = hands.install(ZIP)
    preferences = bpy.context.preferences.addons[hands.ADDON].preferences
    preferences.data_folder, preferences.engine_python = str(OUT / "data"), str(ENGINE_PYTHON)
    place()["area"].spaces.active.show_region_ui = True
    yield from hands.pause(1.0)
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
    other = PICTURE.with_name("other.png")          # one that the person chooses in the dialog instead
    shutil.copyfile(PICTURE, other)
    bpy.context.scene.slipcast_picture.filepath = str(other)
    yield from press("RET")
    yield from hands.wait(lambda: pump.session().job is not None or pump.session().outcome, "the start of the job")
    yield from hands.wait(lambda: pump.session().job is None, "the end of the job")
    checks["error"] = str(pump.session().error or "")
    checks["made"] = [thing.name for thing in bpy.data.objects if "slipcast_job" in thing]
    yield from shot("3-done")


def painted() -> Iterator[None]:
    with bpy.context.temp_override(**place()):
        bpy.ops.slipcast.paint_picture_mask()
    yield from hands.pause(0.5)
    editor = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "IMAGE_EDITOR")
    space = editor.spaces.active
    checks["editor"] = [space.mode, space.image.name]
    space.show_region_ui = True
    yield from hands.pause(0.5)
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


hands.run(steps(), {"checks": checks}, OUT / "report.json")
