"""A picture dropped onto the viewport of a real Blender becomes a mesh (the pipeline is played, see drive_picture.py).

Skipped where there is no Blender or no screen. SLIPCAST_WINDOW_PICTURES=folder keeps the pictures of the screen.
"""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NO_SPLASH = "import bpy; bpy.context.preferences.view.show_splash = False; bpy.ops.wm.save_userpref()"

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def checks(real_blender):
    """Drive Blender once; what it found."""
    out = real_blender.folder / "picture"
    out.mkdir()
    picture = out / "flamingo.png"
    shutil.copyfile(HERE.parent / "data" / "pictures" / "flamingo.png", picture)
    assert real_blender.run("--background", "--python-expr", NO_SPLASH).returncode == 0
    done = real_blender.run("--enable-event-simulate", "--window-geometry", "0", "0", "1280", "800", "--python",
                            str(HERE / "drive_picture.py"), "--", str(real_blender.zip), str(out),
                            str(real_blender.engine_python), str(picture))
    output = done.stdout + done.stderr
    if "open a display" in output:
        pytest.skip("no screen for Blender's window: set DISPLAY, or run it under xvfb-run")
    pictures = os.environ.get("SLIPCAST_WINDOW_PICTURES")
    if pictures:
        shutil.copytree(out, Path(pictures) / "picture", dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
    assert (out / "report.json").exists(), output[-3000:]
    report = json.loads((out / "report.json").read_text())
    assert not report["error"], f"{report['error']}\n{report['checks']}"
    return report["checks"] | {"picture": str(picture)}


def test_a_dropped_picture_is_offered_to_us_shown_in_a_dialog_and_becomes_an_object(checks):
    assert checks["drop"] == "{'INTERFACE'}"         # a menu: Blender's own empty, and our mesh
    assert checks["in_the_panel"] == checks["picture"]
    assert checks["error"] == "" and checks["made"] is True


def test_its_mask_is_shown_in_an_image_editor_ready_to_be_painted(checks):
    assert checks["editor"] == ["PAINT", "Mask flamingo.png"]


def test_several_pictures_are_not_guessed_at(checks):
    assert "one picture makes one mesh" in checks["several"] and "choose it under Views" in checks["several"]
