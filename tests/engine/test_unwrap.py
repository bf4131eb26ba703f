"""Texture coordinates: inside the square, without overlap, padded, in bounded time."""
from __future__ import annotations

import threading
import time

import numpy as np
import psutil
import pytest
import trimesh
from scenes import make_stage
from skin import ball, to_mesh

from slipcast.bridge.errors import Cancelled
from slipcast.engine.pipeline import unwrap
from slipcast.engine.pipeline.atlas import charts_of_corners, overlap_fraction, pack_shelves, texel_owners
from slipcast.engine.pipeline.types import Mesh, UvMesh
from slipcast.engine.pipeline.unwrap import UnwrapSettings, unwrap_mesh

TORUS = to_mesh(trimesh.creation.torus(1.0, 0.4, major_sections=48, minor_sections=24))


def helix() -> Mesh:
    """A ribbon wound round the vertical axis: seen from above, or from any side, it lies over itself."""
    turn = np.linspace(0, 6 * np.pi, 200)
    rim = np.stack([np.cos(turn), np.sin(turn), turn / 10], -1)
    vertices = np.concatenate([rim, rim * [0.6, 0.6, 1]]).astype(np.float32)
    i = np.arange(199)
    faces = np.concatenate([np.stack([i, i + 1, i + 200], -1), np.stack([i + 1, i + 201, i + 200], -1)])
    return Mesh(vertices, faces.astype(np.int32))


def gap_between_charts(result: UvMesh, texture_px: int) -> float:
    """Smallest distance in texels between texels of different charts."""
    from scipy.spatial import cKDTree

    texel, face = texel_owners(result.corner_uvs, texture_px)
    place = np.stack([texel // texture_px, texel % texture_px], -1)
    chart = result.chart_of_face[face]
    return float(min(cKDTree(place[chart == number]).query(place[chart != number])[0].min()
                     for number in np.unique(chart)))


@pytest.mark.parametrize("mesh", [ball(4), TORUS, helix()], ids=["ball", "torus", "helix"])
@pytest.mark.parametrize("limit_s", [60.0, 0.0], ids=["xatlas", "own charts"])
def test_uvs_lie_in_the_square_without_overlap(mesh, limit_s):
    warnings: list[str] = []
    result = unwrap_mesh(mesh, UnwrapSettings(time_limit_s=limit_s), make_stage(warnings))
    assert result.corner_uvs.shape == (len(mesh.faces), 3, 2)
    assert result.corner_uvs.min() >= 0 and result.corner_uvs.max() <= 1
    assert overlap_fraction(result.corner_uvs) < 0.002      # texel centres on a shared border, no more
    texel, _ = texel_owners(result.corner_uvs, 512)
    assert len(np.unique(texel)) / 512**2 > 0.3             # a texture that is mostly used
    assert bool(warnings) == (limit_s == 0.0)


@pytest.mark.parametrize("limit_s", [60.0, 0.0], ids=["xatlas", "own charts"])
@pytest.mark.parametrize("texture_px", [512, 2048])
def test_charts_keep_their_distance(limit_s, texture_px):
    result = unwrap_mesh(ball(3), UnwrapSettings(texture_px=texture_px, time_limit_s=limit_s), make_stage([]))
    wanted = max(2, texture_px // 512)          # a border of this many texels on either side, at least one of the two
    assert gap_between_charts(result, texture_px) > wanted


def test_charts_are_not_stretched():
    result = unwrap_mesh(TORUS, UnwrapSettings(), make_stage())
    sides = result.corner_uvs[:, [1, 2]] - result.corner_uvs[:, [0]]
    flat = np.abs(np.cross(sides[:, 0], sides[:, 1]))
    corners = TORUS.vertices[TORUS.faces]
    solid = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    density = np.sqrt(flat / solid)
    assert np.quantile(density, 0.95) / np.quantile(density, 0.05) < 1.6


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "unwrap_child" in " ".join(each.cmdline())]


def test_cancel_ends_it_within_a_second_and_leaves_no_process(monkeypatch, tmp_path):
    sleeper = tmp_path / "unwrap_child.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(unwrap, "CHILD", sleeper)
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        unwrap_mesh(ball(2), UnwrapSettings(), make_stage(is_cancelled=cancelled.is_set))
    assert time.monotonic() - started < 1.5
    assert not children()


def test_a_slow_unwrapper_is_stopped_and_told(monkeypatch, tmp_path):
    sleeper = tmp_path / "unwrap_child.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(unwrap, "CHILD", sleeper)
    warnings: list[str] = []
    result = unwrap_mesh(ball(2), UnwrapSettings(time_limit_s=0.3), make_stage(warnings))
    assert "0.3 s" in warnings[0]
    assert not children()
    assert overlap_fraction(result.corner_uvs) < 0.002


def test_an_unwrapper_that_crashes_is_told(monkeypatch, tmp_path):
    broken = tmp_path / "unwrap_child.py"
    broken.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(unwrap, "CHILD", broken)
    warnings: list[str] = []
    unwrap_mesh(ball(2), UnwrapSettings(), make_stage(warnings))
    assert "failed" in warnings[0]


def test_it_tells_that_it_is_alive(monkeypatch, tmp_path):
    sleeper = tmp_path / "unwrap_child.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(unwrap, "CHILD", sleeper)
    stage, beats = make_stage([]), []
    stage._run.report = beats.append
    unwrap_mesh(ball(1), UnwrapSettings(time_limit_s=1.3), stage)
    assert len(beats) >= 3


def test_charts_are_counted():
    two = np.array([[[0, 0], [0.4, 0], [0, 0.4]], [[0.4, 0], [0.4, 0.4], [0, 0.4]], [[0.6, 0.6], [1, 0.6], [0.6, 1]]],
                   np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 5]])
    chart = charts_of_corners(faces, two)
    assert chart[0] == chart[1] != chart[2]


def test_overlap_is_measured():
    triangle = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]], np.float32)
    assert overlap_fraction(np.stack([triangle, triangle])) == 1.0
    assert overlap_fraction(np.stack([triangle, 1 - triangle])) < 0.6
    assert overlap_fraction(triangle[None]) == 0.0


def test_shelves_hold_all_rectangles_apart():
    sizes = np.random.default_rng(0).uniform(0.1, 1, (40, 2))
    place, scale = pack_shelves(sizes, 0.01)
    low, high = place, place + sizes * scale
    assert low.min() >= 0.01 - 1e-9 and high.max() <= 1 - 0.01 + 1e-9
    for i in range(40):
        apart = (low >= high[i]).any(1) | (high <= low[i]).any(1)
        assert apart.sum() == 39
    assert (sizes.prod(1).sum() * scale**2) > 0.4
