"""Operator, session, client, sockets, engine process and worker process as they are; only the pipeline is played."""
from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import cli, preferences, pump
from bl_ext.user_default.slipcast.addon.engine_process import is_process_alive
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.bridge.errors import Cancelled, EngineFailed
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
from fake_engine import BAD_MASKS, QUICK, SLOW, STREAM
from fakes import view_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    """Named by the environment variable: a "Python" that runs fake_engine.py; its own data folder each time."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{Path(__file__).parent}/fake_engine.py" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", str(python))
    given = bpy.context.preferences.addons[preferences.ROOT_PACKAGE].preferences
    given.data_folder = str(tmp_path / "data")
    pump.unregister()
    pump.register()
    yield given
    pid = _pid()
    pump.session().close()
    given.keep_engine = False
    if pid:
        _wait(lambda: not is_process_alive(pid))


def _pid() -> int:
    path = preferences.data_folder() / "engine.json"
    return json.loads(path.read_text())["pid"] if path.exists() else 0


def _wait(condition, patience_s: float = 15.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        session = pump.session()
        assert time.monotonic() < deadline, f"{session.engine} {session.engine_why} {session.job} {session.error}"
        session.pump(0.004)
        time.sleep(0.01)


def _begin(tmp_path, seed: int) -> None:
    folder = view_folder(tmp_path / "skull")
    pump.session().generate(GenerateRequest(folder, ViewsSettings(seed=seed), Placement("skull")))


def _names() -> list[str]:
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images, bpy.data.collections)
    return [block.name for kind in kinds for block in kind]


def test_generate_puts_the_object_into_the_scene(tmp_path):
    folder = view_folder(tmp_path / "skull")
    bpy.context.scene.cursor.location = (0, 0, 2)
    assert bpy.ops.slipcast.generate(folder=str(folder), quality="draft", target_size=4.0, import_cameras=True) == \
        {"FINISHED"}
    made = bpy.data.objects["skull"]
    assert tuple(made.location) == (0, 0, 2) and tuple(np.round(made.dimensions, 5)) == (4, 4, 2)
    assert json.loads(made["slipcast_settings"])["quality"] == "draft" and len(made["slipcast_job"]) == 32
    assert made["slipcast_device"] and made["slipcast_engine"] == "0.1.0"
    assert bpy.data.objects["0.png"].parent == made
    assert pump.session().engine == "ready" and pump.session().devices == ("fake cpu",)
    assert not bpy.app.timers.is_registered(pump._tick)


def test_error_of_the_pipeline_reaches_the_script_in_its_own_words_and_the_scene_stays(tmp_path):
    before = _names()
    with pytest.raises(RuntimeError, match=r"in the pictures\. Give masks beside them\."):
        bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / "skull")), seed=BAD_MASKS)
    assert _names() == before


@pytest.mark.parametrize(("make", "words"), [
    (lambda folder: None, "does not exist"),
    (lambda folder: folder.mkdir(), "empty"),
    (lambda folder: (view_folder(folder) / "0.png").unlink(), "0.png"),
])
def test_bad_view_folder_is_an_error_and_the_scene_stays(tmp_path, make, words):
    before = _names()
    make(tmp_path / "views")
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.slipcast.generate(folder=str(tmp_path / "views"))
    assert _names() == before and pump.session().job is None


def test_no_folder_at_all_says_so():
    with pytest.raises(RuntimeError, match="No view folder is chosen"):
        bpy.ops.slipcast.generate()


def test_started_and_stopped_by_hand_from_a_script_it_is_there_and_then_gone():
    assert bpy.ops.slipcast.start_engine() == {"FINISHED"}
    pid = _pid()
    assert pump.session().engine == "ready" and pump.session().devices == ("fake cpu",) and is_process_alive(pid)
    assert bpy.ops.slipcast.stop_engine() == {"FINISHED"}
    assert pump.session().engine == "off" and not pump.session().busy
    _wait(lambda: not is_process_alive(pid))
    assert not (preferences.data_folder() / "engine.json").exists()
    with pytest.raises(RuntimeError, match="The engine is not running"):
        bpy.ops.slipcast.stop_engine()


def test_started_by_hand_with_a_python_that_cannot_run_it_a_script_is_told_why(tmp_path, monkeypatch):
    python = tmp_path / "broken"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", str(python))
    with pytest.raises(RuntimeError, match=r"The engine could not start: .*no such module"):
        bpy.ops.slipcast.start_engine()
    assert pump.session().engine == "failed" and not pump.session().busy


def test_engine_killed_in_the_middle_is_told_of_and_generate_starts_another(tmp_path):
    killer = threading.Thread(target=lambda: (_sleep_until_running(), os.kill(_pid(), signal.SIGKILL)))
    killer.start()
    with pytest.raises(RuntimeError) as caught:
        bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / "skull")), seed=SLOW)
    killer.join()
    assert "The engine stopped while it worked on skull (it was ended by signal 9" in str(caught.value)
    assert "Press Generate to start it again" in str(caught.value)
    # what was shown of the mesh until then is kept, and told; nothing else is new
    assert [thing.name for thing in bpy.data.objects] == ([pump.session().kept] if pump.session().kept else [])
    assert pump.session().engine == "failed" and not pump.session().busy
    started = time.monotonic()
    assert bpy.ops.slipcast.generate(folder=str(tmp_path / "skull"), seed=QUICK) == {"FINISHED"}
    assert time.monotonic() - started < 15  # it did not do the 30 s of the killed job first
    assert "skull" in bpy.data.objects


def _sleep_until_running() -> None:
    while (job := pump.session().job) is None or job.progress is None:
        time.sleep(0.01)


def test_cancel_in_the_middle_is_quick_and_the_engine_takes_the_next_job(tmp_path):
    before = _names()
    _begin(tmp_path, SLOW)
    session = pump.session()
    _wait(lambda: session.job.progress is not None and session.job.progress.done > 2)
    asked = time.monotonic()
    session.cancel()
    _wait(lambda: session.job is None)
    assert time.monotonic() - asked < 2.0  # the played pipeline asks every 0.05 s
    assert isinstance(session.error, Cancelled) and session.engine == "ready" and _names() == before
    _begin(tmp_path, QUICK)
    _wait(lambda: session.job is None)
    assert session.error is None and session.outcome.object_name == "skull"


def test_result_lands_in_the_file_that_is_open_by_then(tmp_path):
    bpy.context.scene.name = "Old"
    folder = view_folder(tmp_path / "skull")
    pump.session().generate(GenerateRequest(folder, ViewsSettings(), Placement("skull"), scene_name="Old"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    _wait(lambda: pump.session().job is None)
    assert pump.session().error is None and "skull" in bpy.context.scene.objects and bpy.context.scene.name == "Scene"


def test_no_drain_keeps_blender_longer_than_8_ms_while_progress_and_previews_stream(tmp_path):
    _begin(tmp_path, STREAM)
    session, drains = pump.session(), []
    _wait(lambda: session.job.progress is not None)
    while session.job.phase == "running":
        started = time.perf_counter()
        session.pump(pump.BUDGET_S)
        drains.append(time.perf_counter() - started)
        time.sleep(pump.TICK_S / 5)  # five times as often as the timer: more numbers in the same time
    assert session.job.previews > 3 and len(drains) > 100
    drains.sort()
    worst, p99 = drains[-1], drains[int(0.99 * (len(drains) - 1))]
    print(f"{len(drains)} drains, {session.job.previews} previews: p99 {p99 * 1e3:.2f} ms, worst {worst * 1e3:.2f} ms")
    assert p99 <= 0.008
    _wait(lambda: session.job is None)


def test_engine_ends_with_the_session_unless_it_is_to_stay(tmp_path, engine):
    pump.session().start_engine()
    _wait(lambda: pump.session().engine == "ready")
    pid = _pid()
    pump.close_session()
    deadline = time.monotonic() + 10
    while is_process_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_process_alive(pid)
    pump.register()
    engine.keep_engine = True
    pump.session().start_engine()
    _wait(lambda: pump.session().engine == "ready")
    pid = _pid()
    pump.close_session()
    time.sleep(1.0)
    assert is_process_alive(pid)
    pump.register()
    pump.session().start_engine()  # finds the one that stayed
    _wait(lambda: pump.session().engine == "ready")
    assert _pid() == pid
    pump.session().stop_engine()
    _wait(lambda: not pump.session().busy)
    assert pump.session().engine == "off" and not (preferences.data_folder() / "engine.json").exists()


def test_connection_file_left_by_a_dead_engine_is_no_engine(tmp_path):
    pump.session().start_engine()
    _wait(lambda: pump.session().engine == "ready")
    left = (preferences.data_folder() / "engine.json").read_text()
    os.kill(_pid(), signal.SIGKILL)
    _wait(lambda: pump.session()._process.poll().state == "failed")
    (preferences.data_folder() / "engine.json").write_text(left)
    pump.session().pump(0.004)
    pump.session().start_engine()
    _wait(lambda: pump.session().engine == "ready")
    assert json.loads(left)["pid"] != _pid()


def test_engine_that_cannot_start_says_why(tmp_path, monkeypatch):
    python = tmp_path / "broken"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'zmq'\" >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", str(python))
    with pytest.raises(RuntimeError, match="could not start: it ended with code 1: ModuleNotFoundError"):
        bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / "skull")))
    assert isinstance(pump.session().error, EngineFailed) and not pump.session().busy


def test_batch_goes_on_after_a_bad_folder_and_reports(tmp_path, capsys):
    view_folder(tmp_path / "in" / "cup")
    (view_folder(tmp_path / "in" / "broken") / "0.png").unlink()
    (tmp_path / "in" / "notes").mkdir()  # not a view folder: no business of ours
    out = tmp_path / "out"
    assert cli.main(["batch", str(tmp_path / "in"), "-o", str(out), "--quality", "draft", "--texture-size", "512"]) == 1
    report = json.loads((out / "report.json").read_text())
    assert [(Path(entry["folder"]).name, entry["state"]) for entry in report["results"]] == \
        [("broken", "failed"), ("cup", "done")]
    assert report["results"][0]["error"]["code"] == "bad_folder" and "0.png" in report["results"][0]["error"]["message"]
    assert report["settings"]["quality"] == "draft" and (report["done"], report["of"]) == (1, 2)
    assert (out / "cup.glb").read_bytes()[:4] == b"glTF" and not (out / "broken.blend").exists()
    table = capsys.readouterr().out.splitlines()
    assert table[-1].startswith("cup ") and "cup.blend" in table[-1] and table[-2].startswith("broken ")
    bpy.ops.wm.open_mainfile(filepath=str(out / "cup.blend"))
    made = bpy.data.objects["cup"]
    assert len(made.data.polygons) == 4 and made.data.materials[0].node_tree.nodes.active.image.packed_file


def test_batch_of_good_folders_ends_with_0(tmp_path):
    view_folder(tmp_path / "in" / "cup")
    assert cli.batch([str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0


def test_batch_makes_a_mesh_of_each_picture_too_with_the_options_of_its_method(tmp_path, capsys):
    view_folder(tmp_path / "in" / "cup")
    for name in ("cup.png", "pear.png", "pear.jpg", "masks/pear.png", ".hidden.png", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    out = tmp_path / "out"
    assert cli.batch([str(tmp_path / "in"), "-o", str(out), "--quality", "draft", "--model", "silhouette",
                      "--face-budget", "900", "--no-project-image"]) == 0
    report = json.loads((out / "report.json").read_text())
    views, *pictures = report["results"]
    assert views["method"] == "views" and views["settings"]["quality"] == "draft" and "model" not in views["settings"]
    assert [Path(entry["picture"]).name for entry in pictures] == ["cup.png", "pear.jpg", "pear.png"]
    for entry in pictures:
        assert (entry["method"], entry["settings"]["model"], entry["settings"]["project_image"]) == \
            ("image", "silhouette", False)
        assert entry["settings"]["face_budget"] == 900 == views["settings"]["face_budget"]
    assert sorted(path.name for path in out.glob("*.glb")) == \
        ["cup.glb", "cup_png.glb", "pear_jpg.glb", "pear_png.glb"]
    assert report["settings"] == {"quality": "draft", "model": "silhouette", "face_budget": 900, "project_image": False}
    for place, words in ((tmp_path / "in" / "cup", "is a view folder itself"), (out / "none", "is not a folder")):
        assert cli.batch([str(place), "-o", str(out)]) == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("argv", [
    [], ["batch"], ["batch", "nowhere", "-o", "out"], ["paint"], ["batch", "{}", "-o", "{}/out", "--quality", "best"],
    ["batch", "{}", "-o", "{}/out", "--face-budget", "3"], ["batch", "{}", "-o", "{}/out"],
    ["batch", "{}", "-o", "/proc/nowhere"],
])
def test_bad_usage_ends_with_2_and_writes_nothing(tmp_path, argv, capsys):
    (tmp_path / "in").mkdir()
    assert cli.main([word.format(tmp_path / "in") for word in argv]) == 2
    assert capsys.readouterr().err and not (tmp_path / "in" / "out").exists()
