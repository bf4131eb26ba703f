"""In a real Blender with a window. `make window BLENDER=path`; on a machine without a screen, under Xvfb."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slipcast import build_addon

ROOT = Path(__file__).resolve().parents[2]
BLENDER = os.environ.get("SLIPCAST_BLENDER", "")

pytestmark = [pytest.mark.window, pytest.mark.timeout(900),
              pytest.mark.skipif(not BLENDER, reason="make window BLENDER=path of a Blender with a window")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What drive.py reports of one session, and what Blender wrote to the terminal ("output")."""
    folder = tmp_path_factory.mktemp("window")
    version = subprocess.run([BLENDER, "--version"], capture_output=True, text=True, check=True, timeout=120).stdout
    major, minor = map(int, re.findall(r"Blender (\d+)\.(\d+)", version)[0])
    older, later = build_addon.build([build_addon.this_platform()], folder)
    shots = ROOT / "out" / "window"
    shots.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "blender"),
                                "SLIPCAST_ENGINE_PYTHON": sys.executable}
    done = subprocess.run(
        [BLENDER, "--factory-startup", "--python", str(ROOT / "tests" / "window" / "drive.py"), "--",
         str(later if (major, minor) >= (5, 1) else older), "examples/skull",
         str(folder / "report.json"), str(shots / "shot")],
        capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=800)
    output = done.stdout + done.stderr
    assert (folder / "report.json").is_file(), output
    return json.loads((folder / "report.json").read_text(encoding="utf-8")) | {"output": output}


def test_the_session_went_through_and_nothing_was_raised_while_drawing(seen: dict):
    assert "traceback" not in seen, seen["traceback"]
    assert "Traceback" not in seen["output"], seen["output"]
    assert seen["tab"] == "Slipcast"


def test_generate_gives_blender_back_at_once_and_the_object_comes_later(seen: dict):
    assert seen["operator_seconds"] < 0.2       # starts threads and a process; waits for neither
    assert seen["error"] == ""
    assert len(seen["made"]) == 1


def test_blender_stays_free_while_the_job_runs(seen: dict):
    gaps = sorted(seen["gaps"])
    assert len(gaps) > 50
    # The timer asks for 20 ms. One redraw by software GL takes up to some 0.2 s; a job takes many seconds.
    assert gaps[int(0.99 * len(gaps))] < 0.5


def test_no_timer_runs_when_nothing_is_under_way(seen: dict):
    assert (seen["timer_before"], seen["timer_after"]) == (False, False)


def test_the_result_is_one_undo_step(seen: dict):
    assert seen["left_after_one_undo"] == []
