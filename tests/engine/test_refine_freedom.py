"""What may not move does not: locked vertices, kept faces, and both sides of a symmetric mesh alike."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh
from scenes import make_stage
from skin import CPU, ball, joined, painted_views, to_mesh, to_trimesh

from slipcast.bridge.errors import BadMesh, BadSettings
from slipcast.engine.pipeline.manifold import is_closed
from slipcast.engine.pipeline.refine import refine_mesh
from slipcast.engine.pipeline.refine_freedom import Freedom
from slipcast.engine.pipeline.refine_settings import RefineLevel, RefineSettings
from slipcast.engine.pipeline.symmetry import make_symmetric, mirrored_partners, symmetry_along
from slipcast.engine.pipeline.types import Mesh, Snapshot, ViewSet

QUICK = RefineSettings(levels=(RefineLevel(48, 600, 25), RefineLevel(64, 1500, 25)), hold_out=0)
KEEP = Freedom(keep_topology=True)


@pytest.fixture(scope="module")
def larger():
    """Views of a ball of radius 1.1; a ball of radius 1 has to grow by a tenth."""
    truth = ball(4, 1.1)
    views, masks = painted_views(truth, 128 + 100 * np.sin(5 * truth.vertices + [0, 1, 2]), 8, 160)
    return ViewSet(views.views), masks


def radii(mesh: Mesh) -> np.ndarray:
    return np.linalg.norm(mesh.vertices, axis=1)


def test_keep_topology_keeps_faces_and_the_order_of_vertices_and_still_fits(larger):
    given = ball(3)
    refined = refine_mesh(given, *larger, QUICK, CPU, make_stage(), freedom=KEEP)
    assert (refined.faces == given.faces).all() and refined.vertices.shape == given.vertices.shape
    assert refined.vertices.dtype == np.float32
    # a pixel of the last level is 0.035 wide at the object
    assert np.abs(radii(refined) - 1.1).mean() < 0.02
    away = refined.vertices / radii(refined)[:, None] - given.vertices
    assert np.abs(away).max() < 0.1            # each vertex went outward, none took another's place


def test_vertices_of_weight_0_move_by_exactly_0_and_others_by_their_share(larger):
    given = ball(3)
    weights = np.where(given.vertices[:, 2] > 0.3, 0.0, np.where(given.vertices[:, 2] < -0.3, 1.0, 0.25))
    refined = refine_mesh(given, *larger, QUICK, CPU, make_stage(), freedom=dataclasses.replace(KEEP, weights=weights))
    locked = weights == 0
    assert (refined.vertices[locked] == given.vertices[locked]).all() and locked.sum() > 100
    assert np.abs(radii(refined)[weights == 1] - 1.1).mean() < 0.04
    assert (refined.vertices[~locked] != given.vertices[~locked]).any(1).all()


def test_free_mode_leaves_locked_vertices_where_they_are_bit_by_bit(larger):
    given = ball(3)
    weights = (given.vertices[:, 2] < 0.3).astype(float)
    refined = refine_mesh(given, *larger, QUICK, CPU, make_stage(), freedom=Freedom(weights=weights))
    there = {tuple(row) for row in refined.vertices.tolist()}
    held = [tuple(row) in there for row in given.vertices[weights == 0].tolist()]
    assert all(held) and len(held) > 100
    inside = given.vertices[:, 2] > 0.6        # well inside the locked region its surface is the given one
    away = trimesh.proximity.closest_point(to_trimesh(refined), given.vertices[inside].astype(float))[1]
    assert away.max() < 1e-6
    assert np.abs(radii(refined)[refined.vertices[:, 2] < -0.2] - 1.1).mean() < 0.03
    assert len(refined.faces) != len(given.faces) and is_closed(refined)


def test_vertices_doubled_at_seams_move_as_one(larger):
    shape = ball(2)
    corners = Mesh(shape.vertices[shape.faces.ravel()], np.arange(shape.faces.size, dtype=np.int32).reshape(-1, 3))
    shown: list[Mesh] = []
    refined = refine_mesh(corners, *larger, QUICK, CPU, make_stage(), shown.append, freedom=KEEP)
    assert (refined.faces == corners.faces).all()
    last = shown[-1]
    assert isinstance(last, Snapshot) and last.colours is not None and last.colours.shape == corners.vertices.shape
    assert len(np.unique(refined.vertices, axis=0)) == len(shape.vertices)
    assert radii(refined).mean() > 1.05


def test_any_mesh_of_an_artist_is_refined_without_being_repaired(larger):
    """Open, non-manifold, with faces without area and a vertex that no face uses."""
    shape = ball(2)
    top, faces = shape.vertices[:, 2].argmax(), shape.faces
    fin = [[*faces[0, :2], len(shape.vertices)]]
    odd = np.concatenate([faces[:-20], fin, [[0, 0, 1]], [[2, 2, 2]]]).astype(np.int32)
    vertices = np.concatenate([shape.vertices, [shape.vertices[faces[0, 0]] * 1.05], [[9, 9, 9]]]).astype(np.float32)
    given = Mesh(vertices, odd)
    refined = refine_mesh(given, *larger, QUICK, CPU, make_stage(), freedom=KEEP)
    assert (refined.faces == odd).all() and np.isfinite(refined.vertices).all()
    assert (refined.vertices[-1] == vertices[-1]).all() and radii(refined)[top] > 1.05


def test_a_fine_mesh_takes_its_regions_along(larger):
    """40 times the faces that the first level asks for: no crumpling, the faces keep their size."""
    given = ball(5)
    refined = refine_mesh(given, *larger, QUICK, CPU, make_stage(), freedom=KEEP)
    growth = to_trimesh(refined).area_faces / to_trimesh(given).area_faces
    assert np.abs(radii(refined) - 1.1).mean() < 0.03
    assert np.percentile(growth, 2) > 0.7 and np.percentile(growth, 98) < 1.8     # 1.21 where it grew evenly


@pytest.fixture(scope="module")
def lopsided():
    """Views of a ball that is larger at +x than at -x, and a symmetric ball to start from."""
    smooth = ball(4)
    truth = Mesh(smooth.vertices * (1 + 0.15 * smooth.vertices[:, :1]).astype(np.float32), smooth.faces)
    views, masks = painted_views(truth, np.full(truth.vertices.shape, 128.0), 8, 160)
    return ViewSet(views.views), masks


def mirror_gap(mesh: Mesh) -> float:
    image = mesh.vertices * [-1, 1, 1]
    return float(np.linalg.norm(image[:, None] - mesh.vertices[None], axis=2).min(1).max())


def test_both_sides_of_a_kept_mesh_move_alike(lopsided):
    given, plane = ball(2), symmetry_along("x", np.zeros(3))
    both = refine_mesh(given, *lopsided, QUICK, CPU, make_stage(), freedom=dataclasses.replace(KEEP, symmetry=plane))
    alone = refine_mesh(given, *lopsided, QUICK, CPU, make_stage(), freedom=KEEP)
    assert mirror_gap(both) < 1e-6 < 0.02 < mirror_gap(alone)
    assert (both.faces == given.faces).all() and (both.vertices != given.vertices).any()


def test_a_free_mesh_comes_out_symmetric_and_closed(lopsided):
    refined = refine_mesh(ball(3), *lopsided, QUICK, CPU, make_stage(),
                          freedom=Freedom(symmetry=symmetry_along("x", np.zeros(3))))
    assert mirror_gap(refined) < 1e-6 and is_closed(refined)
    assert to_trimesh(refined).volume == pytest.approx(4 / 3 * np.pi, rel=0.05)


@pytest.mark.parametrize("shape", [ball(3), joined(ball(2, 0.5, (-0.2, 0.8, 0)), ball(2, 0.5, (1.0, -0.7, 0))),
                                   to_mesh(trimesh.creation.torus(1.0, 0.3)), to_mesh(trimesh.creation.box((2, 1, 1)))])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_mesh_made_symmetric_is_closed_and_has_a_partner_for_every_vertex(shape, axis):
    plane = symmetry_along(axis, np.array([0.03, 0.04, 0]))
    made = make_symmetric(shape, plane, 0.05)
    assert is_closed(made) and (mirrored_partners(made, plane) >= 0).all()
    assert to_trimesh(made).is_winding_consistent and to_trimesh(made).volume > 0


def test_partners_are_each_others_and_a_vertex_in_the_plane_is_its_own():
    mesh, plane = ball(3), symmetry_along("z", np.zeros(3))
    partner = mirrored_partners(mesh, plane)
    assert (partner[partner] == np.arange(len(partner))).all()
    flat = np.abs(mesh.vertices[:, 2]) < 1e-6
    assert flat.any() and (partner[flat] == np.flatnonzero(flat)).all()


@pytest.mark.parametrize(("freedom", "error", "words"), [
    (Freedom(weights=np.ones(3)), BadMesh, "3 weights for 162 vertices"),
    (Freedom(weights=np.full(162, np.nan)), BadMesh, "not all numbers from 0 to 1"),
    (Freedom(weights=np.full(162, 1.5)), BadMesh, "not all numbers from 0 to 1"),
    (Freedom(True, np.zeros(162)), BadMesh, "All weights of the mesh are 0"),
    (Freedom(False, np.ones(162), symmetry_along("x", np.zeros(3))), BadSettings, "exclude each other"),
    (Freedom(True, None, symmetry_along("x", np.array([0.7, 0, 0]))), BadMesh, "The mesh is not symmetric"),
    (Freedom(False, None, symmetry_along("x", np.array([3.0, 0, 0]))), BadMesh, "nothing on one side"),
])
def test_wishes_that_cannot_be_are_refused_in_words(larger, freedom, error, words):
    with pytest.raises(error, match=words):
        refine_mesh(ball(2), *larger, QUICK, CPU, make_stage(), freedom=freedom)
