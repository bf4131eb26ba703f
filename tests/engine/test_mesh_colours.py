"""Colours finer than a mesh against a mesh that is as fine as they are, drawn by `interpolate`."""
from __future__ import annotations

import pytest
import torch
from render_scenes import relative_error, rough_ball, two_views

from slipcast.engine.render import Cells, divide_faces, draw_colours, interpolate, rasterize
from slipcast.engine.render.arguments import ShapeError

SIDE = (96, 120)


def drawn_finely(clip: torch.Tensor, cells: Cells, halvings: int, values: torch.Tensor) -> torch.Tensor:
    """Values of the samples of so many halvings, on a mesh with that many triangles. Clip space is halved as well."""
    fine = torch.stack([cells.spread(view)[:len(values)] for view in clip])
    return interpolate(values, rasterize(fine, cells.corners[halvings], SIDE), cells.corners[halvings])


@pytest.fixture(params=[0, 1, 3])
def scene(request):
    clip, faces = two_views()
    clip = clip.float()
    cells = divide_faces(faces, clip.shape[1], request.param)
    random = torch.Generator().manual_seed(request.param)
    colours = torch.rand((cells.count, 3), generator=random, requires_grad=True)
    light = 0.5 + torch.rand((2, clip.shape[1], 3), generator=random)
    return clip.requires_grad_(), faces, cells, colours, light


def test_halves_lie_on_their_faces_and_neighbours_share_their_sides():
    vertices, faces = rough_ball(1, 0)
    cells = divide_faces(faces, len(vertices), 2)
    places = cells.spread(vertices)
    assert cells.count == len(places) == 2 + 16 * (len(vertices) - 2)      # Euler's formula, four times as many twice
    assert (places[:len(vertices)] == vertices).all()
    for halvings, corners in enumerate(cells.corners):
        a, b, c = places[corners.long()].unbind(1)
        areas = torch.linalg.cross(b - a, c - a)
        whole = areas.reshape(len(faces), -1, 3)
        assert torch.allclose(whole, areas.reshape(len(faces), 4**halvings, 3)[:, :1].expand_as(whole))   # same way up
        sides = torch.cat([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]).sort(1).values
        assert (torch.unique(sides, dim=0, return_counts=True)[1] == 2).all()


def test_the_colours_are_those_of_a_mesh_as_fine_as_they_are(scene):
    clip, faces, cells, colours, light = scene
    rast = rasterize(clip, faces, SIDE)
    drawn = draw_colours(colours, cells, light, rast)
    lit = drawn_finely(clip, cells, cells.halvings, colours) * interpolate(light, rast, faces)
    assert torch.equal(drawn[..., 3], (rast[..., 3] > 0).float()) and drawn[..., 3].mean() > 0.2
    off = (drawn[..., :3] - lit).abs().amax(-1)
    # float32 rounds differently on the finer mesh: a pixel on a border may show the face beside
    assert (off > 1e-4).float().mean() < 1e-3 and (drawn[rast[..., 3] == 0] == 0).all()


def test_the_gradient_to_the_colours_is_theirs_too(scene):
    clip, faces, cells, colours, light = scene
    rast = rasterize(clip, faces, SIDE).detach()
    weight = torch.rand((*rast.shape[:3], 3), generator=torch.Generator().manual_seed(1))
    found, = torch.autograd.grad((draw_colours(colours, cells, light, rast)[..., :3] * weight).sum(), colours)
    lit = drawn_finely(clip, cells, cells.halvings, colours) * interpolate(light, rast, faces)
    expected, = torch.autograd.grad((lit * weight).sum(), colours)
    assert relative_error(found, expected) < 1e-3


def test_the_surface_is_moved_by_the_slopes_of_the_light_and_of_the_colours_once_smoothed(scene):
    clip, faces, cells, colours, light = scene
    rast = rasterize(clip, faces, SIDE)
    weight = torch.rand((*rast.shape[:3], 3), generator=torch.Generator().manual_seed(1))
    found, = torch.autograd.grad((draw_colours(colours, cells, light, rast)[..., :3] * weight).sum(), clip)
    smooth = cells.smooth(colours).detach()
    smooth_light = interpolate(light, rasterize(clip, faces, SIDE), faces)
    lit = drawn_finely(clip, cells, max(cells.halvings - 1, 0), smooth) * smooth_light
    expected, = torch.autograd.grad((lit * weight).sum(), clip)
    assert relative_error(found, expected.double()) < 1e-3


def test_smoothing_keeps_what_is_linear_around_a_sample_and_takes_half_of_what_is_not():
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1]], dtype=torch.int32)
    cells = divide_faces(faces, 4, 1)
    around = torch.tensor([[0.0], [1.0], [1.0], [-2.0]])        # linear, mean 0 around vertex 0
    assert cells.smooth(cells.spread(around))[0] == pytest.approx(0)
    spike = torch.zeros((cells.count, 1))
    spike[0] = 1
    assert cells.smooth(spike)[0] == pytest.approx(1 / 2.5)      # three new samples beside it, half of each
    assert divide_faces(faces, 4, 0).smooth(around) is around


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing_but_the_last_bits_of_gradients(scene, threads):
    clip, faces, cells, colours, light = scene
    rast = rasterize(clip, faces, SIDE)
    one = draw_colours(colours, cells, light, rast)
    torch.set_num_threads(threads)
    other = draw_colours(colours, cells, light, rast)
    assert torch.equal(one, other)
    gradients = [torch.autograd.grad(each.square().sum(), [colours, clip], retain_graph=True) for each in (one, other)]
    for first, second in zip(*gradients):
        assert relative_error(first, second.double()) < 1e-5


def test_a_mesh_without_faces_shows_nothing_and_wrong_shapes_are_refused():
    none = torch.zeros((0, 3), dtype=torch.int32)
    cells = divide_faces(none, 3, 1)
    rast = torch.zeros((1, 8, 8, 4), requires_grad=True)
    colours, light = torch.ones((3, 3), requires_grad=True), torch.ones((1, 3, 3))
    drawn = draw_colours(colours, cells, light, rast)
    assert not drawn.any()
    drawn.sum().backward()
    assert colours.grad is not None and rast.grad is not None and not colours.grad.any() and not rast.grad.any()
    with pytest.raises(ShapeError, match="colours"):
        draw_colours(torch.ones((4, 3)), cells, light, rast)
    with pytest.raises(ShapeError, match="light"):
        draw_colours(colours, cells, light[:, :2], rast)
    with pytest.raises(ShapeError, match="halvings"):
        divide_faces(none, 3, -1)
