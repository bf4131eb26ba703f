"""A mesh comes to look like its views; it is kept, stopped and judged as promised."""
from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import torch
import trimesh
from scenes import make_stage
from skin import CPU, ball, dented, joined, paint, painted_views, to_trimesh, top

from slipcast.bridge.errors import BadMasks, BadMesh, BadSettings, Cancelled
from slipcast.engine.pipeline.largesteps import AdamUniform, LargeSteps
from slipcast.engine.pipeline.manifold import components_of_faces, is_closed
from slipcast.engine.pipeline.normals import vertex_normals
from slipcast.engine.pipeline.refine import refine_mesh
from slipcast.engine.pipeline.refine_colours import fine_cells, seen_colours
from slipcast.engine.pipeline.refine_freedom import FREE, Freedom
from slipcast.engine.pipeline.refine_losses import COLOUR_ROUNDING, Look, Surface, clip_positions, view_loss
from slipcast.engine.pipeline.refine_settings import (
    REFINE_PRESETS,
    RefineLevel,
    RefineSettings,
    from_hull,
    refine_preset,
)
from slipcast.engine.pipeline.targets import UnitFrame, crop_of, make_targets
from slipcast.engine.pipeline.types import Camera, Mask, Mesh, View, ViewSet
from slipcast.engine.render import build_topology, clip_from_camera, depth_map, divide_faces

QUICK = RefineSettings(levels=(RefineLevel(64, 1200, 60),), hold_out=0)


def colours(mesh: Mesh) -> np.ndarray:
    """sRGB bytes, a smooth pattern over the place."""
    return 128 + 100 * np.sin(5 * mesh.vertices + [0, 1, 2])


def shown(mesh: Mesh, count: int = 8, size: int = 96) -> tuple[ViewSet, tuple[Mask, ...]]:
    """Views that frame an object of about the radius 1 at distance 4, `size` across."""
    views, masks = painted_views(mesh, colours(mesh), count, 160)
    return ViewSet(views.views), masks


def bumped() -> Mesh:
    smooth = ball(4)
    x, y, z = smooth.vertices.T
    return Mesh((smooth.vertices * (1 + 0.15 * np.sin(3 * x) * np.sin(3 * y + 1) * np.cos(3 * z))[:, None])
                .astype(np.float32), smooth.faces)


def radial_error(mesh: Mesh, truth: Mesh) -> float:
    """Mean distance of the vertices from the true surface."""
    return float(np.abs(trimesh.proximity.closest_point(to_trimesh(truth), mesh.vertices)[1]).mean())


@pytest.fixture(scope="module")
def bumps():
    truth = bumped()
    return truth, *shown(truth)


def test_a_ball_takes_on_the_bumps_of_its_views(bumps):
    truth, views, masks = bumps
    stage = make_stage()
    refined = refine_mesh(ball(3), views, masks, QUICK, CPU, stage)
    # the ball is off by 0.04 on average; a pixel of these views is 0.02 wide at the object
    assert radial_error(refined, truth) < 0.4 * radial_error(ball(3), truth)
    assert is_closed(refined) and refined.vertices.dtype == np.float32 and refined.faces.dtype == np.int32
    assert stage.done == stage.total == 60 and stage.loss is not None and stage.loss > 0


@pytest.mark.parametrize("linear", [False, True])
def test_colours_are_compared_as_values_or_as_light(linear):
    """Inside the outline every pixel is off by the same; where the coverage is a fraction, light is scaled by it."""
    mesh, shade, wanted = ball(3), 0.25, 0.75
    views, masks = painted_views(mesh, np.full((len(mesh.vertices), 3), 255 * wanted), 4, 96)
    frame = UnitFrame.around(mesh)
    targets = make_targets(views.views, masks, [crop_of(view.camera, mask, mesh) for view, mask
                                                in zip(views.views, masks)], frame, 96, CPU)
    settings = dataclasses.replace(QUICK, silhouette=0.0, linear_colour=linear)
    faces = torch.from_numpy(mesh.faces)
    surface = Surface(faces, build_topology(faces), torch.zeros((0, 2), dtype=torch.int64), 1.0)
    colours = torch.full((len(mesh.vertices), 3), shade / 2, requires_grad=True)
    look = Look(colours, divide_faces(faces, len(mesh.vertices), 0), torch.full((4, len(mesh.vertices), 3), 2.0))
    unit = torch.from_numpy(frame.to_unit(mesh).vertices)
    loss = view_loss(unit, look, surface, targets, torch.arange(4), settings, frame.radius)
    light = (lambda value: ((value + 0.055) / 1.055)**2.4) if linear else (lambda value: value)
    off = 3**0.5 * (light(wanted) - light(shade))
    assert float(loss.detach()) == pytest.approx((off**2 + COLOUR_ROUNDING**2)**0.5 - COLOUR_ROUNDING, rel=0.03)
    loss.backward()
    assert float(colours.grad.sum()) < 0                # brighter is nearer


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_mesh_and_another_seed_another(bumps, threads):
    """With so many faces PyTorch shares out its work; if it added up in an order of chance, two runs would differ."""
    truth, views, masks = bumps
    torch.set_num_threads(threads)
    views = dataclasses.replace(views, points=trimesh.sample.sample_surface(to_trimesh(truth), 12_000, seed=0)[0])
    short = dataclasses.replace(QUICK, levels=(RefineLevel(48, 12_000, 12, tension=0.02),))
    first, again = (refine_mesh(ball(3), views, masks, short, CPU, make_stage()) for _ in range(2))
    assert (first.vertices == again.vertices).all() and (first.faces == again.faces).all()
    other = refine_mesh(ball(3), views, masks, dataclasses.replace(short, seed=1), CPU, make_stage())
    assert (other.vertices != first.vertices).any()


def test_cancel_raises_and_leaves_the_last_good_state_with_the_preview(bumps):
    _, views, masks = bumps
    seen: list[Mesh] = []
    asked = iter(range(10_000))
    stage = make_stage(is_cancelled=lambda: next(asked) > 60)
    with pytest.raises(Cancelled):
        refine_mesh(ball(3), views, masks, QUICK, CPU, stage, seen.append)
    assert seen and np.isfinite(seen[-1].vertices).all() and 0 < stage.done < 60


def test_good_enough_ends_with_the_state_of_that_moment_and_nobody_else_judges_it(bumps):
    truth, views, masks = bumps
    asked = itertools.count()
    settings = dataclasses.replace(QUICK, levels=(RefineLevel(64, 1200, 400), RefineLevel(64, 2000, 400)))
    warnings: list[str] = []
    stage = make_stage(warnings, is_enough=lambda: next(asked) > 120)
    early = refine_mesh(ball(3), views, masks, settings, CPU, stage)
    assert 50 <= stage.done <= 120 and stage._run.finished_early and warnings == []
    assert radial_error(early, truth) < 0.7 * radial_error(ball(3), truth)


def test_good_enough_before_the_first_step_leaves_the_mesh_as_it_was(bumps):
    _, views, masks = bumps
    given = ball(3)
    stage = make_stage(is_enough=lambda: True)
    assert refine_mesh(given, views, masks, QUICK, CPU, stage) is given and stage.done == 0


def test_time_that_is_up_ends_the_run_with_what_there_is(bumps):
    truth, views, masks = bumps
    stage = make_stage()
    endless = dataclasses.replace(QUICK, seconds=1.5, levels=(RefineLevel(64, 1200, 100_000),))
    refined = refine_mesh(ball(3), views, masks, endless, CPU, stage)
    assert 5 < stage.done < 2000
    assert radial_error(refined, truth) < radial_error(ball(3), truth)


def test_parts_that_are_separate_stay():
    truth = joined(ball(3, 0.6, (-0.7, 0, 0)), ball(3, 0.15, (0.7, 0, 0)))
    start = joined(ball(3, 0.65, (-0.7, 0, 0)), ball(3, 0.17, (0.7, 0, 0)))
    refined = refine_mesh(start, *shown(truth), QUICK, CPU, make_stage())
    part = components_of_faces(refined.faces, len(refined.vertices))
    assert part.max() == 1
    assert to_trimesh(refined).volume == pytest.approx(4 / 3 * np.pi * (0.6**3 + 0.15**3), rel=0.05)


def test_a_result_that_the_views_left_out_like_less_is_not_taken(bumps):
    """Six views say that the object is larger than it is; the two that are left out know better."""
    truth, views, masks = bumps
    grown = [mask if i in (3, 7) else Mask(cv2.dilate(mask.values, np.ones((25, 25))), "alpha", 1.0)
             for i, mask in enumerate(masks)]
    warnings: list[str] = []
    settings = dataclasses.replace(QUICK, hold_out=4, levels=(RefineLevel(64, 1200, 60), RefineLevel(64, 1200, 60)))
    stage = make_stage(warnings)
    refined = refine_mesh(truth, views, grown, settings, CPU, stage)
    assert refined is truth
    assert len(warnings) == 1 and "cameras" in warnings[0]
    assert stage.done == 60                # the last level is not begun


def test_a_coarse_first_level_is_not_judged_by_the_fine_colours_that_a_fine_mesh_can_hold():
    """Stripes of 7 pixels of a view. The given mesh has a face to 2 pixels, the first level's one to 11."""
    truth, given = ball(5), ball(5, 1.01)
    views, masks = painted_views(truth, 128 + 110 * np.sin(20 * truth.vertices + [0, 1, 2]), 12, 160)
    settings = dataclasses.replace(QUICK, hold_out=4, levels=(RefineLevel(64, 600, 30), RefineLevel(64, 20_000, 1)))
    warnings: list[str] = []
    refined = refine_mesh(given, views, masks, settings, CPU, make_stage(warnings))
    assert refined is not given and warnings == []
    assert radial_error(refined, truth) < 0.7 * radial_error(given, truth)     # the rest: coarse chords


def test_a_hollow_that_no_outline_shows_is_found_by_its_colours():
    settings = dataclasses.replace(QUICK, levels=(RefineLevel(80, 2500, 150),))
    refined = refine_mesh(ball(4), *shown(dented(), 16), settings, CPU, make_stage())
    assert top(ball(4)) > 0.99 and top(refined) < 0.85


def test_a_hollow_without_colours_is_found_by_depth_and_normals_that_the_views_carry():
    truth = dented()
    views, masks = painted_views(truth, np.full(truth.vertices.shape, 128.0), 16, 160)
    normals = vertex_normals(truth.vertices, truth.faces)
    with_both = []
    for view in views.views:
        depth = depth_map(truth, view.camera, CPU).numpy()
        seen = paint(truth, 127.5 * (normals + 1), view.camera).image / 127.5 - 1.0
        with_both.append(dataclasses.replace(view, depth=depth, normals=np.where(np.isfinite(depth)[..., None], seen, 0)
                                             .astype(np.float32)))
    settings = dataclasses.replace(QUICK, levels=(RefineLevel(80, 2500, 60),))
    by_colour = refine_mesh(ball(4), views, masks, settings, CPU, make_stage())
    by_depth = refine_mesh(ball(4), ViewSet(tuple(with_both)), masks, dataclasses.replace(settings, normals=0.0), CPU,
                           make_stage())
    by_both = refine_mesh(ball(4), ViewSet(tuple(with_both)), masks, settings, CPU, make_stage())
    assert top(by_colour) > top(truth) + 0.06     # grey all over says little: there is no light in these views
    assert top(by_depth) == pytest.approx(top(truth), abs=0.05)     # 1.2 pixels of these views
    assert top(by_both) == pytest.approx(top(truth), abs=0.05)


@pytest.mark.parametrize("mesh", [Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)),
                                  Mesh(np.full((3, 3), np.nan, np.float32), np.array([[0, 1, 2]], np.int32))])
def test_a_mesh_that_is_none_is_refused(bumps, mesh):
    with pytest.raises(BadMesh):
        refine_mesh(mesh, bumps[1], bumps[2], QUICK, CPU, make_stage())


def test_without_a_mask_there_is_nothing_to_refine_against(bumps):
    masks = [Mask(mask.values, "centre", 0.0) for mask in bumps[2]]
    with pytest.raises(BadMasks):
        refine_mesh(ball(3), bumps[1], masks, QUICK, CPU, make_stage())


def test_large_steps_go_there_and_back_and_their_gradient_is_the_inverse_of_a_symmetric_matrix():
    mesh = ball(2)
    steps = LargeSteps(mesh.faces, len(mesh.vertices), 5.0, CPU)
    positions = torch.from_numpy(mesh.vertices)
    stiff = steps.stiff_from_positions(positions).requires_grad_()
    back = steps.positions_from_stiff(stiff)
    assert (back - positions).abs().max() < 1e-5
    pull = torch.randn(back.shape, generator=torch.Generator().manual_seed(0))
    (back * pull).sum().backward()
    assert stiff.grad is not None
    assert (steps.stiff_from_positions(stiff.grad) - pull).abs().max() < 1e-4


def test_a_step_of_adam_uniform_keeps_the_gradients_direction():
    place = torch.zeros((2, 3), requires_grad=True)
    place.grad = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])
    AdamUniform(place, uniform=1.0).step(0.1)
    assert torch.allclose(place, torch.tensor([[-0.06, -0.08, 0.0], [-0.006, -0.008, 0.0]]))
    own = torch.zeros((2, 3), requires_grad=True)
    own.grad = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])
    AdamUniform(own, uniform=0.0).step(0.1)
    assert torch.allclose(own, torch.tensor([[-0.06, -0.08, 0.0]] * 2))


def test_targets_show_a_point_where_the_whole_picture_does():
    mesh = ball(2, 0.5, (0.2, 0.1, 0))
    views, masks = shown(mesh, 1)
    view, frame = views.views[0], UnitFrame.around(mesh)
    crop = crop_of(view.camera, masks[0], mesh)
    targets = make_targets([view], masks[:1], [crop], frame, 40, CPU)
    unit = np.c_[frame.to_unit(mesh).vertices, np.ones(len(mesh.vertices))]
    clip = unit @ targets.clip[0].numpy().T
    own = (clip[:, :2] / clip[:, 3:] + 1) / 2 * crop.side + [crop.left, crop.top]
    whole = clip_from_camera(view.camera, mesh.vertices)
    assert np.abs(own - (whole[:, :2] / whole[:, 3:] + 1) / 2 * view.camera.width).max() < 1e-3
    assert (np.abs(clip[:, 2]) < clip[:, 3]).all()
    assert targets.rgba.shape == (1, 40, 40, 4) and targets.rgba[..., 3].max() == 255
    assert int(targets.rgba[0, 0, :, 3].max()) == 0               # room around the object


def test_what_lies_outside_the_picture_is_not_known():
    camera = Camera(40, 40, 100.0, 100.0, 20.0, 20.0, np.eye(4))
    cut = np.zeros((40, 40), np.float32)
    cut[:, :20] = 1
    view = View("cut.png", camera, np.full((40, 40, 3), 99, np.uint8))
    mesh = ball(1, 0.1, (-0.2, 0, 1))
    targets = make_targets([view], [Mask(cut, "alpha", 1.0)], [crop_of(camera, Mask(cut, "alpha", 1.0), mesh)],
                           UnitFrame.around(mesh), 64, CPU)
    known = targets.known[0].numpy() > 0
    assert known.any() and not known[:, 0].any() and not known[0].any()


def test_presets_grow_with_the_quality_and_other_names_are_refused():
    rows = [refine_preset(each) for each in ("draft", "normal", "high")]
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    for row in rows:
        loose, *others = from_hull(row).levels
        assert loose.tension > 0 == row.levels[0].tension and loose.stiffness < row.levels[0].stiffness
        assert tuple(others) == row.levels[1:]
    assert set(REFINE_PRESETS) == {"draft", "normal", "high"}
    with pytest.raises(BadSettings):
        refine_preset("best")


def test_a_far_object_of_any_size_is_refined_alike(bumps):
    """Steps are in units of the object, and numbers far from the origin do not lose their digits."""
    _, views, masks = bumps
    size, away = 50.0, np.array([4000.0, -3000.0, 500.0])

    def moved(view: View) -> View:
        pose = view.camera.world_from_camera.copy()
        pose[:3, 3] = size * pose[:3, 3] + away
        return dataclasses.replace(view, camera=dataclasses.replace(view.camera, world_from_camera=pose))

    start = ball(3)
    far = Mesh((size * start.vertices + away).astype(np.float32), start.faces)
    short = dataclasses.replace(QUICK, levels=(RefineLevel(48, 800, 40),))
    near = refine_mesh(start, views, masks, short, CPU, make_stage())
    there = refine_mesh(far, ViewSet(tuple(moved(view) for view in views.views)), masks, short, CPU, make_stage())
    assert to_trimesh(there).volume / size**3 == pytest.approx(to_trimesh(near).volume, rel=0.01)


def test_a_border_of_colours_does_not_dent_the_surface_it_is_painted_on():
    """A smooth ball with black patches, seen far finer than its triangles, is a ball afterwards. With colours of its
    vertices alone its dents are .021 deep."""
    truth = ball(5)
    patches = np.sin(4 * truth.vertices + 0.3).prod(1) > 0.1
    views, masks = painted_views(truth, np.where(patches[:, None], 0, 230) * np.ones(3), 8, 192)
    settings = RefineSettings(levels=(RefineLevel(128, 600, 200),), hold_out=0)
    refined = refine_mesh(ball(3), views, masks, settings, CPU, make_stage())
    radius = np.linalg.norm(refined.vertices, axis=1)
    assert np.abs(radius - np.median(radius)).max() < 0.01


def test_colours_are_about_two_pixels_apart_on_a_mesh_of_any_kind():
    for level, side, halvings in ((4, 64, 0), (3, 64, 1), (3, 128, 2), (1, 128, 4)):
        mesh = ball(level)
        edge = np.sort(mesh.faces[:, [0, 1]], axis=1)
        surface = Surface(torch.from_numpy(mesh.faces), torch.zeros(0), torch.from_numpy(edge.astype(np.int64)), 0.0)
        assert fine_cells(torch.from_numpy(mesh.vertices), surface, side).halvings == halvings


def test_a_vertex_in_the_plane_of_a_camera_has_the_colour_that_other_views_see():
    """There the view's projection divides by 0, and no number times a weight of 0 is none."""
    mesh = ball(3)
    views, masks = painted_views(mesh, np.full(mesh.vertices.shape, 200.0), 2)
    frame = UnitFrame.around(mesh)
    crops = [crop_of(view.camera, mask, mesh) for view, mask in zip(views.views, masks)]
    targets = make_targets(views.views, masks, crops, frame, 64, CPU)
    vertices = torch.from_numpy(frame.to_unit(mesh).vertices)
    targets.clip[0, 3] = torch.tensor([1, 0, 0, -float(vertices[0, 0])])
    surface = Surface(torch.from_numpy(mesh.faces), torch.zeros(0), torch.zeros((0, 2), dtype=torch.int64), 0.0)
    cells = divide_faces(surface.faces, len(vertices), 1)
    colours = seen_colours(vertices, surface, targets, None, cells)
    assert clip_positions(vertices, targets.clip[:1])[0, 0, 3] == 0
    assert torch.isfinite(colours).all()


def test_tension_draws_in_what_a_view_sees_and_leaves_the_rest_as_it_is():
    views, masks = shown(ball(4, 0.85))     # so that the judge likes a smaller ball
    eye = -views.views[0].camera.camera_from_world[:3, :3].T @ views.views[0].camera.camera_from_world[:3, 3]
    level = RefineLevel(64, 1200, 20, uniform=1.0, stiffness=0.3, tension=1.0)
    only = RefineSettings(levels=(level,), hold_out=0, silhouette=0, colour=0, fairness=0, evenness=0)

    def radii(freedom: Freedom) -> tuple[np.ndarray, np.ndarray]:
        mesh = refine_mesh(ball(3), ViewSet(views.views[:1]), masks[:1], only, CPU, make_stage(), freedom=freedom)
        along = mesh.vertices @ (eye / np.linalg.norm(eye))
        return np.linalg.norm(mesh.vertices[along > 0.6], axis=1), np.linalg.norm(mesh.vertices[along < -0.3], axis=1)

    seen, unseen = radii(FREE)
    assert seen.mean() < 0.95 and unseen.min() > 0.98
    assert min(each.min() for each in radii(Freedom(keep_topology=True))) > 0.999   # an artist's mesh is no hull
