"""Shading normals and tangents, compared with Blender's own."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")
pytest.importorskip("slipcast")

from slipcast.engine.pipeline.normals import shading_normals  # noqa: E402  after the checks above
from slipcast.engine.pipeline.tangents import corner_tangents  # noqa: E402
from slipcast.engine.pipeline.types import Mesh  # noqa: E402

READ = """
import sys
import bpy
import numpy as np
given = np.load(sys.argv[1])
mesh = bpy.data.meshes.new("m")
mesh.from_pydata(given["vertices"].tolist(), [], given["faces"].tolist())
layer = mesh.uv_layers.new(name="UVMap")
layer.data.foreach_set("uv", given["uvs"].ravel())
mesh.shade_smooth()
mesh.calc_tangents()
count = len(mesh.loops)
tangents, normals, signs = (np.empty(count * width, np.float32) for width in (3, 3, 1))
mesh.loops.foreach_get("tangent", tangents)
mesh.loops.foreach_get("bitangent_sign", signs)
mesh.corner_normals.foreach_get("vector", normals)
np.savez(sys.argv[2], tangents=tangents.reshape(-1, 3, 3), normals=normals.reshape(-1, 3, 3),
         signs=signs.reshape(-1, 3))
"""


def bumpy_ball(rings: int = 14, steps: int = 21) -> Mesh:
    """A sphere of latitudes and longitudes, pushed about, so that no two faces are alike."""
    turns = np.arange(steps) * 2 * np.pi / steps
    up, around = np.meshgrid(np.linspace(0.15, np.pi - 0.15, rings), turns, indexing="ij")
    place = np.stack([np.sin(up) * np.cos(around), np.sin(up) * np.sin(around), np.cos(up)], -1).reshape(-1, 3)
    place *= 1 + 0.1 * np.random.default_rng(0).normal(size=(len(place), 1))
    index = np.arange(rings * steps).reshape(rings, steps)
    a, b = index[:-1], np.roll(index[:-1], -1, 1)
    c, d = index[1:], np.roll(index[1:], -1, 1)
    faces = np.concatenate([np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)])
    return Mesh(place.astype(np.float32), faces.astype(np.int32))


def mirrored_charts(mesh: Mesh) -> np.ndarray:
    """Looked at along y from both sides into one texture: one half is mirrored, and seams run where the halves meet."""
    uvs = mesh.vertices[mesh.faces][..., [0, 2]] * 0.2 + 0.25
    behind = mesh.vertices[mesh.faces].mean(1)[:, 1] > 0
    uvs[behind] += [0.5, 0.3]
    return uvs.astype(np.float32)


def smooth_chart(mesh: Mesh) -> np.ndarray:
    """UVs that turn over on the way (a fold, without a seam) and have faces without area."""
    place = mesh.vertices[mesh.faces]
    uvs = np.stack([0.5 + 0.3 * np.sin(2 * place[..., 0] + place[..., 1]), 0.5 + 0.3 * place[..., 2]], -1)
    uvs[::17] = uvs[::17, :1]
    return uvs.astype(np.float32)


@pytest.mark.parametrize("charts", [mirrored_charts, smooth_chart])
def test_normals_tangents_and_signs_are_those_of_blender(charts, tmp_path: Path):
    mesh = bumpy_ball()
    uvs = charts(mesh)
    np.savez(tmp_path / "in.npz", vertices=mesh.vertices, faces=mesh.faces, uvs=uvs)
    done = subprocess.run([sys.executable, "-P", "-c", READ, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    read = np.load(tmp_path / "out.npz")
    normals = shading_normals(mesh.vertices, mesh.faces)
    # Blender takes angles from a fast arc cosine; weighting by area instead would be .05 off here
    assert np.abs(normals[mesh.faces] - read["normals"]).max() < 3e-4
    found = corner_tangents(mesh, uvs, normals)
    area = np.linalg.det((uvs[:, 1:] - uvs[:, :1]).astype(np.float64))
    good = np.abs(area) > 1e-9
    assert {-1.0, 1.0} == set(found.signs[good])
    assert (found.signs[good, None] == read["signs"][good]).all()
    cosine = (found.tangents * read["tangents"]).sum(-1)[good]
    assert cosine.min() > 1 - 1e-5, np.sort(cosine.ravel())[:20]
