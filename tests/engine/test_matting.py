"""Masks: the best hint there is, and a clear word when there is none."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scenes import ball_mask, ball_views, cameras_around, make_stage

from slipcast.bridge.errors import BadMasks
from slipcast.engine.pipeline.cutout import cut_out, soft_edge
from slipcast.engine.pipeline.matting import mask_views
from slipcast.engine.pipeline.objectpoints import object_points
from slipcast.engine.pipeline.types import View, ViewSet

CAMERAS = cameras_around(5, size=120, focal=190.0)


def photos(background, noise: float = 4.0, points=None) -> ViewSet:
    """Photos of a striped red ball before `background` ((H, W, 3) or a colour)."""
    rng = np.random.default_rng(3)
    views = []
    for i, camera in enumerate(CAMERAS):
        inside = ball_mask(camera)[..., None]
        stripes = np.where((np.arange(120) // 9 % 2)[:, None, None], (190.0, 60.0, 40.0), (140.0, 30.0, 30.0))
        pixels = inside * stripes + (1 - inside) * np.asarray(background, float) + rng.normal(0, noise, (120, 120, 3))
        views.append(View(f"{i}.jpg", camera, pixels.clip(0, 255).astype(np.uint8)))
    return ViewSet(tuple(views), points)


def overlap(values: np.ndarray, truth: np.ndarray) -> float:
    a, b = values > 0.5, truth > 0.5
    return float((a & b).sum() / (a | b).sum())


def clutter() -> np.ndarray:
    """A background of large patches in many colours, some like the ball's."""
    patches = np.random.default_rng(5).integers(0, 256, (8, 8, 3))
    return np.kron(patches, np.ones((15, 15, 1)))


def test_alpha_is_taken_as_it_is():
    views, truth = ball_views(CAMERAS)
    masks = mask_views(views, make_stage())
    assert all(mask.source == "alpha" and mask.confidence == 1.0 for mask in masks)
    assert max(np.abs(mask.values - true.values).max() for mask, true in zip(masks, truth)) <= 1 / 255


def test_a_smooth_background_is_keyed_out():
    falling_off = 120 + 60 * np.linspace(-1, 1, 120)[:, None, None] * np.ones((120, 120, 3))
    for background in (20.0, 235.0, falling_off):
        for mask, camera in zip(mask_views(photos(background), make_stage()), CAMERAS):
            assert mask.source == "key"
            assert overlap(mask.values, ball_mask(camera)) > 0.97  # one pixel all around would cost .04


def test_the_outline_lies_where_half_a_pixel_is_the_objects():
    """A light disc, darker at its rim, before a dark background, in a picture that is not quite sharp."""
    size, radius = 600, 200.0
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    away = np.hypot(x, y)[..., None]
    facing = np.sqrt((1 - (away / radius)**2).clip(0))
    cover = 1 / (1 + np.exp((away - radius) / 0.6))
    noise = np.random.default_rng(0).normal(0, 3, (size, size, 3))
    photo = (cover * (90 + 90 * facing) * (1.0, 0.9, 0.7) + (1 - cover) * (30.0, 20.0, 14.0) + noise).clip(0, 255)
    for longer_px in (300, 600):
        found = cut_out(View("disc.jpg", CAMERAS[0], photo.astype(np.uint8)), None, longer_px)
        assert found.source == "key"
        assert np.sqrt((found.values > 0.5).sum() / np.pi) == pytest.approx(radius, abs=0.4)


def test_an_edge_without_contrast_stays_where_grabcut_has_it():
    inside = np.zeros((40, 40), bool)
    inside[:, 20:] = True
    flat = np.random.default_rng(0).normal(100, 4, (40, 40, 3)).astype(np.uint8)
    assert np.array_equal(soft_edge(flat, inside) > 0.5, inside)


def test_sparse_points_find_the_object_before_clutter_and_wild_points_do_no_harm():
    rng = np.random.default_rng(1)
    on_ball = rng.normal(size=(400, 3))
    on_ball /= np.linalg.norm(on_ball, axis=1, keepdims=True)
    wild = rng.uniform(-9, 9, (60, 3))
    views = photos(clutter(), points=np.concatenate([on_ball, wild]).astype(np.float32))
    for mask, camera in zip(mask_views(views, make_stage()), CAMERAS):
        assert mask.source == "points"
        assert overlap(mask.values, ball_mask(camera)) > 0.9


def test_object_points_leave_out_what_lies_far_off_or_outside_the_stated_volume():
    rng = np.random.default_rng(2)
    near, far = rng.uniform(-1, 1, (300, 3)), rng.uniform(5, 9, (50, 3))
    views = photos(90.0, points=np.concatenate([near, far]).astype(np.float32))
    kept = object_points(views)
    assert kept is not None
    assert len(kept) > 250
    assert np.abs(kept).max() <= 1.0
    halved = object_points(dataclasses.replace(views, volume=np.array([[-2.0, -2, -2], [0, 2, 2]])))
    assert halved is not None
    assert halved[:, 0].max() <= 0
    assert object_points(dataclasses.replace(views, points=near[:10].astype(np.float32))) is None


def test_without_any_hint_the_middle_is_tried_and_the_person_told():
    warnings: list[str] = []
    masks = mask_views(photos(clutter()), make_stage(warnings))
    assert {mask.source for mask in masks} == {"centre"}
    assert all(0 < mask.confidence < 0.5 for mask in masks)
    assert "Give masks" in " ".join(warnings)


def test_the_same_photo_gives_the_same_mask():
    one, two = (mask_views(photos(clutter()), make_stage()) for _ in range(2))
    assert all((a.values == b.values).all() for a, b in zip(one, two))


@pytest.mark.parametrize(("value", "word"), [(0, "black"), (255, "white")])
def test_masks_all_black_or_all_white_are_refused_with_their_own_words(value, word):
    views, _ = ball_views(CAMERAS)
    flat = tuple(dataclasses.replace(view, alpha=np.full((120, 120), value, np.uint8)) for view in views.views)
    with pytest.raises(BadMasks, match=f"all {word}"):
        mask_views(ViewSet(flat), make_stage())


@pytest.mark.parametrize("value", [0, 255])
def test_one_empty_or_full_mask_among_many_is_left_out_with_a_warning(value):
    views, _ = ball_views(CAMERAS)
    spoilt = list(views.views)
    spoilt[2] = dataclasses.replace(spoilt[2], alpha=np.full((120, 120), value, np.uint8))
    warnings: list[str] = []
    masks = mask_views(ViewSet(tuple(spoilt)), make_stage(warnings))
    assert [mask.confidence for mask in masks] == [1, 1, 0, 1, 1]
    assert len(warnings) == 1
    assert "02.png" in warnings[0]


def test_photos_of_nothing_are_refused():
    blank = tuple(View(f"{i}.jpg", camera, np.full((120, 120, 3), 128, np.uint8)) for i, camera in enumerate(CAMERAS))
    with pytest.raises(BadMasks, match="No object"):
        mask_views(ViewSet(blank), make_stage())
