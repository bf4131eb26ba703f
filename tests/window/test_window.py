"""The extension in a real Blender with a window, as an artist uses it; the pipeline is played (see drive.py).

Skipped where there is no Blender or no screen. SLIPCAST_WINDOW_PICTURES=folder keeps the pictures of the screen.
"""
from __future__ import annotations

import sqlite3
import time

import pytest

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def checks(real_blender):
    """Drive Blender once; what it found."""
    out = real_blender.folder / "out"
    out.mkdir()
    return real_blender.drive("drive.py", out, str(real_blender.views / "skull"), pictures="")


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


def test_closing_blender_in_the_middle_of_a_job_ends_the_engine_and_the_job(checks, real_blender):
    assert checks["exit_code"] == 0
    until = time.monotonic() + 10
    while (real_blender.folder / "out" / "data" / "engine.json").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not (real_blender.folder / "out" / "data" / "engine.json").exists()  # its last act
    with sqlite3.connect(real_blender.folder / "out" / "data" / "jobs.sqlite") as table:
        states = {state for (state,) in table.execute("SELECT state FROM jobs")}
    assert states == {"done", "failed", "cancelled"}  # none that the next engine would do for nobody
