"""When results of the history come into the scene, what happens when they cannot, and what a file offers afterwards."""
from __future__ import annotations

import time
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.slipcast.addon import mask_store, pending, preferences, pump
from bl_ext.user_default.slipcast.addon.history import Errand, HistoryDesk
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.operators import history as operators
from bl_ext.user_default.slipcast.addon.scene.results import Placement, prepare_result
from bl_ext.user_default.slipcast.bridge.errors import BadOutput, InternalError
from bl_ext.user_default.slipcast.bridge.events import Fetched
from fakes import JOB, FakeLanding, fake_session, finished
from live_stage import Stage
from shapes import result


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # the engine is played; it must only be named


class Fetching:
    def fetch(self, job, names) -> None:
        return


def _desk_with(finish, why_not_now=str) -> HistoryDesk:
    """A desk whose errand's result has come, and was read."""
    desk = HistoryDesk()
    desk.begin(Errand("Fetching it", (JOB,), (), lambda results: results[0], finish, why_not_now))
    desk.advance(Fetching())
    desk.handle(Fetched(result(JOB)))
    desk.advance(Fetching())
    deadline = time.monotonic() + 5.0
    while desk.errand is not None and not desk.errand.working.done and time.monotonic() < deadline:
        time.sleep(0.002)
    return desk


def test_what_was_fetched_waits_until_the_scene_can_take_it():
    taken, why = [], ["Done; waits for Object Mode"]
    desk = _desk_with(taken.append, lambda: why[0])
    desk.advance(Fetching())
    before = desk.revision
    desk.advance(Fetching())
    assert not taken and desk.busy and desk.errand.waiting_for == why[0] and desk.revision == before
    why[0] = ""
    desk.advance(Fetching())
    assert [each.info.job for each in taken] == [JOB] and not desk.busy and desk.error is None


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, TypeError, AttributeError])
def test_whatever_blender_raises_is_told_and_logged(kind, caplog):
    def fail(_: object) -> None:
        raise kind("not in this scene")

    desk = _desk_with(fail)
    desk.advance(Fetching())
    assert isinstance(desk.error, InternalError) and "not in this scene" in desk.error.message
    assert desk.errand is None and kind.__name__ in caplog.text      # "Blender's terminal says more"


def test_a_comparison_lands_when_a_job_would(monkeypatch):
    begun = []
    monkeypatch.setattr(operators, "begin_errand", begun.append)
    assert bpy.ops.slipcast.compare_results(job="1" * 32, other="2" * 32) == {"FINISHED"}
    bpy.ops.mesh.primitive_cube_add()
    assert begun[0].why_not_now() == ""
    bpy.ops.object.mode_set(mode="EDIT")
    assert begun[0].why_not_now() == SceneLanding().why_not_now() != ""
    for call in (lambda: bpy.ops.slipcast.compare_results(job="1" * 32, other="2" * 32),
                 lambda: bpy.ops.slipcast.import_result(job=JOB)):
        with pytest.raises(RuntimeError, match="Go to Object Mode first"):     # nobody could while a script waits
            call()
    assert len(begun) == 1 and pump.session().job is None


def test_a_result_that_the_scene_does_not_take_is_said_to_be_kept(tmp_path):
    class Refusing(FakeLanding):
        def land(self, prepared, request) -> str:
            raise InternalError("Blender could not take the result.", "The terminal says more.")

    stage = Stage(tmp_path)
    stage.session._landing = Refusing()
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert stage.session.error.hint == ("The terminal says more. The engine keeps the result: it can be had from "
                                        "Results.")


# --- what a file offers
def test_undo_after_a_landing_does_not_offer_the_job_again_but_an_older_file_does(tmp_path):
    stage = Stage(tmp_path)
    stage.session._landing = SceneLanding()
    pending.note(stage.session)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "older.blend"))
    bpy.ops.ed.undo_push(message="before")
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    pending.note(stage.session)                                        # as the pump does
    assert _offered() == ""
    bpy.ops.mesh.primitive_cube_add("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    assert "skull" in bpy.data.objects and _offered() == ""            # the step of the landing
    bpy.ops.ed.undo()
    assert "skull" not in bpy.data.objects and _offered() == ""
    bpy.ops.ed.redo()
    assert "skull" in bpy.data.objects and _offered() == ""
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "older.blend"))   # there it has not landed
    assert "skull" not in bpy.data.objects and _offered() == JOB
    pending.note(stage.session)
    for message in ("as it was", "something"):
        bpy.ops.ed.undo_push(message=message)
    bpy.ops.ed.undo()
    assert _offered() == JOB


def _offered() -> str:
    return pending.offered(bpy.context.scene, pump.session())


def test_the_list_is_there_in_another_file_too():
    given, client, _ = fake_session()
    pump.open_session(given)
    client.jobs = (result("1" * 32).info, result("2" * 32).info)
    given.start_engine()
    pump.wait_until(lambda: given.history.loaded)
    shown = [item.name for item in bpy.context.window_manager.slipcast_history.jobs]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert [item.name for item in bpy.context.window_manager.slipcast_history.jobs] == shown == ["1" * 32, "2" * 32]


# --- the masks that are kept beside it
def test_masks_are_kept_in_the_users_settings_also_when_slipcast_is_no_extension(monkeypatch, tmp_path):
    monkeypatch.setattr(preferences, "ROOT_PACKAGE", "slipcast")
    monkeypatch.setattr(bpy.utils, "user_resource", lambda kind, path="", create=False: str(tmp_path / path))
    assert preferences.user_folder() == tmp_path / "slipcast" == preferences.data_folder()
    assert preferences.user_folder("masks") == tmp_path / "slipcast" / "masks"


def test_a_folder_that_cannot_be_made_is_no_current_folder_and_costs_no_result(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bpy.utils, "extension_path_user", lambda package, path="", create=False: "")
    with pytest.raises(BadOutput, match="cannot be written"):
        preferences.user_folder("masks", create=True)
    mask_store.keep_masks(JOB, b"PK\x05\x06" + bytes(18), [])
    assert list(tmp_path.iterdir()) == [] and "are not kept" in caplog.text


def test_masks_that_cannot_be_kept_leave_a_result_and_its_undo_step(monkeypatch):
    from bl_ext.user_default.slipcast.addon import landing

    def fail(*_: object) -> None:
        assert "Sheet" in bpy.data.objects
        raise KeyError("an archive like none before")

    monkeypatch.setattr(landing, "keep_masks", fail)
    pushed = []
    monkeypatch.setattr(landing, "push_undo", pushed.append)
    prepared = prepare_result(result(JOB), Placement("Sheet"))
    object.__setattr__(prepared, "masks", b"something")
    with pytest.raises(KeyError):
        SceneLanding().land(prepared, GenerateRequest(Path("/v"), None, prepared.placement, bpy.context.scene.name))
    assert pushed == ["Slipcast Sheet"]
