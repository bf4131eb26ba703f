"""A light that moves with the camera is found, and does not become shape."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scenes import make_stage
from skin import CPU, ball
from test_refine import QUICK, shown

from slipcast.engine.pipeline import refine
from slipcast.engine.pipeline.refine import refine_mesh
from slipcast.engine.pipeline.refine_light import HARMONICS, UNKNOWN, Light, fit_light
from slipcast.engine.pipeline.refine_settings import RefineLevel
from slipcast.engine.pipeline.targets import UnitFrame, crop_of, make_targets
from slipcast.engine.pipeline.types import Mask, Mesh, View, ViewSet

TURNING = np.array([0.2, -0.4, 0.1, 0, 0, 0.15, 0, 0.05])
FLASH = np.array([-0.35, -0.45, -0.82])      # where the highlight lies on a ball: the normal in the camera's axes


def normals_in_camera(view: View) -> np.ndarray:
    """(H, W, 3) float64 normals, in the camera's axes, of the unit ball at the origin; its rim's beyond it."""
    camera = view.camera
    y, x = np.mgrid[:camera.height, :camera.width] + 0.5
    ray = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    centre = camera.camera_from_world[:3, 3]
    along = ray @ centre
    way = along - np.sqrt(np.maximum(1 - (centre @ centre - along**2), 0))
    normal = ray * way[..., None] - centre
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def lit(views: ViewSet, factor) -> ViewSet:
    """The views with their colours multiplied by factor(number of the view, normals in its camera)."""
    changed = []
    for number, view in enumerate(views.views):
        image = view.image * factor(number, normals_in_camera(view))[..., None]
        changed.append(dataclasses.replace(view, image=image.clip(0, 255).astype(np.uint8)))
    return ViewSet(tuple(changed))


def turning_light(normal: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(normal, -1, 0)
    return np.exp(np.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], -1) @ TURNING)


def flash(number: int, normal: np.ndarray) -> np.ndarray:
    """Falls off towards the rim, and shines where the normal is FLASH: nothing that harmonics can say."""
    away = 1 - (normal @ (FLASH / np.linalg.norm(FLASH)))
    return 0.25 + 0.45 * np.maximum(-normal[..., 2], 0) + 2.0 * np.exp(-away / 0.02)


def departure(mesh: Mesh) -> float:
    """Mean distance of the vertices from the unit sphere."""
    return float(np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).mean())


@pytest.fixture(scope="module")
def painted() -> tuple[ViewSet, tuple[Mask, ...]]:
    return shown(ball(4), count=12)


def test_the_exposures_and_the_light_that_moves_along_are_found(painted):
    views, masks = painted
    exposure = np.linspace(-0.25, 0.25, len(views.views))
    dark = lit(views, lambda number, normal: 0.5 * np.exp(exposure[number]) * turning_light(normal))
    mesh = ball(4)
    frame = UnitFrame.around(mesh)
    crops = [crop_of(view.camera, mask, mesh) for view, mask in zip(dark.views, masks)]
    targets = make_targets(dark.views, masks, crops, frame, 64, CPU)
    surface, _ = refine._surface(mesh, 0.1, CPU)
    positions = torch.from_numpy(frame.to_unit(mesh).vertices)
    found = fit_light(positions, surface, targets, Light.even(len(views.views), CPU), UNKNOWN, 0)
    assert found.gain.mean(1).numpy() == pytest.approx(exposure, abs=0.04)
    assert found.turning.shape == (HARMONICS,)
    # only what a camera sees of a ball counts: normals towards it
    random = np.random.default_rng(0)
    facing = random.normal(size=(200, 3)) * [1, 1, 0.5] - [0, 0, 1]
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    facing = torch.from_numpy(facing[facing[:, 2] < -0.3].astype(np.float32))
    seen = Light(torch.zeros((1, 3)), found.turning).brightness(facing, torch.eye(3)[None])[0, :, 0].log().numpy()
    wanted = np.log(turning_light(facing.numpy().astype(np.float64)))
    assert (seen - seen.mean()) == pytest.approx(wanted - wanted.mean(), abs=0.06)


def test_a_flash_makes_no_dents(painted, monkeypatch):
    views, masks = shown(ball(4))
    photos = lit(views, flash)
    settings = dataclasses.replace(QUICK, levels=(RefineLevel(96, 2000, 200),))
    dents = departure(refine_mesh(ball(4), photos, masks, settings, CPU, make_stage()))
    assert dents < 0.008        # a pixel of these views is 0.02 wide at the object
    # the same without any of it: what this file is for
    monkeypatch.setattr(refine, "fit_light", lambda *given: Light.even(len(views.views), CPU))
    monkeypatch.setattr(refine, "TRUSTED", 10.0)
    assert departure(refine_mesh(ball(4), photos, masks, settings, CPU, make_stage())) > 1.5 * dents


def test_even_light_is_left_alone(painted):
    views, masks = painted
    settings = dataclasses.replace(QUICK, levels=(RefineLevel(64, 1200, 30),))      # 1200 faces dip by 0.004
    assert departure(refine_mesh(ball(3), views, masks, settings, CPU, make_stage())) < 0.006
