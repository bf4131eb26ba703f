"""Hollows that depth shows and outlines do not: a ball with a bite taken out of it, whose depth is traced."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scenes import SMALL, cameras_around, make_stage

from slipcast.engine.pipeline.depth_carving import carve, depth_views
from slipcast.engine.pipeline.hull import visual_hull
from slipcast.engine.pipeline.silhouettes import build_silhouettes
from slipcast.engine.pipeline.surface import extract_surface, signed_volume
from slipcast.engine.pipeline.types import Camera, Mask, View, ViewSet
from slipcast.engine.pipeline.volume import working_volume

CPU = torch.device("cpu")
BITE, BITE_RADIUS = np.array([0.0, 0.0, 0.7]), 0.6


def cup(points: np.ndarray) -> np.ndarray:
    """Distance to the ball without its bite, a lower bound outside; negative inside."""
    return np.maximum(np.linalg.norm(points, axis=-1) - 1, BITE_RADIUS - np.linalg.norm(points - BITE, axis=-1))


def depth_of(camera: Camera) -> np.ndarray:
    """(H, W) float32 along the axis, inf where nothing is: rays that step as far as the distance allows."""
    at = np.stack(np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5), -1)
    local = np.concatenate([at, np.ones((*at.shape[:2], 1))], -1) @ np.linalg.inv(camera.intrinsics).T
    turned = local @ camera.camera_from_world[:3, :3]
    depth, length = np.zeros(local.shape[:2]), np.linalg.norm(local, axis=-1)
    for _ in range(150):
        depth += 0.9 * cup(camera.centre + depth[..., None] * turned) / length
    hit = np.abs(cup(camera.centre + depth[..., None] * turned)) < 1e-3
    return np.where(hit, depth, np.inf).astype(np.float32)


@pytest.fixture(scope="module")
def cup_views() -> tuple[ViewSet, list[Mask]]:
    views, masks = [], []
    for number, camera in enumerate(cameras_around(14, distance=4.0, size=120, focal=200.0)):
        depth = depth_of(camera)
        alpha = np.isfinite(depth)
        picture = np.repeat(alpha[..., None] * np.uint8(180), 3, axis=2)
        views.append(View(f"{number:02d}.png", camera, picture, alpha * np.uint8(255), depth=depth))
        masks.append(Mask(alpha.astype(np.float32), "alpha", 1.0))
    return ViewSet(tuple(views)), masks


def hull_volume(views: ViewSet, masks: list[Mask], warnings: list[str] | None = None) -> float:
    box = working_volume(views, masks)
    mesh = extract_surface(visual_hull(views, masks, box, SMALL, CPU, make_stage(warnings)), make_stage(), 2)
    return signed_volume(mesh.vertices, mesh.faces)


def with_depth(views: ViewSet, change) -> ViewSet:
    return ViewSet(tuple(dataclasses.replace(view, depth=change(view.depth)) for view in views.views))


def test_a_hollow_that_no_outline_shows_is_carved_by_depth(cup_views):
    views, masks = cup_views
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 120)] * 3), -1)
    true = float((cup(grid) < 0).mean()) * 8
    warnings: list[str] = []
    assert hull_volume(views, masks, warnings) == pytest.approx(true, rel=0.04)
    assert warnings == []
    assert hull_volume(with_depth(views, lambda depth: None), masks) > 1.08 * true


@pytest.mark.parametrize(("with_depth_too", "shaped"), [(14, True), (7, True), (6, False), (1, False)])
def test_the_shape_is_by_depth_where_at_least_half_of_the_views_carry_some(cup_views, with_depth_too: int,
                                                                           shaped: bool):
    views, masks = cup_views
    some = ViewSet(tuple(view if number < with_depth_too else dataclasses.replace(view, depth=None)
                         for number, view in enumerate(views.views)))
    field = visual_hull(some, masks, working_volume(some, masks), SMALL, CPU, make_stage())
    assert field.by_depth == shaped


def test_distances_to_an_even_surface_are_those_to_the_surface(cup_views):
    views, masks = cup_views
    box = working_volume(views, masks)
    silhouettes = build_silhouettes(views, masks, 120, box.mean(axis=0), CPU)
    ready = depth_views(views, masks, silhouettes, 0.05, make_stage())
    assert len(ready) == len(views.views)
    ways = np.random.default_rng(0).normal(size=(300, 3))
    ways = ways[ways[:, 2] < 0.2 * np.linalg.norm(ways, axis=1)]
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)      # the side away from the bite
    for off in (-0.1, -0.03, 0.03, 0.1):
        points = torch.from_numpy(((1 - off) * ways - silhouettes.origin).astype(np.float32))
        found = carve(ready, points).numpy()
        assert np.median(found) == pytest.approx(off, abs=0.012)
        assert (np.sign(found) == np.sign(off)).all()


@pytest.mark.parametrize("change", [lambda depth: 0.5 * depth, lambda depth: 1.5 * depth, lambda depth: depth + 3],
                         ids=["half", "in other units", "from elsewhere"])
def test_depth_that_contradicts_the_outlines_is_left_out_and_told(cup_views, change):
    views, masks = cup_views
    warnings: list[str] = []
    volume = hull_volume(with_depth(views, change), masks, warnings)
    assert volume == pytest.approx(hull_volume(with_depth(views, lambda depth: None), masks), rel=1e-6)
    assert len(warnings) == 1 and "14 of 14 views" in warnings[0] and "metric" in warnings[0]


def test_a_view_without_depth_anywhere_carves_nothing(cup_views):
    views, masks = cup_views
    empty = with_depth(views, lambda depth: np.full_like(depth, np.nan))
    warnings: list[str] = []
    assert hull_volume(empty, masks, warnings) == pytest.approx(
        hull_volume(with_depth(views, lambda depth: None), masks), rel=1e-6)
    assert warnings == []
