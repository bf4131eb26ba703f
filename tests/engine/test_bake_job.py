"""Method "bake": an artist's mesh comes back as it went in, with the colours of its views at its own coordinates."""
from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from meshes import RADIUS, textured, write_painted_folder
from skin import ball

from slipcast.bridge.errors import BadFolder, BadMesh
from slipcast.bridge.folders import collect_view_folder
from slipcast.bridge.settings import METHODS, BakeSettings
from slipcast.engine import __main__ as command_line
from slipcast.engine.models.shelf import open_shelf
from slipcast.engine.pipeline.bake_job import STAGES, bake_from_views
from slipcast.engine.pipeline.export import write_mesh
from slipcast.engine.pipeline.mesh_files import read_mesh
from slipcast.engine.pipeline.progress import Run
from slipcast.engine.pipeline.types import PipelineResult
from slipcast.engine.runners import run_method

QUICK = BakeSettings(quality="draft", texture_px=512)


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    write_painted_folder(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


def baked(mesh: Path, views: Path) -> PipelineResult:
    return bake_from_views({**collect_view_folder(views), f"mesh{mesh.suffix}": mesh}, QUICK, Run(STAGES), "cpu")


def painted(points: np.ndarray) -> np.ndarray:
    """Colours of write_painted_folder, sRGB bytes, at points of its ball."""
    return 128 + 100 * np.sin(3 * points / np.linalg.norm(points, axis=1)[:, None] * RADIUS + [0, 1, 2])


def test_the_mesh_stays_bit_by_bit_and_shows_the_views_at_its_own_coordinates(views, tmp_path):
    given = textured(ball(3, RADIUS))
    write_mesh(tmp_path / "mesh.npz", given)
    result = baked(tmp_path / "mesh.npz", views)
    made = result.textured
    assert (made.mesh.vertices == given.mesh.vertices).all() and (made.mesh.faces == given.mesh.faces).all()
    assert (made.corner_uvs == given.corner_uvs).all() and result.warnings == ()
    centre = made.mesh.vertices[made.mesh.faces].mean(1)
    u, v = (made.corner_uvs.mean(1) * 512).astype(int).T
    assert np.abs(made.base_color[511 - v, u] - painted(centre)).mean() < 6     # of 255; a pixel of the views is .028


def test_a_mesh_without_coordinates_gets_some_and_is_told(views, tmp_path):
    write_mesh(tmp_path / "mesh.stl", textured(ball(2, RADIUS)))
    result = baked(tmp_path / "mesh.stl", views)
    assert result.textured.corner_uvs.shape == (320, 3, 2) and "new ones were made" in result.warnings[0]
    assert result.textured.base_color.std() > 40


def test_coordinates_outside_the_texture_or_on_top_of_each_other_are_told(views, tmp_path):
    mesh = ball(2, RADIUS)
    uvs = np.tile(np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]], np.float32), (len(mesh.faces), 1, 1))
    uvs[:20] += 2.0
    np.savez(tmp_path / "mesh.npz", vertices=mesh.vertices, faces=mesh.faces, corner_uvs=uvs)
    words = " ".join(baked(tmp_path / "mesh.npz", views).warnings)
    assert "20 faces have texture coordinates outside" in words and "on top of each other" in words


def test_a_mesh_that_is_elsewhere_or_missing_is_refused_with_what_to_do(views, tmp_path):
    write_mesh(tmp_path / "mesh.npz", textured(ball(2, 0.3, (2.3, 0, 0))))
    with pytest.raises(BadMesh, match="not where the views show the object"):
        baked(tmp_path / "mesh.npz", views)
    with pytest.raises(BadFolder, match="no mesh among the files"):
        bake_from_views(collect_view_folder(views), QUICK, Run(STAGES), "cpu")


def test_the_engine_runs_the_method_and_delivers_what_a_generate_delivers(views, tmp_path):
    class Link:
        stages: list[str] = []

        def report(self, progress):
            self.stages.append(progress.stage)

        def is_cancelled(self):
            return False

        is_enough = is_cancelled

    assert METHODS["bake"] is BakeSettings
    write_mesh(tmp_path / "mesh.npz", textured(ball(2, RADIUS)))
    files = {**collect_view_folder(views), "mesh.npz": tmp_path / "mesh.npz"}
    outputs, summary = run_method("bake", {"quality": "draft", "texture_px": 512}, files, Link(), "cpu",
                                  open_shelf(tmp_path))
    names = [item.name for item in outputs]
    assert names[:5] == ["vertices", "faces", "corner_uvs", "base_color", "cameras"] and "thumbnail" in names
    assert summary["method"] == "bake" and summary["faces"] == 320
    assert list(dict.fromkeys(Link.stages)) == list(STAGES)


def test_the_command_writes_the_painted_mesh(views, tmp_path, capsys):
    write_mesh(tmp_path / "mesh.obj", textured(ball(2, RADIUS)))
    code = command_line.main(["bake", str(tmp_path / "mesh.obj"), str(views), "-o", str(tmp_path / "out.glb"),
                              "--quality", "draft", "--texture-size", "512", "--device", "cpu", "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0 and told["method"] == "bake" and told["faces"] == 320
    before, after = (read_mesh(tmp_path / name, Path(name).suffix) for name in ("mesh.obj", "out.glb"))
    assert np.abs(after.corner_uvs - before.corner_uvs).max() < 1e-6
    assert command_line.main(["bake", str(tmp_path / "none.obj"), str(views), "-o", str(tmp_path / "x.glb")]) == 2
    assert command_line.main(["bake", str(tmp_path / "mesh.obj"), str(views), "-o", str(tmp_path / "mesh.obj")]) == 2
    assert "overwrite" in capsys.readouterr().err
