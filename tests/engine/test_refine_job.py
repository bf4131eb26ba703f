"""The command `refine`: an artist's mesh in, the same mesh fitted and coloured out; bad input in clear words."""
from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import trimesh
from meshes import BAD_MESHES, RADIUS, textured, three_faces_at_an_edge, write_painted_folder
from skin import ball, to_trimesh

from slipcast.bridge.errors import BadFolder
from slipcast.bridge.folders import collect_view_folder
from slipcast.bridge.settings import RefineMeshSettings
from slipcast.engine import __main__ as command_line
from slipcast.engine.models.shelf import open_shelf
from slipcast.engine.pipeline.export import write_mesh
from slipcast.engine.pipeline.mesh_files import read_mesh
from slipcast.engine.pipeline.progress import Run
from slipcast.engine.pipeline.refine_job import SCORED_STAGES, STAGES, refine_from_views
from slipcast.engine.pipeline.types import Mesh, PipelineResult, TexturedMesh
from slipcast.engine.runners import run_method

QUICK = RefineMeshSettings(quality="draft", iterations=40, texture_px=512, face_budget=1500)


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    write_painted_folder(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The command takes every processor that it may; tests share them with others."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


def refined(mesh: Path, views: Path, score: bool = False, **wishes) -> PipelineResult:
    files = {**collect_view_folder(views), f"mesh{mesh.suffix}": mesh}
    settings = RefineMeshSettings(**{**QUICK.__dict__, **wishes})
    return refine_from_views(files, settings, Run(SCORED_STAGES if score else STAGES), "cpu", score)


def radii(mesh: Mesh) -> np.ndarray:
    return np.linalg.norm(mesh.vertices, axis=1)


@pytest.mark.parametrize("suffix", [".npz", ".obj", ".glb"])
def test_keep_topology_gives_back_exactly_the_given_faces_and_coordinates(suffix, views, tmp_path):
    given = textured(ball(3))
    write_mesh(tmp_path / f"mesh{suffix}", given)
    before = read_mesh(tmp_path / f"mesh{suffix}", suffix)
    result = refined(tmp_path / f"mesh{suffix}", views, keep_topology=True).textured
    assert before.corner_uvs is not None
    assert (result.mesh.faces == before.mesh.faces).all() and (result.corner_uvs == before.corner_uvs).all()
    assert len(result.mesh.vertices) == len(before.mesh.vertices)
    # a pixel of these views is 0.028 wide at the object
    assert np.abs(radii(result.mesh) - RADIUS).mean() < 0.02
    write_mesh(tmp_path / f"out{suffix}", result)
    after = read_mesh(tmp_path / f"out{suffix}", suffix)
    assert after.corner_uvs is not None and after.mesh.faces.shape == before.mesh.faces.shape
    assert np.abs(after.corner_uvs - before.corner_uvs).max() < 1e-6     # .obj has 7 digits, .glb counts v from above


def test_the_texture_shows_what_the_views_show(views, tmp_path):
    write_mesh(tmp_path / "mesh.npz", textured(ball(3)))
    result = refined(tmp_path / "mesh.npz", views, keep_topology=True).textured
    centre = result.mesh.vertices[result.mesh.faces].mean(1)
    u, v = (result.corner_uvs.mean(1) * 512).astype(int).T
    shown = result.base_color[511 - v, u].astype(float)
    wanted = 128 + 100 * np.sin(3 * centre / np.linalg.norm(centre, axis=1)[:, None] * RADIUS + [0, 1, 2])
    assert np.abs(shown - wanted).mean() < 8           # of 255; the pattern runs over 100 on half the ball


def test_locked_vertices_are_written_bit_by_bit_as_they_came(views, tmp_path):
    mesh = ball(3)
    weights = (mesh.vertices[:, 0] < 0).astype(np.float32)
    np.savez(tmp_path / "mesh.npz", vertices=mesh.vertices, faces=mesh.faces, paint=weights)
    result = refined(tmp_path / "mesh.npz", views, keep_topology=True, weights="paint")
    write_mesh(tmp_path / "out.npz", result.textured)
    after = read_mesh(tmp_path / "out.npz", ".npz").mesh
    locked = weights == 0
    assert (after.vertices[locked] == mesh.vertices[locked]).all() and locked.sum() > 300
    assert radii(after)[mesh.vertices[:, 0] < -0.3].mean() > 1.06


def test_without_keep_topology_the_mesh_gets_new_faces_within_the_budget(views, tmp_path):
    write_mesh(tmp_path / "mesh.stl", textured(ball(2)))
    result = refined(tmp_path / "mesh.stl", views).textured
    assert 500 < len(result.mesh.faces) <= 1500 and result.corner_uvs.shape == (len(result.mesh.faces), 3, 2)
    assert to_trimesh(result.mesh).is_watertight and np.abs(radii(result.mesh) - RADIUS).mean() < 0.02


def test_symmetry_survives_the_budget(views, tmp_path):
    np.savez(tmp_path / "mesh.npz", vertices=ball(3).vertices, faces=ball(3).faces)
    mesh = refined(tmp_path / "mesh.npz", views, symmetry="y", face_budget=900).textured.mesh
    image = mesh.vertices * [1, -1, 1]
    assert np.linalg.norm(image[:, None] - mesh.vertices[None], axis=2).min(1).max() < 1e-6
    assert 400 < len(mesh.faces) <= 1.1 * 900


def test_an_artists_odd_mesh_is_kept_as_it_is_and_still_fitted(views, tmp_path):
    odd = three_faces_at_an_edge()
    faces = np.concatenate([odd.faces[:-30], odd.faces[-1:], [[3, 3, 4]]]).astype(np.int32)
    write_mesh(tmp_path / "mesh.npz", textured(Mesh(odd.vertices, faces)))
    result = refined(tmp_path / "mesh.npz", views, keep_topology=True)
    assert (result.textured.mesh.faces == faces).all() and np.isfinite(result.textured.mesh.vertices).all()
    assert radii(result.textured.mesh)[faces[:200]].mean() > 1.06


def test_without_coordinates_kept_faces_get_new_ones_and_it_is_told(views, tmp_path):
    write_mesh(tmp_path / "mesh.stl", textured(ball(2)))
    result = refined(tmp_path / "mesh.stl", views, keep_topology=True)
    assert len(result.textured.mesh.faces) == 320
    assert result.warnings == ("The mesh has no texture coordinates, so new ones were made. Its faces and vertices "
                               "stay as they are.",)
    np.savez(tmp_path / "flat.npz", vertices=ball(2).vertices, faces=ball(2).faces, corner_uvs=np.zeros((320, 3, 2)))
    flat = refined(tmp_path / "flat.npz", views, keep_topology=True)
    assert flat.warnings[0].startswith("The mesh has no texture coordinates with any area, so new ones")


def test_coordinates_that_lie_on_each_other_or_outside_are_kept_and_told(views, tmp_path):
    mesh = ball(2)
    uvs = textured(mesh).corner_uvs.copy()
    uvs[:100] = uvs[100:200]
    uvs[-3:] += 2
    write_mesh(tmp_path / "mesh.npz", TexturedMesh(mesh, uvs, np.zeros((8, 8, 3), np.uint8)))
    result = refined(tmp_path / "mesh.npz", views, keep_topology=True)
    assert (result.textured.corner_uvs == uvs).all()
    assert result.warnings[0].startswith("3 faces have texture coordinates outside the texture")
    assert result.warnings[1].startswith("Texture coordinates lie on top of each other on 46% of the texture")


def test_a_mesh_that_hardly_fits_is_told(views, tmp_path):
    write_mesh(tmp_path / "mesh.npz", textured(ball(2, 0.6, (0, 0, 0.3))))
    result = refined(tmp_path / "mesh.npz", views)
    assert any("agree poorly: their outlines overlap by" in text for text in result.warnings)


def test_views_that_contradict_the_mesh_and_each_other_are_told(tmp_path):
    """The cameras of a box's views are shuffled among them: what one shows, the others deny."""
    folder = tmp_path / "views"
    folder.mkdir()
    shape = trimesh.creation.box((0.5, 1.1, 1.9)).subdivide().subdivide()
    mesh = Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
    write_mesh(tmp_path / "mesh.npz", textured(Mesh(0.9 * mesh.vertices, mesh.faces)))
    write_painted_folder(folder, 16, truth=mesh)
    assert refined(tmp_path / "mesh.npz", folder, keep_topology=True).warnings == ()
    table = json.loads((folder / "transforms.json").read_text())
    poses = [frame["transform_matrix"] for frame in table["frames"]]
    for frame, pose in zip(table["frames"], poses[5:] + poses[:5]):
        frame["transform_matrix"] = pose
    (folder / "transforms.json").write_text(json.dumps(table))
    told = refined(tmp_path / "mesh.npz", folder, keep_topology=True).warnings[-1]
    assert "The views contradict the mesh, or each other: the outlines" in told and "cameras and masks" in told


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = command_line.main(["refine", *map(str, arguments), "--quality", "draft", "--device", "cpu"])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_writes_the_file_and_scores_by_views_that_were_not_fitted(views, tmp_path, capsys):
    write_mesh(tmp_path / "mesh.glb", textured(ball(2)))
    code, out, _ = run(capsys, tmp_path / "mesh.glb", views, "-o", tmp_path / "out.glb", "--iterations", 30,
                       "--texture-size", 512, "--face-budget", 1000, "--json")
    summary = json.loads(out.splitlines()[-1])
    assert code == 0 and summary["method"] == "refine" and (tmp_path / "out.glb").exists()
    assert [stage["name"] for stage in summary["stages"]] == list(SCORED_STAGES)
    scores = summary["scores"]
    assert scores["views"] == ["07.png"]
    # the outline of a ball of radius 1 in that of 1.1: (sin of the half angles from 4 away)
    assert scores["before"]["iou"] == pytest.approx((1 / 1.1)**2 * (16 - 1.21) / 15, abs=0.02)
    assert scores["after"]["iou"] > 0.97 and scores["after"]["loss"] < 0.3 * scores["before"]["loss"]
    assert scores["after"]["psnr_db"] > scores["before"]["psnr_db"] + 6 and scores["texture_psnr_db"] > 21


def test_without_scores_every_view_is_fitted_and_few_views_have_none(views, tmp_path, capsys):
    write_mesh(tmp_path / "mesh.npz", textured(ball(2)))
    arguments = ("--iterations", 2, "--texture-size", 512, "--keep-topology", "--json")
    _, out, _ = run(capsys, tmp_path / "mesh.npz", views, "-o", tmp_path / "o.npz", *arguments, "--no-scores")
    assert "scores" not in json.loads(out) and json.loads(out)["warnings"] == []
    few = tmp_path / "few"
    few.mkdir()
    write_painted_folder(few, 6)
    _, out, _ = run(capsys, tmp_path / "mesh.npz", few, "-o", tmp_path / "o.npz", *arguments)
    assert "scores" not in json.loads(out)
    assert json.loads(out)["warnings"] == ["There are fewer than 8 usable views, so none was left out and there are no "
                                           "scores."]


@pytest.mark.parametrize("name", BAD_MESHES)
def test_a_bad_mesh_ends_with_2_its_own_words_what_to_do_and_nothing_written(name, views, tmp_path, capsys,
                                                                            monkeypatch):
    make, more, words = BAD_MESHES[name]
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    mesh = next((path for path in tmp_path.glob("mesh.*") if path.suffix not in (".mtl", ".png")), Path("mesh.glb"))
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run(capsys, mesh, views, "-o", "out.glb", *more)
    line = err.splitlines()[-1]
    assert line.startswith("slipcast: ") and words in line, line
    assert code == 2 and len(line.removeprefix("slipcast: ").split(". ")) >= 2
    assert sorted(tmp_path.rglob("*")) == before


def test_free_mode_parts_what_touches_and_drops_faces_without_area(views, tmp_path):
    odd = three_faces_at_an_edge()
    faces = np.concatenate([odd.faces, [[3, 3, 4]], odd.faces[:1]]).astype(np.int32)
    np.savez(tmp_path / "mesh.npz", vertices=odd.vertices, faces=faces)
    result = refined(tmp_path / "mesh.npz", views).textured.mesh
    assert np.isfinite(result.vertices).all() and 500 < len(result.faces) <= 1500
    assert np.abs(radii(result) - RADIUS).mean() < 0.03


class Link:
    """The run of a worker that nobody listens to."""

    def __init__(self, enough: bool = False) -> None:
        self.previews: list[object] = []
        self.enough = enough

    def report(self, progress: object) -> None:
        pass

    def is_cancelled(self) -> bool:
        return False

    def is_enough(self) -> bool:
        return self.enough

    def preview(self, pack, state) -> None:
        self.previews.append(pack())


def test_three_runs_of_the_method_give_the_same_bytes(views, tmp_path):
    write_mesh(tmp_path / "mesh.npz", textured(ball(2)))
    files = {**collect_view_folder(views), "mesh.npz": tmp_path / "mesh.npz"}
    wishes = {"quality": "draft", "keep_topology": True, "iterations": 20, "texture_px": 512}
    link = Link()
    shelf = open_shelf(tmp_path)
    runs = [run_method("refine", wishes, files, link, "cpu", shelf) for _ in range(3)]      # type: ignore[arg-type]
    assert len({tuple(output.data for output in outputs) for outputs, _ in runs}) == 1 and link.previews
    assert [output.name for output in runs[0][0]] == ["vertices", "faces", "corner_uvs", "base_color", "cameras",
                                                     "masks", "thumbnail", "input_thumbnail"]
    assert runs[0][1]["method"] == "refine" and runs[0][1]["warnings"] == []


def test_a_job_without_a_mesh_says_so(views):
    with pytest.raises(BadFolder, match="There is no mesh among the files"):
        refine_from_views(collect_view_folder(views), QUICK, Run(STAGES), "cpu")


def test_a_mesh_found_good_enough_goes_on_to_its_texture_and_the_summary_tells(views, tmp_path):
    write_mesh(tmp_path / "mesh.npz", textured(ball(2)))
    files = {**collect_view_folder(views), "mesh.npz": tmp_path / "mesh.npz"}
    wishes = {"quality": "draft", "keep_topology": True, "iterations": 5000, "texture_px": 512}
    outputs, summary = run_method("refine", wishes, files, Link(enough=True), "cpu", open_shelf(tmp_path))
    made = {output.name: output.data for output in outputs}
    assert np.array_equal(np.frombuffer(made["vertices"], "<f4").reshape(-1, 3), ball(2).vertices)
    assert summary["finished_early"] is True and made["base_color"].startswith(b"\x89PNG")
