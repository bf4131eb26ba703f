"""What a person meets between pressing Generate and the end, with an engine that is played."""
from __future__ import annotations

import io
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import bpy
import pytest
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.engine_process import EngineStatus, find_engine_python
from bl_ext.user_default.slipcast.addon.job import GenerateRequest, describe, stage_seconds_left
from bl_ext.user_default.slipcast.addon.operators.errors import SLIPCAST_OT_copy_error
from bl_ext.user_default.slipcast.addon.panels.engine import engine_words
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.addon.terminal import ProgressLines
from bl_ext.user_default.slipcast.bridge import VERSION
from bl_ext.user_default.slipcast.bridge.errors import (
    BadFolder,
    BadMasks,
    Cancelled,
    Conflict,
    EngineFailed,
    EngineGone,
    EngineNotFound,
    VersionMismatch,
)
from bl_ext.user_default.slipcast.bridge.events import Disconnected, EngineChanged, Failed
from bl_ext.user_default.slipcast.bridge.messages import EngineState
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
from fakes import JOB, FakeLanding, connected, fake_session, finished, progressed, ready, view_folder


def _request(tmp_path, **placement) -> GenerateRequest:
    return GenerateRequest(view_folder(tmp_path / "skull"), ViewsSettings(), Placement("skull", **placement))


def _pump_until(session, condition, patience_s: float = 5.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"still {session.engine}, {session.job}, {session.error}"
        session.pump(0.004)
        time.sleep(0.002)


def _submitted(tmp_path, *events):
    session, client, process = fake_session(None, *events)
    session.generate(_request(tmp_path))
    _pump_until(session, lambda: session.job is None or session.job.job == JOB)
    return session, client, process


def test_whole_way_to_the_scene(tmp_path):
    landing = FakeLanding()
    session, client, _ = fake_session(landing)
    session.generate(_request(tmp_path, target_size=2.0))
    assert session.busy and session.engine == "starting" and session.job.phase == "reading"
    _pump_until(session, lambda: session.job.job == JOB)
    asked = asdict(ViewsSettings())
    assert client.asked == [("submit", "views", asked, ["0.png", "transforms.json"])]
    client.events.append(progressed())
    session.pump(0.004)
    assert (session.job.phase, describe(session.job)) == ("running", (0.25, "Carving (4/9): 3 of 12 views"))
    assert stage_seconds_left(session.job.progress) == pytest.approx(4.5)  # 1.5 s for 3, 9 to go
    client.events.append(finished())
    _pump_until(session, lambda: session.job is None)
    assert session.error is None and len(landing.landed) == 1
    assert (session.outcome.object_name, session.outcome.faces, session.outcome.device) == ("skull", 242, "cpu")
    assert session.outcome.warnings == ("look at view 3",)
    assert not session.busy and session.engine == "ready"
    assert engine_words(session, True) == "Engine: ready on cpu"


def test_second_job_while_one_runs_is_turned_down_and_does_no_harm(tmp_path):
    session, _, _ = _submitted(tmp_path)
    with pytest.raises(Conflict):
        session.generate(_request(tmp_path))
    assert session.job.job == JOB


def test_cancel_of_a_running_job_ends_it_and_leaves_the_engine(tmp_path):
    session, client, _ = _submitted(tmp_path, progressed())
    session.cancel()
    session.cancel()  # a second press asks nothing twice
    assert client.asked[-1] == ("cancel", JOB) and [asked[0] for asked in client.asked].count("cancel") == 1
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, Cancelled) and session.engine == "ready" and not session.busy


def test_cancel_before_anything_was_sent_needs_no_engine(tmp_path):
    session, client, _ = fake_session()
    session.generate(_request(tmp_path))
    session.cancel()
    assert session.job is None and isinstance(session.error, Cancelled) and client.asked == []


def test_cancel_that_nobody_answers_does_not_last_for_ever(tmp_path, monkeypatch):
    session, client, _ = _submitted(tmp_path)
    client.cancel = lambda job: None
    monkeypatch.setattr("bl_ext.user_default.slipcast.addon.job_run.CANCEL_TIMEOUT_S", 0.05)
    session.cancel()
    _pump_until(session, lambda: session.job is None)
    assert "did not answer" in session.error.message


def test_engine_that_dies_in_the_middle_is_told_of_and_its_job_does_not_come_back(tmp_path):
    session, client, process = _submitted(tmp_path, progressed())
    process.die("it ended with code -9: killed")
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, EngineGone) and not session.busy
    assert "worked on skull" in session.error.message and "code -9: killed" in session.error.message
    assert session.error.hint == "Press Generate to start it again."
    assert (session.engine, engine_words(session, True)) == ("failed", "Engine: failed")
    process.status = EngineStatus("off")
    client.events.clear()
    client.events.extend([connected(), ready()])
    session.generate(_request(tmp_path))
    _pump_until(session, lambda: session.job.job == JOB)
    assert ("cancel", JOB) in client.asked  # the new engine would have taken it up again


def test_engine_that_falls_silent_is_given_up_after_a_while_and_not_at_once(tmp_path, monkeypatch):
    session, client, _ = _submitted(tmp_path, progressed())
    client.events.append(Disconnected(EngineGone("The engine does not answer."), final=False))
    session.pump(0.004)
    assert session.job is not None and engine_words(session, True) == "Engine: does not answer, trying again"
    client.events.append(connected())
    session.pump(0.004)
    assert engine_words(session, True) == "Engine: ready on cpu"
    client.events.append(Disconnected(EngineGone("The engine does not answer."), final=False))
    session.pump(0.004)
    monkeypatch.setattr("bl_ext.user_default.slipcast.addon.session.LOST_TIMEOUT_S", 0.0)
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, EngineGone) and "worked on skull" in session.error.message


def test_folder_of_the_engines_environment_is_as_good_as_its_python(tmp_path):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").write_text("")
    assert find_engine_python(str(tmp_path / "env")) == tmp_path / "env" / "bin" / "python"
    with pytest.raises(EngineNotFound, match="is not there"):
        find_engine_python(str(tmp_path))


def test_error_of_the_engine_is_shown_as_it_is(tmp_path):
    session, client, _ = _submitted(tmp_path)
    client.events.append(Failed(JOB, BadMasks("No object was found.", "Give masks.")))
    _pump_until(session, lambda: session.job is None)
    assert str(session.error) == "No object was found. Give masks."


def test_bad_folder_ends_the_job_with_its_error(tmp_path):
    session, client, _ = fake_session()
    (tmp_path / "empty").mkdir()
    session.generate(GenerateRequest(tmp_path / "empty", ViewsSettings(), Placement("empty")))
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, BadFolder) and client.asked == []


def test_engine_that_cannot_load_its_packages_is_ended_so_that_the_next_start_is_fresh(tmp_path):
    session, client, process = fake_session()
    client.events.append(EngineChanged(EngineState("failed", (), "No module named 'torch'")))
    session.generate(_request(tmp_path))
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, EngineFailed) and "No module named 'torch'" in session.error.message
    assert process.asked == ["start", "stop"] and session.busy  # until it has ended
    process.status = EngineStatus("off")
    session.pump(0.004)
    assert not session.busy and session.engine == "failed"


def test_engine_of_another_version_is_not_given_work(tmp_path):
    session, client, _ = fake_session(version="0.0.1")
    session.generate(_request(tmp_path))
    _pump_until(session, lambda: session.job is None)
    assert isinstance(session.error, VersionMismatch) and "0.0.1" in str(session.error)
    assert not [asked for asked in client.asked if asked[0] == "submit"]


def test_stop_ends_the_job_and_then_the_engine(tmp_path):
    session, client, process = _submitted(tmp_path)
    session.stop_engine()
    assert client.asked[-2:] == [("cancel", JOB), ("shutdown",)] and session.engine == "stopping"
    process.status = EngineStatus("off")
    _pump_until(session, lambda: not session.busy)
    assert session.engine == "off" and client.asked[-1] == ("close",)


def test_start_while_the_old_one_is_still_ending_waits_for_its_end():
    session, _, process = fake_session()
    session.start_engine()
    _pump_until(session, lambda: session.engine == "ready")
    session.stop_engine()
    session.start_engine()
    session.pump(0.004)
    assert process.asked == ["start", "stop"] and session.engine == "starting"
    process.status = EngineStatus("off")
    session.pump(0.004)
    assert process.asked == ["start", "stop", "start"]


def test_result_waits_until_the_scene_may_be_touched(tmp_path):
    landing = FakeLanding()
    session, client, _ = fake_session(landing)
    session.generate(_request(tmp_path))
    _pump_until(session, lambda: session.job.job == JOB)
    landing.why = "Done; waits for Object Mode"
    client.events.append(finished())
    _pump_until(session, lambda: session.job.waiting_for)
    assert describe(session.job) == (None, "Done; waits for Object Mode") and not landing.landed
    landing.why = ""
    _pump_until(session, lambda: session.job is None)
    assert session.outcome.object_name == "skull"


def test_no_engine_python_says_what_to_do_and_changes_nothing(tmp_path):
    objects = len(bpy.data.objects)
    with pytest.raises(RuntimeError) as caught:
        bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / "skull")))
    assert "does not know which Python runs its engine" in str(caught.value)
    assert "Preferences > Add-ons > Slipcast > Engine Python" in str(caught.value)
    assert "SLIPCAST_ENGINE_PYTHON" in str(caught.value)
    assert len(bpy.data.objects) == objects and pump.session().job is None and not pump.session().busy


def test_engine_python_that_is_not_there_is_named(tmp_path):
    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.engine_python = str(tmp_path / "python")
    with pytest.raises(RuntimeError, match="The engine's Python is not there"):
        bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / "skull")))
    bpy.context.preferences.addons["bl_ext.user_default.slipcast"].preferences.engine_python = ""


def test_missing_make_process_error_is_the_sessions_error_too():
    def none():
        raise EngineNotFound("No Python.", "Choose one.")

    session, _, _ = fake_session()
    session._make_process = none
    with pytest.raises(EngineNotFound):
        session.start_engine()
    assert (session.engine, session.engine_why) == ("failed", "No Python. Choose one.") and not session.busy


def test_operator_takes_its_arguments_and_else_the_panels(tmp_path):
    session, client, _ = fake_session(None, finished())
    pump.open_session(session)
    asked = bpy.context.scene.slipcast
    asked.face_budget, asked.quality, asked.target_size = 1234, "high", 3.0
    bpy.context.scene.cursor.location = (1, 2, 3)
    folder = str(view_folder(tmp_path / "cup"))
    assert bpy.ops.slipcast.generate(folder=folder, quality="draft", texture_px="512") == {"FINISHED"}
    settings = asdict(ViewsSettings("draft", 1234, 512))
    assert client.asked[0] == ("submit", "views", settings, ["0.png", "transforms.json"])
    placed = session._landing.landed[0].placement
    assert placed == Placement("cup", (1.0, 2.0, 3.0), 3.0, False)


def test_error_is_copied_with_what_one_asks_first_when_one_gets_it_by_mail(tmp_path):
    session, _, _ = _submitted(tmp_path, Failed(JOB, BadMasks("No object was found.", "Give masks.")))
    pump.open_session(session)
    _pump_until(session, lambda: session.job is None)
    assert bpy.ops.slipcast.copy_error() == {"FINISHED"}
    # without a window Blender has no clipboard, so what would be in it is asked of the operator with another one
    clipboard = SimpleNamespace(clipboard="")
    assert SLIPCAST_OT_copy_error.do(None, SimpleNamespace(window_manager=clipboard)) == "Diagnostics copied"
    first, second = clipboard.clipboard.splitlines()
    assert first == "No object was found. Give masks."
    assert second == f"[bad_masks] Slipcast {VERSION}, engine {VERSION} on cpu, Blender {bpy.app.version_string}"


def test_time_left_is_the_engines_forecast_where_it_has_one():
    measured = progressed().progress
    assert stage_seconds_left(measured) == pytest.approx(4.5)
    assert stage_seconds_left(replace(measured, seconds_left=77.0)) == 77.0
    assert stage_seconds_left(replace(measured, done=0)) is None


def test_terminal_tells_stage_count_and_seconds(tmp_path):
    session, client, _ = _submitted(tmp_path)
    out = io.StringIO()
    with ProgressLines(out) as lines:
        lines.show(session)
        client.events.append(progressed())
        session.pump(0.004)
        lines.show(session)
        lines.show(session)  # nothing new to say
    written = out.getvalue().splitlines()
    assert len(written) == 2 and written[0].startswith("slipcast: skull: Sending images")
    assert written[1].startswith("slipcast: skull: Carving (4/9): 3 of 12 views, 0 s, about 4 s left")
