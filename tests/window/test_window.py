"""The extension in a real Blender with a window, as an artist uses it; the pipeline is played (see drive.py).

Blender: SLIPCAST_BLENDER (`make window BLENDER=path`), else `blender` on the PATH. Skipped where there is none, or
no screen. SLIPCAST_WINDOW_PICTURES=folder keeps the pictures of the screen.
"""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FAKE_ENGINE = ROOT / "tests" / "blender" / "inside" / "fake_engine.py"

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


def _blender() -> str:
    found = os.environ.get("SLIPCAST_BLENDER") or shutil.which("blender")
    if not found:
        pytest.skip("no Blender with a window at hand: make window BLENDER=/path/to/blender")
    return found


def _zip_for(blender: str, out: Path) -> Path:
    said = subprocess.run([blender, "--version"], capture_output=True, text=True, check=False, timeout=120).stdout
    version = re.search(r"Blender (\d+)\.(\d+)", said)
    assert version, f"{blender} --version said: {said}"
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    build_addon = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = build_addon
    spec.loader.exec_module(build_addon)
    earlier, later = build_addon.build([build_addon.this_platform()], out)
    return earlier if (int(version[1]), int(version[2])) < (5, 1) else later


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    """Drive Blender once; what it found."""
    blender, folder = _blender(), tmp_path_factory.mktemp("window")
    out, views, python = folder / "out", folder / "skull", folder / "python"
    out.mkdir()
    views.mkdir()
    (views / "transforms.json").write_text('{"camera_angle_x": 0.7, "frames": [{"file_path": "0.png"}]}')
    (views / "0.png").write_bytes(b"not looked at")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{FAKE_ENGINE}" "$@"\n')
    python.chmod(0o755)
    command = [blender, "--window-geometry", "0", "0", "1280", "800", "--python", str(HERE / "drive.py"), "--",
               str(_zip_for(blender, folder)), str(out), str(python), str(views)]
    kept = {name: value for name, value in os.environ.items() if name != "SLIPCAST_ENGINE_PYTHON"}
    environment = kept | {"BLENDER_USER_RESOURCES": str(folder / "blender")}
    no_splash = "import bpy; bpy.context.preferences.view.show_splash = False; bpy.ops.wm.save_userpref()"
    subprocess.run([blender, "--background", "--python-expr", no_splash], env=environment, capture_output=True,
                   check=True, timeout=120)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if "open a display" in done.stdout + done.stderr:
        pytest.skip("no screen for Blender's window: set DISPLAY, or run it under xvfb-run")
    pictures = os.environ.get("SLIPCAST_WINDOW_PICTURES")
    if pictures:
        shutil.copytree(out, pictures, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
    assert (out / "report.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    assert not report["error"], f"{report['error']}\n{report['checks']}"
    return report["checks"]


def test_the_tab_is_there_and_generate_is_grey_until_there_is_a_python(checks):
    assert checks["tab"] == "Slipcast" and checks["grey_without_python"] is True


def test_generate_returns_at_once_and_blender_stays_free(checks):
    assert checks["generate_returned_ms"] < 200  # starting a process and a client; no waiting for either
    *waiting, placing = checks["pump_ms"]
    assert len(waiting) > 3 and max(waiting) < 50
    assert placing < 400  # a tetrahedron, but also the undo step of Blender's start file, which grows with the file
    assert checks["timer_while_busy"] is True and checks["timer_when_idle"] is False


def test_the_result_is_one_undo_step(checks):
    assert checks["good_error"] == "" and checks["placed"] == 2  # the object and its one camera
    assert (checks["after_one_undo"], checks["after_redo"]) == (0, 2)


def test_cancel_is_quick(checks):
    assert checks["cancel_s"] < 2.0


def test_an_error_is_told_in_words(checks):
    assert checks["failure"] == "No object was found in the pictures. Give masks beside them."


def test_the_result_waits_while_a_mesh_is_edited(checks):
    assert checks["in_edit_mode"] == "Done; waits for Object Mode" and checks["after_edit_mode"] == 2


def test_stop_ends_the_engine(checks):
    assert checks["engine_at_the_end"] == "off"
