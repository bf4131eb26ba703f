"""Light that moves with the camera is told from colours; the fit brings textures closer to their views, or says no."""
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scenes import cameras_around, directions, make_stage
from skin import CPU, bake_base_color, ball, one_chart_a_face, paint

from slipcast.bridge.errors import BadSettings, Cancelled
from slipcast.engine.pipeline import texture_fit
from slipcast.engine.pipeline.atlas import texel_owners
from slipcast.engine.pipeline.bake import bake_texture
from slipcast.engine.pipeline.cameras import resize_camera
from slipcast.engine.pipeline.delight import GLARE_CELLS, ViewLight, find_view_light, fit_view_light
from slipcast.engine.pipeline.scores import exposed_like, judges_of, leave_out, score_texture
from slipcast.engine.pipeline.texels import Texels
from slipcast.engine.pipeline.texture_fit import TextureSettings, judges_among, rounds_of, texture_preset
from slipcast.engine.pipeline.texture_losses import BRIGHTER, trust_of
from slipcast.engine.pipeline.types import Mask, Mesh, TexturedMesh, View, ViewSet
from slipcast.engine.render.colour import linear_from_srgb_table, srgb_bytes, srgb_slope

LINEAR = linear_from_srgb_table()
FINE = 3      # samples across a pixel
FAST = TextureSettings(rounds=3, views_per_step=6)
EXPOSED = torch.eye(3).expand(4, 3, 3)


def gains(light: ViewLight) -> np.ndarray:
    """What the views' colours are to be multiplied by."""
    return np.exp(-light.gain.numpy())


def test_gains_of_two_views_meet_in_the_middle():
    color = torch.full((200, 2, 3), 0.2)
    color[:, 1] = 0.4
    found = gains(fit_view_light(color, torch.ones(200, 2), torch.ones(200, 3), EXPOSED[:2], moving=False))
    assert found[0] == pytest.approx(np.full(3, 2**0.5), rel=0.05)     # pulled to 1 by 2 %
    assert (found[0] * found[1]) == pytest.approx(np.ones(3), rel=1e-5)


def test_gains_do_not_follow_highlights():
    color = torch.from_numpy(np.random.default_rng(1).uniform(0.1, 0.4, (400, 1, 1)).astype(np.float32)).repeat(1, 4, 3)
    color[:60, 2] = 0.85
    found = gains(fit_view_light(color, torch.ones(400, 4), torch.ones(400, 3), EXPOSED, moving=False))
    assert np.abs(np.log(found)).max() < 0.05           # 15 % of its points are up to 8 times too bright


def test_a_colour_without_blue_still_has_exposures():
    color = torch.full((200, 2, 3), 0.2) * torch.tensor([1.0, 1.0, 0.0])
    color[:, 1] *= 2
    found = gains(fit_view_light(color, torch.ones(200, 2), torch.ones(200, 3), EXPOSED[:2], moving=False))
    assert found[0, :2] == pytest.approx(np.full(2, 2**0.5), rel=0.05) and found[0, 2] == pytest.approx(1)


def stripes(mesh: Mesh) -> np.ndarray:
    """(V, 3) linear base colour."""
    wave = np.sin(6 * mesh.vertices[:, 2]) * 0.5 + 0.5
    return np.stack([0.08 + 0.25 * wave, 0.3 - 0.2 * wave, np.full_like(wave, 0.12)], -1)


def lit_views(mesh: Mesh, lamp, count: int = 20, size: int = 128, shine=None) -> tuple[ViewSet, tuple[Mask, ...]]:
    """The stripes under a light: lamp(normals in the world, camera) -> (V,) factors; shine gives what is added."""
    views = []
    for camera in cameras_around(count, size=size, focal=1.6 * size):
        normals = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
        light = stripes(mesh) * lamp(normals, camera)[:, None]
        light += 0 if shine is None else shine(normals, camera)[:, None]
        views.append(paint(mesh, srgb_bytes(light), camera))
    return ViewSet(tuple(views)), tuple(Mask((view.alpha > 0).astype(np.float32), "alpha", 1.0) for view in views)


def flash(normals: np.ndarray, camera) -> np.ndarray:
    """A lamp beside the camera: brightest where the surface looks there."""
    return 0.15 + 1.6 * np.clip(-(normals @ camera.world_from_camera[:3, 2]), 0, 1) ** 1.5


def side_lamp(normals: np.ndarray, camera) -> np.ndarray:
    """A lamp that stands up and to the left of the camera, and goes with it, as when the object is on a turntable."""
    towards = camera.world_from_camera[:3, :3] @ [-0.6, -0.4, -0.7]
    return 0.3 + 0.9 * np.clip(normals @ towards, 0, 1)


def glint(normals: np.ndarray, camera) -> np.ndarray:
    """What polish adds to a flash: a white spot where the surface looks at the camera, 13 degrees to its half."""
    towards = camera.centre - normals
    cosine = (normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
    return 0.5 * np.clip(cosine, 0, 1) ** 27


def sun(normals: np.ndarray, camera) -> np.ndarray:
    return 0.4 + 0.8 * np.clip(normals @ [0.0, -0.6, 0.8], 0, 1)


def colors_off(texture: np.ndarray, uv_mesh, wanted: np.ndarray) -> float:
    """Mean difference in log light of the texels inside faces, up to one factor. wanted: (V, 3) linear."""
    texel, face = texel_owners(uv_mesh.corner_uvs, len(texture))
    found = LINEAR[texture[::-1].reshape(-1, 3)[texel]]
    off = np.log(np.maximum(found, 1e-3)) - np.log(wanted[uv_mesh.mesh.faces[face]].mean(1))
    return float(np.abs(off - np.median(off, 0)).mean())


def test_a_flash_is_taken_out_of_the_texture():
    mesh = ball(4)
    views, masks = lit_views(mesh, flash)
    uv_mesh = one_chart_a_face(mesh)
    plain = colors_off(bake_base_color(uv_mesh, views, masks, 512, make_stage([])), uv_mesh, stripes(mesh))
    baked = bake_texture(Texels(uv_mesh, 512, CPU), views, masks, make_stage([]), FAST)
    assert baked.light.moves and baked.facts == {"light_evened": True}
    fitted = colors_off(baked.base_color, uv_mesh, stripes(mesh))
    print("log light off, projected and fitted:", plain, fitted)
    assert fitted < 0.06 and fitted < 0.7 * plain
    pose = views.views[0].camera.world_from_camera[:3, :3]
    ways = torch.from_numpy(np.stack([-pose[:, 2], 0.5**0.5 * (pose[:, 0] - pose[:, 2])])).float()
    towards, aside = baked.light.moving(ways, torch.from_numpy(pose.T.copy()).float()).tolist()
    # 45 degrees apart; the light is followed only as far as much of the surface shows it
    assert towards - aside == pytest.approx(math.log(1.75 / (0.15 + 1.6 * 0.5**0.75)), abs=0.1)


def test_a_lamp_to_the_side_is_taken_out_unless_it_is_to_stay():
    mesh = ball(3)
    views, masks = lit_views(mesh, side_lamp)
    uv_mesh = one_chart_a_face(mesh)
    kept, evened = (bake_texture(Texels(uv_mesh, 256, CPU), views, masks, make_stage([]),
                                 dataclasses.replace(FAST, moving_light=moving)) for moving in (False, True))
    off = [colors_off(baked.base_color, uv_mesh, stripes(mesh)) for baked in (kept, evened)]
    print("log light off, kept and evened:", off)
    assert evened.light.moves and not kept.light.moves and kept.facts == {"light_evened": False}
    assert off[1] < 0.5 * off[0]


def test_highlights_stay_out_of_the_texture():
    mesh = ball(4)
    views, masks = lit_views(mesh, flash, shine=glint)
    uv_mesh = one_chart_a_face(mesh)
    plain = colors_off(bake_base_color(uv_mesh, views, masks, 512, make_stage([])), uv_mesh, stripes(mesh))
    baked = bake_texture(Texels(uv_mesh, 512, CPU), views, masks, make_stage([]), FAST)
    fitted = colors_off(baked.base_color, uv_mesh, stripes(mesh))
    print("log light off, projected and fitted:", plain, fitted)
    assert fitted < 0.08 and fitted < 0.5 * plain
    middle = GLARE_CELLS // 2
    mirror = baked.light.calm[middle - 1:middle + 1, middle - 1:middle + 1]     # there the camera would see itself
    assert mirror.max() < 0.05
    assert baked.light.calm.median() > 0.8
    pose = views.views[0].camera.world_from_camera[:3, :3]
    ways = torch.from_numpy(np.stack([-pose[:, 2], 0.8 * pose[:, 0] - 0.6 * pose[:, 2]])).float()
    towards, aside = baked.light.calm_in_all(ways)[:, 0].tolist()
    assert towards < 0.1 and aside > 0.8


@pytest.mark.parametrize("lamp", [sun, lambda normals, camera: np.full(len(normals), 0.9)], ids=["sun", "even"])
def test_a_light_that_stands_still_is_no_flash(lamp):
    mesh = ball(3)
    views, masks = lit_views(mesh, lamp)
    assert not bake_texture(Texels(one_chart_a_face(mesh), 256, CPU), views, masks, make_stage([]), FAST).light.moves


def test_few_views_do_not_tell_a_flash_from_the_surface():
    color, normals = torch.rand(300, 5, 3), torch.from_numpy(directions(300).astype(np.float32))
    assert not find_view_light(color, torch.ones(300, 5), normals, torch.eye(3).expand(5, 3, 3)).moves


def pattern(places: np.ndarray) -> np.ndarray:
    """(N, 3) linear, at places (N, 3) on or near the unit ball: waves of a few texels."""
    unit = places / np.linalg.norm(places, axis=1, keepdims=True)
    return 0.35 + 0.25 * np.sin(26 * unit).prod(1, keepdims=True) * np.array([1.0, 0.6, -0.8])


def pattern_views(count: int, size: int = 96, spread: float = 0.2) -> tuple[ViewSet, tuple[Mask, ...]]:
    """Views of the pattern with exposures that differ."""
    factors = np.exp(np.random.default_rng(0).uniform(-spread, spread, count))
    mesh, views, masks = ball(6), [], []
    colours = srgb_bytes(pattern(mesh.vertices))
    for camera, factor in zip(cameras_around(count, size=FINE * size, focal=1.6 * FINE * size), factors):
        fine = paint(mesh, colours, camera)         # pixels see the mean light of what is under them
        light = LINEAR[fine.image].reshape(size, FINE, size, FINE, 3).mean((1, 3)) * factor
        cover = (fine.alpha > 0).reshape(size, FINE, size, FINE).mean((1, 3)).astype(np.float32)
        image = srgb_bytes(light / np.maximum(cover, 0.1)[..., None])
        views.append(View("fine.png", resize_camera(camera, size, size), image))
        masks.append(Mask(cover, "alpha", 1.0))
    return ViewSet(tuple(views)), tuple(masks)


@pytest.mark.parametrize("count", [24, 10], ids=["judged by views held out", "judged by all"])
def test_the_fit_brings_back_what_the_projection_blurs(count):
    views, masks = pattern_views(count)
    uv_mesh = one_chart_a_face(ball(4))
    texels = Texels(uv_mesh, 512, CPU)
    wanted, off = pattern(texels.surface(slice(None))[0].numpy()), []
    for settings in (None, FAST):
        texture = bake_base_color(uv_mesh, views, masks, 512, make_stage([]), settings)
        ratio = LINEAR[texture[texels.covered]] / wanted
        off.append(float(np.square(ratio / np.median(ratio, 0) - 1).mean()))
    print("squared error of the projection and of the fit:", off)
    assert off[1] < 0.8 * off[0]


def one_sided(spread: float = 0.0) -> tuple[ViewSet, tuple[Mask, ...]]:
    views, masks = pattern_views(16, spread=spread)
    seen = [each for each, view in enumerate(views.views) if view.camera.centre[2] > 1]
    return ViewSet(tuple(views.views[each] for each in seen)), tuple(masks[each] for each in seen)


def test_what_no_view_sees_keeps_its_fill_and_nothing_is_black():
    views, masks = one_sided()
    uv_mesh = one_chart_a_face(ball(3))
    still = dataclasses.replace(FAST, moving_light=False)
    before, after = (bake_base_color(uv_mesh, views, masks, 256, make_stage([]), each)
                     for each in (None, still))
    texels = Texels(uv_mesh, 256, CPU)
    hidden = np.zeros(texels.covered.shape, bool)
    hidden[texels.covered] = texels.surface(slice(None))[0].numpy()[:, 2] < -0.6
    assert hidden.sum() > 2000
    assert np.abs(before[hidden].astype(int) - after[hidden]).max() <= 1     # mipmaps reach over from seen texels
    assert (before != after).any() and after.min() > 40     # the pattern's darkest is 0.1 in linear light: byte 89


def test_a_fit_that_the_judges_like_less_is_not_taken_and_told(monkeypatch):
    def worse(self, numbers, rounds, watch):
        self.texels = torch.rand_like(self.texels)

    monkeypatch.setattr(texture_fit._Fit, "run", worse)
    views, masks = pattern_views(16)
    uv_mesh, told = one_chart_a_face(ball(3)), []
    still = dataclasses.replace(FAST, moving_light=False)
    found = bake_base_color(uv_mesh, views, masks, 256, make_stage(told), still)
    assert (found == bake_base_color(uv_mesh, views, masks, 256, make_stage([]))).all()
    assert len(told) == 1 and "contradict each other about the colours" in told[0]


def test_the_same_views_give_the_same_texture_and_progress_reaches_its_total():
    views, masks = pattern_views(16)
    uv_mesh, found = one_chart_a_face(ball(3)), []
    for _ in range(2):
        stage = make_stage([])
        found.append(bake_base_color(uv_mesh, views, masks, 256, stage, FAST))
        assert stage.done == stage.total and stage.loss is not None
    assert (found[0] == found[1]).all()


def test_no_time_leaves_the_projection():
    views, masks = pattern_views(16)
    uv_mesh, none = one_chart_a_face(ball(3)), dataclasses.replace(FAST, seconds=0.0, moving_light=False)
    stage = make_stage([])
    found = bake_base_color(uv_mesh, views, masks, 256, stage, none)
    assert (found == bake_base_color(uv_mesh, views, masks, 256, make_stage([]))).all()
    assert stage.done == stage.total


@pytest.mark.parametrize("asks", [0, 3], ids=["before the fit", "in its second round"])
def test_a_person_who_has_seen_enough_gets_the_projection_or_what_was_fitted(asks):
    views, masks = pattern_views(10)        # all of them judge: no trial comes first
    uv_mesh, still, asked = one_chart_a_face(ball(2)), dataclasses.replace(FAST, moving_light=False), []
    stage = make_stage([], is_enough=lambda: asked.append(1) or len(asked) > asks)
    found = bake_base_color(uv_mesh, views, masks, 128, stage, still)
    projected = bake_base_color(uv_mesh, views, masks, 128, make_stage([]))
    assert (found == projected).all() == (asks == 0)
    assert stage.done == stage.total and stage._run.finished_early


def test_cancel_is_heard_during_the_fit():
    views, masks = pattern_views(16)
    asked = []

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) > 16 + 3 + 16 + 2     # views, blocks of texels, views again: then the fit is under way

    with pytest.raises(Cancelled):
        bake_base_color(one_chart_a_face(ball(2)), views, masks, 128, make_stage([], is_cancelled=is_cancelled), FAST)


def test_photos_brighter_than_the_surface_count_less_than_darker_ones():
    wanted = torch.tensor([[0.3, 0.3, 0.3], [0.2, 0.2, 0.2], [0.25, 0.25, 0.25], [1.0, 1.0, 1.0]])
    shown = torch.tensor([[0.2, 0.2, 0.2], [0.3, 0.3, 0.3], [0.25, 0.25, 0.25], [1.2, 1.2, 1.2]])
    trust, loss = trust_of(shown, wanted)
    assert trust[0, 0] < trust[1, 0] < trust[2, 0] == 1
    assert (trust[3] == 0).all() and loss[2] == 0       # a clipped photo does not say how bright
    off = BRIGHTER / srgb_slope(torch.tensor(0.25))
    assert trust_of(torch.full((1, 3), 0.25 - float(off)), torch.full((1, 3), 0.25))[0][0, 0] == pytest.approx(0.5)


def test_the_slope_of_srgb_is_that_of_the_table():
    value = np.arange(1, 255)
    slope = (2 / 255) / (LINEAR[value + 1] - LINEAR[value - 1])
    # a central difference over two steps of a curve; at its kink at byte 10 both sides are mixed
    assert srgb_slope(torch.from_numpy(LINEAR[value])).numpy() == pytest.approx(slope, rel=0.05)


def test_qualities_are_rows_of_a_table():
    rows = [texture_preset(name) for name in ("draft", "normal", "high")]
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    assert judges_among(15) == () and judges_among(16) == (7, 15)
    assert rounds_of(FAST, 15) == 3 < rounds_of(FAST, 16)
    assert texture_preset("normal").moving_light and not texture_preset("normal", moving_light=False).moving_light
    with pytest.raises(BadSettings):
        texture_preset("best")


def shown_in_flash(views: ViewSet, masks: tuple[Mask, ...]) -> tuple[float, float, float]:
    """dB of the stripes in views that were left out: projected, fitted, and fitted in the flash of the others."""
    uv_mesh, left_out = one_chart_a_face(ball(4)), leave_out(masks)
    judges = judges_of(views, masks, left_out)
    kept = [each for each in range(len(masks)) if each not in left_out]
    rest, their_masks = ViewSet(tuple(views.views[each] for each in kept)), tuple(masks[each] for each in kept)
    texels = Texels(uv_mesh, 512, CPU)
    plain, fitted = (bake_texture(texels, rest, their_masks, make_stage([]), fit) for fit in (None, FAST))

    def score(baked, light) -> float:
        return score_texture(TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, baked.base_color), judges, CPU,
                             make_stage([]), light)

    return score(plain, plain.light), score(fitted, None), score(fitted, fitted.light)


def test_views_left_out_are_foretold_in_the_flash_of_the_others():
    plain, unlit, lit = shown_in_flash(*lit_views(ball(4), flash, count=24))
    print("dB projected, fitted, in their light:", plain, unlit, lit)
    assert lit > plain + 6 and lit > unlit + 6


def test_a_score_does_not_depend_on_exposure():
    rng = np.random.default_rng(3)
    drawn, both = rng.uniform(0.1, 0.6, (8, 9, 3)).astype(np.float32), np.ones((8, 9), bool)
    photo = drawn * [1.4, 0.7, 1.0]
    assert exposed_like(drawn, photo.astype(np.float32), both) == pytest.approx(photo, abs=1e-6)
    assert (exposed_like(drawn, np.zeros_like(drawn), np.zeros((8, 9), bool)) == drawn).all()    # nothing to go by
