"""Windows opened and closed, files loaded and the add-on switched off in the middle of jobs, in a real Blender.

Skipped where there is no Blender or no screen.
"""
from __future__ import annotations

import pytest

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def checks(real_blender):
    """Drive Blender once; what it found."""
    out = real_blender.folder / "lifecycle"
    out.mkdir()
    return real_blender.drive("drive_lifecycle.py", out, str(real_blender.views / "skull")) | {"data": out / "data"}


def test_status_bar_counts_the_seconds_while_a_job_runs_and_is_left_alone_otherwise(checks):
    assert checks["status_bar_draws_in_2_s"] >= 2       # twice a second at least would be 4; drawing is slow here
    assert checks["status_bar_draws_when_idle"] == 0


def test_second_window_with_another_scene_comes_and_goes_without_harm_to_the_job(checks):
    assert (checks["windows"], checks["windows_after_closing"]) == (2, 1)
    assert checks["live_in"] is True and checks["noted_in"] is True and checks["timer_in_one_window"] is True


def test_live_mesh_that_was_deleted_stays_away_until_it_is_asked_for(checks):
    assert checks["live_after_delete"] == 0      # that it then came back is waited for


def test_live_mesh_is_not_written_into_another_file_nor_left_when_the_add_on_is_switched_off(checks):
    assert (checks["live_in_other_file"], checks["live_at_the_end"]) == (0, 0)


def test_job_goes_on_when_another_file_is_loaded_and_no_timer_is_left_after_it(checks):
    assert checks["after_file_load"] is True and checks["timer_when_idle"] is False


def test_file_loaded_while_views_are_rendered_ends_that_and_nothing_is_left_of_it(checks):
    assert checks["rendering"] == "{'RUNNING_MODAL'}"
    assert checks["scenes_after"] == ["Scene"] and checks["files_after"] == []


def test_error_is_in_the_clipboard_with_the_versions(checks):
    assert checks["clipboard"].startswith("No object was found in the pictures. Give masks beside them.\n[bad_masks]")


def test_three_rounds_of_switching_off_and_on_in_the_middle_of_jobs(checks):
    assert checks["timer_when_off"] == [False] * 3 and checks["on_again"] == [True] * 3


def test_nothing_was_raised_and_blender_ended_well(checks):
    assert "Traceback" not in checks["output"], checks["output"][-3000:]
    assert checks["exit_code"] == 0
    assert not (checks["data"] / "engine.json").exists()
