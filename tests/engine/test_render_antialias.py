"""antialias: values and gradients against the slow twin, and against areas known by hand."""
from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import trimesh
import warp as wp
from render_scenes import project, relative_error, rough_ball, soup, two_views

from slipcast.bench.antialias_gradient import geodesic_ball
from slipcast.engine.render import antialias, build_topology, interpolate, rasterize
from slipcast.engine.render.arguments import ShapeError
from slipcast.engine.render.backend import launch_pieces
from slipcast.engine.render.contour_kernels import UNKNOWN
from slipcast.engine.render.torch_reference import antialias_ref, rasterize_ref

SIZE = (25, 34)
antialias_module = importlib.import_module("slipcast.engine.render.antialias")      # its function has its name


def scene(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    if name == "small triangles":           # about a pixel each
        vertices, faces = rough_ball(3, 5, 0.05)
        return project(vertices)[None], faces
    return two_views() if name == "balls" else soup(6, -0.5, 2)


@pytest.mark.parametrize("name", ["balls", "small triangles", "soup"])
@pytest.mark.parametrize("workers", [1, 3])
def test_antialias_has_the_values_and_gradients_of_its_slow_twin(name, workers):
    positions, faces = scene(name)
    rast = rasterize_ref(positions, faces, SIZE)
    color = torch.rand(*rast.shape[:3], 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact, exact_color = positions.clone().requires_grad_(), color.clone().requires_grad_()
    slow = antialias_ref(exact_color, rast, exact, faces)
    quick, quick_color = positions.float().requires_grad_(), color.float().requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        fast = antialias(quick_color, rast.float(), quick, faces)
        # where the plane of a pixel pair goes through a vertex, rounding decides which way the surface is followed
        same = ((fast - slow).abs() < 1e-3).all(-1, keepdim=True)
        pull = torch.rand(slow.shape, generator=torch.Generator().manual_seed(1)) * same
        (fast * pull).sum().backward()
    finally:
        torch.set_num_threads(before)
    (slow * pull).sum().backward()
    assert float(same.float().mean()) > 0.998
    assert float((slow - color).detach().abs().max()) > 0.1 and exact.grad is not None and exact_color.grad is not None
    assert quick.grad is not None and quick_color.grad is not None
    assert relative_error(quick_color.grad, exact_color.grad) < 1e-4
    assert relative_error(quick.grad, exact.grad) < 1e-3


def boxes() -> tuple[torch.Tensor, torch.Tensor]:
    """Seen straight on, with edges through pixel centres and at 45 degrees: rounding decides everywhere."""
    box = trimesh.creation.box((1, 1, 1)).subdivide().subdivide()
    spots = [(0, 0, 0), (1, 1, 0), (2.5, 0.25, 0.5), (0.125, 2, 1)]
    vertices = np.concatenate([box.vertices * 0.75 + spot for spot in spots])
    faces = np.concatenate([box.faces + len(box.vertices) * each for each in range(len(spots))])
    flat = torch.from_numpy(vertices / 2 - 0.75)
    clip = torch.stack([flat[:, 0], flat[:, 1], flat[:, 2] / 4, torch.ones(len(flat))], -1)
    tilted = torch.stack([flat[:, 0] - flat[:, 1], flat[:, 0] + flat[:, 1], flat[:, 2] / 4, torch.ones(len(flat))], -1)
    return torch.stack([clip, tilted]), torch.from_numpy(faces.astype(np.int32))


@pytest.mark.parametrize("name", ["balls", "small triangles", "tiny triangles", "boxes", *range(12)])
def test_outlines_are_looked_for_wherever_there_are_some(name, monkeypatch):
    """Looking at all pairs of pixels finds the same, bit by bit."""
    if name == "tiny triangles":
        vertices, faces = rough_ball(6, 5, 0.02)
        positions = torch.stack([project(vertices, turn=turn) for turn in (0.1, 0.5)])
    elif name == "boxes":
        positions, faces = boxes()
    else:
        positions, faces = soup(name, -0.5 if name % 2 else 0.05, 3) if isinstance(name, int) else scene(name)
    positions = positions.float()
    rast = rasterize(positions, faces, (64, 80))
    color = torch.rand(*rast.shape[:3], 2, generator=torch.Generator().manual_seed(0))
    found = antialias(color, rast, positions, faces)
    assert bool((found != color).any())

    def mark_all(works, plan, device):
        mark, find = works
        contours = mark.arguments[-1]
        code = wp.to_torch(contours.code)
        code.fill_(UNKNOWN)
        code[:, :, -1, 0], code[:, -1, :, 1] = -1, -1       # nothing lies beyond the image
        contours.marked.fill_(1)
        launch_pieces([find], plan, device)

    monkeypatch.setattr(antialias_module, "launch_pieces", mark_all)
    assert torch.equal(found, antialias(color, rast, positions, faces))


def test_the_slow_twin_passes_gradcheck():
    vertices, faces = rough_ball(0, 0)
    positions = project(vertices, turn=0.3)[None]      # no vertex in the plane of a pixel pair, where there is a kink
    rast = rasterize_ref(positions, faces, (6, 5))
    color = torch.rand(1, 6, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda c, p: antialias_ref(c, rast, p, faces), (color, positions.requires_grad_()))


@pytest.mark.parametrize("edge_x", [5.1, 5.4, 5.6, 5.95])
def test_coverage_beside_an_upright_edge_is_the_share_of_the_pixel(edge_x):
    """A sheet from x = 1.5 to edge_x over all rows of a 10 pixel wide image."""
    left, right = 1.5 / 5 - 1, edge_x / 5 - 1
    positions = torch.tensor([[left, -2.0, 0, 1], [right, -2, 0, 1], [right, 2, 0, 1], [left, 2, 0, 1]])
    positions.requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    rast = rasterize(positions, faces, (3, 10))
    covered = antialias((rast[..., 3:] > 0).float(), rast, positions, faces)
    # left edge: pixel 1 is half covered; its centre is the edge itself, and counts as covered or not by rounding
    assert torch.allclose(covered[0, :, 2:, 0].sum(1), torch.full((3,), edge_x - 2), atol=1e-5)
    covered.sum().backward()
    assert positions.grad is not None
    # 3 rows, 5 pixels for each unit of x: the two right corners together
    assert float(positions.grad[1:3, 0].sum()) == pytest.approx(15, abs=1e-3)


@pytest.mark.parametrize("faces_wanted", [1000, 20000])
def test_the_gradient_of_a_silhouettes_area_is_right_with_large_and_with_tiny_triangles(faces_wanted):
    points, indices = geodesic_ball(faces_wanted)
    faces = torch.from_numpy(indices)
    vertices = torch.from_numpy(points).float()
    scale = torch.ones((), requires_grad=True)
    positions = project(vertices * scale)
    rast = rasterize(positions, faces, (256, 256))
    covered = antialias((rast[..., 3:] > 0).float(), rast, positions, faces)
    area = covered.sum()
    area.backward()

    def disc(radius: float) -> float:
        """Pixels covered by a ball at distance 3.2 with focal length 2.1."""
        return torch.pi * (128 * 2.1) ** 2 * radius**2 / (3.2**2 - radius**2)

    true = (disc(1.001) - disc(0.999)) / 0.002
    assert scale.grad is not None
    # 1000 faces: inscribed polygon, 1.3 % less area; rows and columns sample the outline, measured within 1 %
    assert float(area.detach()) == pytest.approx(disc(1.0), rel=0.015)
    assert float(scale.grad) == pytest.approx(true, rel=0.03)


def test_looking_at_own_edges_only_loses_the_gradient_of_tiny_triangles():
    """Why the surface is followed: were this no longer so, max_steps could go."""
    points, indices = geodesic_ball(20000)
    faces, positions = torch.from_numpy(indices), project(torch.from_numpy(points).float())
    rast = rasterize(positions, faces, (256, 256))
    covered = (rast[..., 3:] > 0).float()
    own = (antialias(covered, rast, positions, faces, max_steps=1) - covered).abs().sum()
    followed = (antialias(covered, rast, positions, faces) - covered).abs().sum()
    assert float(own) < 0.1 * float(followed)


def test_a_smooth_surface_without_an_outline_in_sight_is_left_as_it_is():
    vertices, faces = rough_ball(3, 0, 0.0)
    positions = project(vertices).float()
    rast = rasterize(positions * torch.tensor([4.0, 4.0, 1, 1]), faces, SIZE)       # the ball fills the frame
    assert float(rast[..., 3].min()) > 0
    color = torch.rand(1, *SIZE, 3)
    assert torch.equal(antialias(color, rast, positions * torch.tensor([4.0, 4.0, 1, 1]), faces), color)


def test_seams_are_no_outlines_when_the_topology_is_that_of_the_welded_mesh():
    vertices, faces = rough_ball(3, 0, 0.0)
    split = torch.arange(3 * len(faces), dtype=torch.int32).reshape(-1, 3)
    positions = project(vertices).float()
    torn = positions[faces.long()].reshape(-1, 4)
    rast = rasterize(positions, faces, SIZE)
    color = torch.rand(1, *SIZE, 1)
    whole = antialias(color, rast, positions, faces)
    assert torch.allclose(antialias(color, rast, torn, split, build_topology(faces)), whole, atol=1e-5)
    assert float((antialias(color, rast, torn, split) - whole).abs().max()) > 0.05


def test_topology_leads_across_each_edge_and_ends_at_borders():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 4, 5]], dtype=torch.int32)      # two that share 1-2, one degenerate
    links = build_topology(faces)
    assert links.tolist()[:6] == [-1, 3, -1, 1, -1, -1]
    assert links[6] == -1 and sorted(links.tolist()[7:]) == [7, 8]
    fan = build_topology(torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4]]))
    assert fan.tolist()[0] == 3 and fan.tolist()[3] == 6 and fan.tolist()[6] == 0
    _, ball = rough_ball(2, 0)
    links = build_topology(ball).long()
    assert torch.equal(links[links], torch.arange(len(links)))
    assert len(build_topology(ball[:0])) == 0


def test_three_runs_give_the_same_bits_and_empty_views_pass_through():
    positions, faces = two_views(2)
    away = positions[:1] + torch.tensor([50.0, 0, 0, 0])
    batch = torch.cat([positions, away]).float()
    rast = rasterize(batch, faces, (40, 41))
    color = torch.rand(3, 40, 41, 3)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        moved = batch.clone().requires_grad_()
        result = antialias(color, rast, moved, faces)
        result.square().sum().backward()
        assert moved.grad is not None
        return result.detach(), moved.grad

    runs = [run() for _ in range(3)]
    for each in runs[1:]:
        assert torch.equal(each[0], runs[0][0]) and torch.equal(each[1], runs[0][1])
    assert torch.equal(runs[0][0][2], color[2]) and float(runs[0][1][2].abs().max()) == 0
    assert float(runs[0][1][:2].abs().max()) > 0


def test_one_mesh_for_all_views_gets_the_sum_of_their_gradients():
    positions, faces = two_views()
    rast = rasterize(positions[:1].float(), faces, SIZE)
    color = torch.rand(1, *SIZE, 2)
    shared, single = positions[0].float().requires_grad_(), positions[0].float().requires_grad_()
    antialias(color.expand(3, -1, -1, -1), rast.expand(3, -1, -1, -1), shared, faces).square().sum().backward()
    antialias(color, rast, single, faces).square().sum().backward()
    assert shared.grad is not None and single.grad is not None
    assert torch.allclose(shared.grad, 3 * single.grad, rtol=1e-4, atol=1e-4)


def test_bad_arguments_are_named():
    positions, faces = two_views()
    rast = rasterize(positions.float(), faces, SIZE)
    color = interpolate(torch.rand(positions.shape[1], 3), rast, faces)
    with pytest.raises(ShapeError, match="color"):
        antialias(color[:, 1:], rast, positions.float(), faces)
    with pytest.raises(ShapeError, match="topology"):
        antialias(color, rast, positions.float(), faces, build_topology(faces)[:-1])
