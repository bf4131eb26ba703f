"""`blender -c slipcast batch` is only dispatched by a real Blender, not by the bpy module."""
from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def installed(real_blender):
    done = real_blender.run("--command", "extension", "install-file", "--repo", "user_default", "--enable",
                            str(real_blender.zip))
    assert done.returncode == 0, done.stdout + done.stderr
    return real_blender


def test_batch_as_a_command_writes_files_and_ends_with_0(installed):
    out = installed.folder / "batch"
    done = installed.run("--command", "slipcast", "batch", str(installed.views), "-o", str(out), "--quality", "draft",
                         SLIPCAST_ENGINE_PYTHON=str(installed.engine_python))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((out / "report.json").read_text())["done"] == 1
    assert (out / "skull.blend").stat().st_size > 0 and (out / "skull.glb").read_bytes()[:4] == b"glTF"
    assert "skull.glb" in done.stdout  # the table
    assert "slipcast: skull: " in done.stderr  # progress


def test_batch_without_an_engine_ends_with_1_and_says_what_to_do(installed):
    done = installed.run("--command", "slipcast", "batch", str(installed.views), "-o", str(installed.folder / "none"))
    assert done.returncode == 1
    assert "Preferences > Add-ons > Slipcast > Engine Python" in done.stderr


def test_bad_usage_ends_with_2(installed):
    done = installed.run("--command", "slipcast", "batch")
    assert done.returncode == 2 and "usage" in done.stderr
