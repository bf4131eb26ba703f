"""rasterize and interpolate: values and gradients against the slow twins; batches, threads, borders, bad arguments."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from render_scenes import project, relative_error, rough_ball, soup, two_views

from slipcast.bridge.errors import BadSettings
from slipcast.engine.render import (
    interpolate,
    interpolate_derivatives,
    nvdiffrast_backend,
    pixel_derivatives,
    rasterize,
)
from slipcast.engine.render.arguments import ShapeError
from slipcast.engine.render.torch_reference import interpolate_ref, pixel_derivatives_ref, rasterize_ref

SIZE = (23, 31)     # odd, and no multiple of any block


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


SCENES = {"balls": two_views, "soup": lambda: soup(3, 0.3, 2), "through the near plane": lambda: soup(4, -0.7, 2)}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("workers", [1, 3])
def test_rasterize_has_the_values_and_gradients_of_its_slow_twin(scene, workers):
    exact, faces = SCENES[scene]()
    exact.requires_grad_()
    slow = rasterize_ref(exact, faces, SIZE)
    fast_positions = exact.detach().float().requires_grad_()
    with threads(workers):
        fast = rasterize(fast_positions, faces, SIZE)
        same = (fast[..., 3] == slow[..., 3]).detach()
        assert same.float().mean() > 0.998      # a pixel centre on an edge may go either way in float32
        assert float((slow[..., 3] > 0).float().mean()) > 0.25
        assert float((fast - slow).detach()[same].abs().max()) < 1e-3    # soup has slivers that stretch a rounding
        generator = torch.Generator().manual_seed(0)
        pull = torch.rand(fast.shape, generator=generator) * same[..., None]
        pull[..., 3] = 0
        (fast * pull).sum().backward()
    (slow * pull).sum().backward()
    assert exact.grad is not None and fast_positions.grad is not None
    assert relative_error(fast_positions.grad, exact.grad) < 2e-3


def test_one_view_without_a_batch_axis_is_a_batch_of_one():
    exact, faces = two_views()
    single = rasterize(exact[1].float(), faces, SIZE)
    assert torch.equal(single, rasterize(exact.float(), faces, SIZE)[1:])


def test_sheets_behind_the_camera_before_the_near_plane_or_beyond_the_far_plane_are_empty_and_without_gradient():
    sheet = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]])
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    behind, before, beyond = sheet * -1, sheet.clone(), sheet.clone()
    before[:, 2], beyond[:, 2] = -1.1, 1.1
    positions = torch.stack([behind, before, beyond, sheet]).requires_grad_()
    rast = rasterize(positions, faces, (5, 7))
    assert rast[:3].abs().max() == 0 and rast[3, ..., 3].min() == 1
    rast.square().sum().backward()
    assert positions.grad is not None
    assert positions.grad[:3].abs().max() == 0 and positions.grad[3].abs().max() > 0


def test_no_views_no_faces_and_no_pixels_are_no_trouble():
    exact, faces = two_views()
    positions = exact.float().requires_grad_()
    for found in (rasterize(positions, faces[:0], SIZE), rasterize(positions, faces, (0, 9)),
                  rasterize(positions[:0], faces, SIZE)):
        colors = interpolate(torch.rand(exact.shape[1], 2), found, faces)
        assert colors.shape == (*found.shape[:3], 2) and colors.abs().sum() == 0
        (colors.sum() + found.sum()).backward()
    assert positions.grad is not None and positions.grad.abs().max() == 0


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("channels", [1, 3, 5], ids="{} channels".format)     # 3 have kernels of their own
def test_interpolate_has_the_values_and_gradients_of_its_slow_twin(shared, workers, channels):
    positions, faces = two_views()
    slow_rast = rasterize_ref(positions, faces, SIZE).requires_grad_()
    fast_rast = slow_rast.detach().float().requires_grad_()
    shape = (positions.shape[1], channels) if shared else (2, positions.shape[1], channels)
    attributes = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    fast_attributes = attributes.detach().float().requires_grad_()
    slow = interpolate_ref(attributes.expand(2, -1, -1), slow_rast, faces)
    pull = torch.rand(slow.shape, generator=torch.Generator().manual_seed(2))
    with threads(workers):
        fast = interpolate(fast_attributes, fast_rast, faces)
        (fast * pull).sum().backward()
    (slow * pull).sum().backward()
    assert torch.allclose(fast.double(), slow, atol=1e-6)
    assert fast_attributes.grad is not None and attributes.grad is not None
    assert fast_rast.grad is not None and slow_rast.grad is not None
    assert relative_error(fast_attributes.grad, attributes.grad) < 1e-5
    assert relative_error(fast_rast.grad, slow_rast.grad) < 1e-5


def test_interpolate_passes_gradcheck():
    positions, faces = two_views(0)
    rast = rasterize(positions[:1].float(), faces, (7, 6))

    def run(attributes: torch.Tensor) -> torch.Tensor:
        return interpolate(attributes.float(), rast, faces).double()

    attributes = torch.rand(positions.shape[1], 2, dtype=torch.float64).requires_grad_()
    # linear, so that a step of .1 has no error of its own and float32 leaves 1e-6 / .1
    assert torch.autograd.gradcheck(run, (attributes,), eps=0.1, atol=1e-4)


def test_attributes_may_have_other_corners_than_positions():
    positions, faces = two_views()
    rast = rasterize(positions.float(), faces, SIZE)
    corners = torch.arange(3 * len(faces), dtype=torch.int32).reshape(-1, 3)     # every face has corners of its own
    number = torch.arange(len(faces)).repeat_interleave(3)[:, None].float()
    found = interpolate(number, rast, corners)[..., 0]
    seen = rast[..., 3] > 0
    assert torch.allclose(found[seen], rast[..., 3][seen] - 1, atol=1e-4)


def test_derivatives_per_pixel_are_those_of_the_slow_twin_and_go_through_interpolation():
    positions, faces = two_views()
    rast = rasterize_ref(positions, faces, (15, 12))
    slow = pixel_derivatives_ref(rast, positions, faces)
    fast = pixel_derivatives(rast.float(), positions.float(), faces)
    assert relative_error(fast, slow) < 1e-3
    attributes = torch.rand(positions.shape[1], 2)
    changes = interpolate_derivatives(attributes, rast.float(), fast, faces)
    assert changes.shape == (2, 15, 12, 4)
    view, row, column = (int(each) for each in torch.nonzero(rast[..., 3])[40])
    a, b, c = attributes[faces[int(rast[view, row, column, 3]) - 1].long()]
    du_dx, du_dy, dv_dx, dv_dy = slow[view, row, column].float()
    expected = torch.stack([(a - c) * du_dx + (b - c) * dv_dx, (a - c) * du_dy + (b - c) * dv_dy], -1).flatten()
    assert torch.allclose(changes[view, row, column], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_three_runs_give_the_same_bits_and_a_batch_those_of_its_views(workers):
    exact, faces = two_views(2)

    def run(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        positions = positions.float().requires_grad_()
        attributes = torch.linspace(0, 1, exact.shape[1] * 3).reshape(-1, 3).requires_grad_()
        rast = rasterize(positions, faces, (96, 97))
        colors = interpolate(attributes, rast, faces)
        changes = interpolate_derivatives(attributes, rast, pixel_derivatives(rast, positions, faces), faces)
        (colors.square().sum() + rast[..., 2].sum() + changes.square().sum()).backward()
        assert positions.grad is not None and attributes.grad is not None
        return colors.detach(), positions.grad, attributes.grad

    with threads(workers):
        runs = [run(exact) for _ in range(3)]
        alone = [run(exact[view:view + 1]) for view in (0, 1)]
    for each in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], each))
    assert torch.equal(runs[0][0], torch.cat([each[0] for each in alone]))
    assert torch.allclose(runs[0][1], torch.cat([each[1] for each in alone]), rtol=1e-4, atol=1e-4)
    assert torch.allclose(runs[0][2], alone[0][2] + alone[1][2], rtol=1e-4, atol=1e-4)


def test_a_large_triangle_and_thousands_of_small_ones_leave_no_hole_in_a_ball():
    vertices, faces = rough_ball(5, 0, 0.0)
    seen = rasterize(project(vertices).float(), faces, (256, 256))[0, ..., 3] > 0
    rows, columns = torch.meshgrid(torch.arange(256) + 0.5, torch.arange(256) + 0.5, indexing="ij")
    radius = 128 * 2.1 / (3.2**2 - 1) ** 0.5
    inside = (rows - 128) ** 2 + (columns - 128) ** 2 < (radius - 1) ** 2
    assert bool(seen[inside].all())


def test_bad_arguments_are_named():
    positions, faces = two_views()
    good = positions.float()
    with pytest.raises(ShapeError, match="positions"):
        rasterize(positions, faces, SIZE)
    with pytest.raises(ShapeError, match="faces"):
        rasterize(good, faces.long(), SIZE)
    with pytest.raises(ShapeError, match=r"indices in \[0, 84\)"):
        rasterize(good, faces + 1, SIZE)
    with pytest.raises(ShapeError, match="NaN"):
        rasterize(good * float("nan"), faces, SIZE)
    rast = rasterize(good, faces, SIZE)
    with pytest.raises(ShapeError, match="1 or 2 items"):
        interpolate(torch.rand(3, 84, 1), rast, faces)
    with pytest.raises(ShapeError, match="triangles"):
        interpolate(torch.rand(84, 1), rast, faces[:3])
    rast[0, 0, 0, 3] = len(faces) + 1.0      # written into since it was made: looked through again
    with pytest.raises(ShapeError, match="triangles"):
        interpolate(torch.rand(84, 1), rast, faces)


def test_nvdiffrast_is_asked_for_by_name_and_its_absence_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)      # import fails, as where it is not installed
    nvdiffrast_backend._library.cache_clear()
    positions, faces = two_views()
    with pytest.raises(BadSettings, match="not installed"):
        rasterize(positions.float(), faces, SIZE, backend="nvdiffrast")
    with pytest.raises(BadSettings, match="no rasteriser called"):
        rasterize(positions.float(), faces, SIZE, backend="opengl")
