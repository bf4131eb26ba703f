"""Sparse points that came with the views show the surface where outlines and colours do not."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from scenes import make_stage
from skin import CPU, ball, dented, painted_views, to_trimesh, top

from slipcast.engine.pipeline.cameras import project
from slipcast.engine.pipeline.refine import refine_mesh
from slipcast.engine.pipeline.refine_freedom import FREE, Freedom
from slipcast.engine.pipeline.refine_points import (
    LEAST,
    MOST,
    ROUNDING,
    NearestPlaces,
    in_outlines,
    points_loss,
    surface_points,
)
from slipcast.engine.pipeline.refine_settings import RefineLevel, RefineSettings
from slipcast.engine.pipeline.targets import UnitFrame
from slipcast.engine.pipeline.types import Mask, Mesh, ViewSet

QUICK = RefineSettings(levels=(RefineLevel(80, 2500, 60),), hold_out=0)


def on(mesh: Mesh, count: int, seed: int = 0) -> np.ndarray:
    return np.asarray(trimesh.sample.sample_surface(to_trimesh(mesh), count, seed=seed)[0], np.float32)


@pytest.fixture(scope="module")
def grey():
    """The dented ball without colours: (it, views, masks)."""
    truth = dented()
    return truth, *painted_views(truth, np.full(truth.vertices.shape, 128.0), 16, 160)


def refined(grey, points: np.ndarray | None, start: Mesh | None = None, freedom: Freedom = FREE) -> Mesh:
    _, views, masks = grey
    return refine_mesh(start or ball(4), dataclasses.replace(views, points=points), masks, QUICK, CPU, make_stage(),
                       freedom=freedom)


def kept(grey, points: np.ndarray, mesh: Mesh | None = None) -> torch.Tensor | None:
    _, views, masks = grey
    mesh = mesh or ball(4)
    return surface_points(dataclasses.replace(views, points=points.astype(np.float32)), masks, mesh,
                          UnitFrame.around(mesh), CPU, 0)


def test_a_hollow_without_colours_is_found_by_points(grey):
    truth = grey[0]
    assert top(refined(grey, None)) > top(truth) + 0.08
    assert top(refined(grey, on(truth, 1500))) == pytest.approx(top(truth), abs=0.03)


def test_a_few_wrong_points_do_not_matter(grey):
    """A tenth of them anywhere inside, the others off by half a percent of the diagonal."""
    truth = grey[0]
    random = np.random.default_rng(0)
    right = on(truth, 1500) + random.normal(0, 0.01, (1500, 3))
    wrong = on(truth, 150, 1) * random.uniform(0.3, 1, (150, 1))
    found = refined(grey, np.concatenate([right, wrong]).astype(np.float32))
    assert top(found) == pytest.approx(top(truth), abs=0.05)
    assert np.abs(np.linalg.norm(found.vertices[found.vertices[:, 2] < 0], axis=1) - 1).max() < 0.03


def test_an_artists_mesh_keeps_its_faces_and_what_is_locked(grey):
    truth, start = grey[0], ball(4)
    weights = (start.vertices[:, 2] > 0).astype(float)
    found = refined(grey, on(truth, 1500), start, Freedom(keep_topology=True, weights=weights))
    assert (found.faces == start.faces).all() and (found.vertices[weights == 0] == start.vertices[weights == 0]).all()
    assert top(found) < 0.85


def test_points_beside_the_object_are_left_out(grey):
    good = on(grey[0], 800)
    table = np.random.default_rng(0).uniform([-1.5, -1.5, -1.3], [1.5, 1.5, -1.2], (300, 3))
    found = kept(grey, np.concatenate([good, table]))
    assert found is not None and 780 < len(found) <= 800
    assert float(found[:, 2].min()) > -1.05


def test_points_that_fill_the_object_are_no_surface(grey):
    """As in the random clouds that data sets for Gaussian splatting come with."""
    anywhere = np.random.default_rng(0).uniform(-1.3, 1.3, (6000, 3))
    assert in_outlines(anywhere, grey[1].views, grey[2]).sum() > 10 * LEAST
    assert kept(grey, anywhere) is None
    with_it, without = (refined(grey, each) for each in (anywhere.astype(np.float32), None))
    assert (with_it.vertices == without.vertices).all()


def test_few_points_say_nothing_and_very_many_no_more_than_many(grey):
    truth = grey[0]
    assert kept(grey, on(truth, LEAST - 1)) is None
    found = kept(grey, on(truth, 3 * MOST))
    assert found is not None and 0.97 * MOST < len(found) <= MOST


def test_a_view_without_a_mask_is_not_asked_where_points_may_lie(grey):
    _, views, masks = grey
    blank = [Mask(np.zeros_like(mask.values), "centre", 0.0) if i % 2 else mask for i, mask in enumerate(masks)]
    found = surface_points(ViewSet(views.views, on(grey[0], 800)), blank, ball(4), UnitFrame.around(ball(4)), CPU, 0)
    assert found is not None and len(found) > 780


def test_where_a_picture_was_bent_out_of_its_frame_it_says_nothing_about_points(grey):
    """What a lens' correction leaves blank is in no mask, and no sign that a point lies beside the object."""
    truth, views, masks = grey
    valid = np.ones(masks[0].values.shape, bool)
    valid[:80] = False                                          # of 160 rows
    blank = [Mask(np.where(valid, mask.values, 0).astype(np.float32), "points", 1.0) for mask in masks]
    points = on(truth, 800).astype(float)
    points = points[np.any([project(view.camera, points)[0][:, 1] >= 80 for view in views.views], axis=0)]
    assert in_outlines(points, views.views, blank).mean() < 0.5
    half = [dataclasses.replace(view, valid=valid) for view in views.views]
    assert in_outlines(points, half, blank).mean() > 0.97


def test_places_are_the_nearest_of_the_mesh_and_follow_it():
    mesh, points = ball(3), np.random.default_rng(1).normal(0, 0.8, (500, 3)).astype(np.float32)
    at = torch.from_numpy(mesh.vertices)
    places = NearestPlaces(torch.from_numpy(points), at, torch.from_numpy(mesh.faces))
    for size in (1.0, 1.7):
        places.follow(at * size)
        true = trimesh.proximity.closest_point(to_trimesh(Mesh(mesh.vertices * np.float32(size), mesh.faces)), points)
        assert places.distances(at * size).numpy() == pytest.approx(true[1], abs=1e-5)


def test_the_gradient_of_the_loss_is_its_slope():
    mesh, points = ball(2), torch.from_numpy(on(ball(4, 0.9), 200))
    at = torch.from_numpy(mesh.vertices).requires_grad_()
    places = NearestPlaces(points, at, torch.from_numpy(mesh.faces))
    points_loss(places.distances(at)).backward()
    assert at.grad is not None
    way = torch.randn(at.shape, generator=torch.Generator().manual_seed(0))
    step = 1e-3
    ahead, back = (float(points_loss(places.distances(at.detach() + sign * step * way))) for sign in (1, -1))
    assert (ahead - back) / (2 * step) == pytest.approx(float((at.grad * way).sum()), rel=0.02)


def test_far_points_pull_no_harder_than_near_ones():
    away = torch.tensor([0.1 * ROUNDING, 20 * ROUNDING, 40 * ROUNDING], requires_grad=True)
    points_loss(away).backward()
    assert away.grad is not None
    near, far, farther = (3 * away.grad).tolist()
    assert [near, far, farther] == pytest.approx([0.1, 1, 1], rel=0.01)
