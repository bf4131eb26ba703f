"""`python -m slipcast.engine generate` as a person or a script meets it."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import picture_of
from PIL import Image
from scenes import cameras_around, write_view_folder

from slipcast.bridge.settings import MAX_FACES
from slipcast.engine import __main__ as command_line
from slipcast.engine import commands
from slipcast.engine.pipeline.generate import STAGES

FAST = ("--quality", "draft", "--face-budget", "800", "--texture-size", "512", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("views")
    write_view_folder(path, cameras_around(6, size=96, focal=150.0))
    return path


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "slipcast.engine", "generate", *map(str, arguments)]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, **options)


def test_generate_writes_every_file_asked_for_and_ends_with_one_line_of_json(folder, tmp_path):
    done = run(folder, "-o", tmp_path / "ball.glb", "-o", tmp_path / "ball.obj", "--json", *FAST)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    summary = json.loads(lines[0])
    assert {"job", "method", "device", "seconds", "stages", "vertices", "faces", "files"} <= set(summary)
    assert summary["method"] == "views" and summary["device"] == "cpu"
    assert [stage["name"] for stage in summary["stages"]] == list(STAGES)
    assert 0 < sum(stage["seconds"] for stage in summary["stages"]) <= summary["seconds"]
    assert 100 < summary["faces"] <= 800
    assert [Path(file).name for file in summary["files"]] == ["ball.glb", "ball.obj", "ball.mtl", "ball.png",
                                                                "ball_normal.png"]
    assert all(Path(file).stat().st_size > 0 for file in summary["files"])
    assert all(name in done.stderr for name in STAGES)         # progress, in plain lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.glb", "ball.mtl", "ball.obj", "ball.png",
                                                                 "ball_normal.png"]


def main(capsys, *arguments) -> tuple[int, str, str]:
    """The command in this process, for what ends before the heavy work."""
    code = command_line.main(["generate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def bad_image(target: Path) -> None:
    target.mkdir()
    write_view_folder(target, cameras_around(4, size=40, focal=60.0))
    picture = target / "00.png"
    picture.write_bytes(picture.read_bytes()[:60])


@pytest.mark.parametrize("given,says", [
    (("{folder}", "-o", "{tmp}/ball.fbx"), ".fbx"),
    (("{folder}", "-o", "{tmp}/missing/ball.glb"), "does not exist"),
    (("{folder}", "-o", "{tmp}/ball.glb", "--device", "gpu"), "gpu"),
    (("{folder}", "-o", "{tmp}/ball.glb", "--face-budget", "3"), "face_budget"),
    (("{folder}", "-o", "{tmp}/ball.glb", "--face-budget", str(MAX_FACES + 1)), "face_budget"),
    (("{tmp}/nowhere", "-o", "{tmp}/ball.glb"), "nowhere"),
    (("{tmp}/empty", "-o", "{tmp}/ball.glb"), "empty"),
    (("{tmp}/broken", "-o", "{tmp}/ball.glb"), "00.png"),
])
def test_bad_input_ends_with_2_and_one_clear_message(folder, tmp_path, capsys, given, says):
    (tmp_path / "empty").mkdir()
    bad_image(tmp_path / "broken")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = main(capsys, *(text.format(folder=folder, tmp=tmp_path) for text in given))
    message = [line for line in err.splitlines() if line.startswith("slipcast: ")]
    assert code == 2
    assert len(message) == 1 and says in message[0]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unwritable_place_is_refused_before_any_work(folder, tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    from slipcast.engine.pipeline import export

    monkeypatch.setattr(export.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(commands, "collect_view_folder", lambda path: pytest.fail("work began"))
    code, _, err = main(capsys, folder, "-o", tmp_path / "ball.glb")
    assert code == 2 and "Permission denied" in err


@pytest.mark.parametrize("arguments", [[], ["generate"], ["generate", "x"], ["fly"],
                                       ["generate", "x", "-o", "y.glb", "--quality", "best"],
                                       ["generate", "x", "-o", "y.glb", "--texture-size", "1000"]])
def test_bad_usage_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_names_every_knob_of_the_settings_with_its_default(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["generate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--quality", "--face-budget", "--texture-size", "--seed", "--device", "--json", "(default: 20000)"):
        assert option in text


def test_a_bug_ends_with_1_and_a_traceback_only_when_asked_for(folder, tmp_path, capsys, monkeypatch):
    def broken(path):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(commands, "collect_view_folder", broken)
    code, _, err = main(capsys, folder, "-o", tmp_path / "ball.glb")
    assert code == 1 and "oops" in err and "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_and_leaves_nothing(tmp_path, number, code):
    path = tmp_path / "views"
    path.mkdir()
    write_view_folder(path, cameras_around(10, size=400, focal=600.0))
    out = tmp_path / "out"
    out.mkdir()
    job = subprocess.Popen(command(path, "-o", out / "ball.glb", "--quality", "high", "--device", "cpu"),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while "hull" not in (line := job.stdout.readline()):
            assert line, job.stderr.read()
        job.send_signal(number)
        sent = time.monotonic()
        _, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == code
    assert time.monotonic() - sent < 5       # 1 s of patience, and what a busy machine takes to end a process
    assert "Cancelled" in err and "Traceback" not in err
    assert list(out.iterdir()) == []


def test_start_by_file_path_works_from_a_folder_of_any_name(tmp_path):
    root = Path(command_line.__file__).resolve().parents[1]
    copy = tmp_path / "some-extension_1.2"
    copy.symlink_to(root, target_is_directory=True)
    done = subprocess.run([sys.executable, "-P", str(copy / "engine" / "start.py"), "generate", str(tmp_path / "none"),
                           "-o", str(tmp_path / "x.glb")], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and "none" in done.stderr




# --- one picture ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "ring.png"
    Image.fromarray(picture_of("ring")).save(path)
    return path


def test_a_picture_becomes_a_mesh_and_the_json_says_by_which_model_and_why(picture, tmp_path):
    small = ("--face-budget", "800", "--texture-size", "512", "--resolution", "64", "--device", "cpu")
    outputs = [part for suffix in ("glb", "obj", "stl", "ply") for part in ("-o", tmp_path / f"ring.{suffix}")]
    done = run(picture, *outputs, "--turntable", tmp_path / "turn", "--json", "--models-folder", tmp_path, *small)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    summary = json.loads(line)
    assert summary["method"] == "image" and summary["model"] == "silhouette" and summary["licence"] == ""
    assert [stage["name"] for stage in summary["stages"]] == [
        "image", "foreground", "model", "outline", "inflate", "surface", "simplify", "unwrap", "texture", "padding"]
    assert "models fetch triposr" in summary["warnings"][0]
    turn = [f"turntable_{index:03}.png" for index in range(30)] + ["turntable.mp4"]
    assert [Path(file).name for file in summary["files"]] == \
        ["ring.glb", "ring.obj", "ring.mtl", "ring.png", "ring.stl", "ring.ply", *turn]
    assert all(Path(file).stat().st_size > 0 for file in summary["files"])


@pytest.mark.parametrize(("given", "code", "words"), [
    (("--quality", "draft"), 2, "--quality cannot be used with one picture"),
    (("--model", "dreamer"), 2, "There is no model called 'dreamer'"),
    (("--model", "triposr"), 1, "models fetch triposr"),
    (("--model-settings", "{"), 2, "no JSON"),
    (("--mask", "nowhere.png"), 2, "The mask cannot be read"),
    (("--background", "rembg:u2net", "--no-project-image"), 1, "models fetch u2net"),
])
def test_what_a_picture_cannot_be_made_with_is_one_line_and_nothing_is_written(capsys, picture, tmp_path, given, code,
                                                                               words):
    out = tmp_path / "out"
    out.mkdir()
    ended, _, told = main(capsys, picture, "-o", out / "a.glb", "--models-folder", tmp_path, "--device", "cpu", *given)
    assert ended == code and words in told and not list(out.iterdir())


def test_options_for_a_picture_are_refused_for_a_folder(capsys, folder, tmp_path):
    code, _, told = main(capsys, folder, "-o", tmp_path / "a.glb", "--model", "triposr", "--mask", "m.png")
    assert code == 2 and "--model, --mask cannot be used with a folder of views" in told


def test_a_picture_is_not_written_over(capsys, picture, tmp_path):
    code, _, told = main(capsys, picture, "-o", picture.with_suffix(".obj"))     # NAME.png comes beside it
    assert code == 2 and "would overwrite" in told
