"""Finish: closed stays closed, crumbs go, parts stay, faces look outward."""
from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scenes import make_stage
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes
from skin import ball, joined, to_mesh, to_trimesh

from slipcast.bridge.errors import BadMesh, Cancelled
from slipcast.engine.pipeline.finish import finish_mesh
from slipcast.engine.pipeline.manifold import clean, edge_counts, is_closed, part_touching
from slipcast.engine.pipeline.types import Mesh


def rough_blob(seed: int, cells: int = 48) -> Mesh:
    """A closed surface with thin walls, tunnels and crumbs, as a noisy hull has them."""
    grid = np.mgrid[-1:1:cells * 1j, -1:1:cells * 1j, -1:1:cells * 1j]
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(cells,) * 3), 1.2)
    values = np.pad(0.7 - np.sqrt((grid**2).sum(0)) + 1.5 * noise, 2, constant_values=-1)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32))


def test_a_smooth_closed_surface_reaches_the_budget_and_keeps_its_volume():
    mesh = finish_mesh(ball(5), 2000, make_stage())
    assert len(mesh.faces) <= 2000
    assert is_closed(mesh)
    assert to_trimesh(mesh).volume == pytest.approx(4 / 3 * np.pi, rel=0.01)   # 2000 chords lose about 0.4 %


@pytest.mark.parametrize("seed", [0, 1])
def test_a_surface_full_of_tunnels_stays_closed_within_the_budget(seed):
    rough = rough_blob(seed)
    warnings: list[str] = []
    mesh = finish_mesh(rough, 1500, make_stage(warnings))
    assert is_closed(mesh)
    merged = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)          # as a reader would merge it
    assert merged.is_watertight and merged.is_winding_consistent and merged.volume > 0
    assert len(mesh.faces) <= 1500 or warnings


def test_crumbs_go_and_real_parts_stay():
    mesh = joined(ball(3), ball(2, 0.25, (2, 0, 0)), ball(1, 0.03, (0, 2, 0)))
    done = finish_mesh(mesh, 10_000, make_stage())
    assert to_trimesh(done).body_count == 2


def test_an_inner_shell_goes():
    inner = ball(2, 0.5)
    mesh = joined(ball(3), Mesh(inner.vertices, inner.faces[:, ::-1].copy()))
    done = finish_mesh(mesh, 10_000, make_stage())
    assert to_trimesh(done).body_count == 1
    assert to_trimesh(done).volume > 4


def test_faces_look_outward_even_when_they_came_inside_out():
    mesh = ball(3)
    done = finish_mesh(Mesh(mesh.vertices, mesh.faces[:, ::-1].copy()), 10_000, make_stage())
    assert to_trimesh(done).volume == pytest.approx(to_trimesh(mesh).volume)


def test_clean_drops_degenerate_faces_and_faces_with_numbers_that_are_none():
    mesh = ball(1)
    vertices = np.concatenate([mesh.vertices, [[np.nan, 0, 0]]]).astype(np.float32)
    faces = np.concatenate([mesh.faces, [[0, 0, 1], [0, 1, len(vertices) - 1]]]).astype(np.int32)
    cleaned = clean(Mesh(vertices, faces))
    assert len(cleaned.faces) == len(mesh.faces)
    assert np.isfinite(cleaned.vertices).all()
    assert is_closed(cleaned)


def two_boxes_that_share(what: str) -> Mesh:
    one, other = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 1))
    other.apply_translation((1, 1, 0) if what == "an edge" else (1, 1, 1))
    return clean(joined(to_mesh(one), to_mesh(other)))


@pytest.mark.parametrize("what", ["an edge", "a corner"])
def test_solids_that_touch_are_parted(what):
    mesh = two_boxes_that_share(what)
    assert len(mesh.vertices) == (14 if what == "an edge" else 15)
    parted = part_touching(mesh)
    assert len(parted.vertices) == 16
    assert is_closed(parted)
    assert (edge_counts(parted.faces)[1][:, 0] == 2).all()
    assert to_trimesh(parted).body_count == 2
    assert to_trimesh(parted).volume == pytest.approx(2, rel=0.05)


def test_two_sheets_on_one_edge_that_are_joined_round_both_ends_get_a_middle_vertex_each():
    cells = np.zeros((4, 4, 5), bool)
    cells[1, 1, 1:4] = cells[2, 2, 1:4] = True        # two columns that touch along three edges
    cells[1, 2, 1] = cells[2, 1, 3] = True            # a block beside them below, another above
    solid = clean(to_mesh(trimesh.voxel.ops.multibox(np.argwhere(cells), 1.0)))
    assert (edge_counts(solid.faces)[1][:, 0] > 2).any()
    parted = part_touching(solid)
    assert is_closed(parted)
    assert len(parted.faces) > len(solid.faces)
    assert to_trimesh(parted).volume == pytest.approx(8, rel=0.05)


def test_nothing_left_is_said():
    with pytest.raises(BadMesh, match="empty"):
        finish_mesh(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), 1000, make_stage())


def test_cancel_stops_it():
    with pytest.raises(Cancelled):
        finish_mesh(ball(3), 500, make_stage(is_cancelled=lambda: True))
