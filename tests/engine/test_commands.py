"""What the commands of this process check before the work, and where they look for weights."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skin import ball, one_chart_a_face

from slipcast.engine import __main__ as command_line
from slipcast.engine.pipeline.export import files_beside, write_mesh
from slipcast.engine.pipeline.types import TexturedMesh


def test_every_file_that_is_written_beside_another_is_known_beforehand(tmp_path):
    mesh, grey = ball(1), np.full((16, 16, 3), 128, np.uint8)
    made = TexturedMesh(mesh, one_chart_a_face(mesh).corner_uvs, grey, normal_map=grey)
    for suffix in (".glb", ".obj", ".ply", ".stl", ".npz"):
        path = tmp_path / f"ball{suffix}"
        assert write_mesh(path, made) == (path, *files_beside(path))


@pytest.mark.parametrize("read", ["a.png", "a_normal.png"])
def test_no_picture_that_is_read_is_written_over_by_what_comes_beside_an_obj(tmp_path, capsys, read):
    Image.new("RGB", (8, 8)).save(tmp_path / read)
    code = command_line.main(["generate", str(tmp_path / read), "-o", str(tmp_path / "a.obj"), "--device", "cpu"])
    assert code == 2 and f"would overwrite {tmp_path / read}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [read]


def test_the_folder_of_the_weights_may_be_below_the_persons_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights" / "triposr" / "model.ckpt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"short")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code = command_line.main(["generate", "a.png", "-o", "a.glb", "--model", "triposr", "--device", "cpu",
                              "--models-folder", "~/weights"])
    assert code == 1 and "has 5 bytes" in capsys.readouterr().err     # found, which elsewhere it would not be
    assert not Path("a.glb").exists()
