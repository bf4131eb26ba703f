"""The rasteriser and the look-up kernels against their slow twins and against geometry known by hand."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cameras_around
from skin import CPU, ball

from slipcast.engine.pipeline.types import Camera, Mesh
from slipcast.engine.render import clip_from_camera, depth_map, find_fragments, interpolate_fragments
from slipcast.engine.render.colour import linear_from_srgb_table
from slipcast.engine.render.observe import ViewStack, blend_observations, observe
from slipcast.engine.render.reference import blend_observations_ref, fragments_ref, observe_ref


def random_soup(seed: int, low_w: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clip = rng.normal(size=(30, 4))
    clip[:, 3] = rng.uniform(low_w, 2, 30)
    clip[:, 2] = rng.uniform(-1, 1, 30) * np.abs(clip[:, 3])
    return clip.astype(np.float32), rng.integers(0, 30, (40, 3)).astype(np.int32)


@pytest.mark.parametrize("low_w", [0.3, -0.5])     # all in front; many triangles crossing the near plane
@pytest.mark.parametrize("threads", [1, 3])
def test_rasterize_equals_its_slow_twin(low_w, threads):
    clip, faces = random_soup(0, low_w)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fast = find_fragments(torch.from_numpy(clip)[None], torch.from_numpy(faces), 60, 80, near_w=0.01)
    finally:
        torch.set_num_threads(before)
    face, weights, depth = fragments_ref(clip.astype(np.float64), faces, 60, 80, near_w=0.01)
    same = fast.face[0].numpy() == face
    assert same.mean() > 0.999     # float32 against float64: pixels exactly on an edge may go either way
    assert (face >= 0).mean() > 0.3
    both = same & (face >= 0)
    assert np.abs(fast.weights[0].numpy() - weights)[both].max() < 1e-4
    assert np.abs(fast.depth[0].numpy()[both] / depth[both] - 1).max() < 1e-4


def test_two_triangles_that_share_an_edge_leave_no_gap_and_a_batch_keeps_its_views_apart():
    corners = np.array([[-0.9, -0.83, 0, 1], [0.87, -0.9, 0, 1], [0.9, 0.8, 0, 1], [-0.8, 0.9, 0, 1]], np.float32)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    moved = corners + np.array([5, 0, 0, 0], np.float32)          # out of sight
    found = find_fragments(torch.from_numpy(np.stack([corners, moved])), faces, 200, 200)
    inside = found.face[0, 20:180, 20:180] >= 0
    assert bool(inside.all())
    assert int((found.face[1] >= 0).sum()) == 0
    assert bool(torch.isinf(found.depth[1]).all())


def test_a_sheet_that_reaches_behind_the_camera_is_drawn_up_to_the_near_plane():
    camera = Camera(64, 64, 64, 64, 32, 32, np.eye(4))
    floor = Mesh(np.array([[-50, 1, -50], [50, 1, -50], [50, 1, 50], [-50, 1, 50]], np.float32),
                 np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    depth = depth_map(floor, camera, CPU).numpy()
    rows = np.arange(64) + 0.5
    expected = 64 / np.maximum(rows - 32, 1e-9)        # y = 1 at distance z is seen at row 32 + 64 / z
    seen = (rows > 34)                                 # nearer the horizon it is beyond the floor's far edge
    assert np.allclose(depth[seen, 32], expected[seen], rtol=1e-4)
    assert np.isinf(depth[:31]).all()


def test_depth_map_of_a_ball_is_its_analytic_distance():
    camera = cameras_around(1, distance=4.0)[0]
    depth = depth_map(ball(5), camera, CPU).numpy()
    # level 5 icosphere is inscribed: at most 1 - cos(half an edge) = 5e-4 inside the sphere
    assert depth[80, 80] == pytest.approx(3.0, abs=2e-3)
    disc = np.isfinite(depth).sum()
    radius = camera.fx / np.sqrt(4.0**2 - 1)           # outline of a unit ball at distance 4
    assert disc == pytest.approx(np.pi * radius**2, rel=0.01)


def test_interpolate_gives_back_a_linear_attribute():
    clip = torch.tensor([[[-1.0, -1, 0, 1], [3.0, -1, 0, 1], [-1.0, 3, 0, 1]]])
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    found = find_fragments(clip, faces, 8, 16)
    x = interpolate_fragments(found, faces, clip[0, :, :1].contiguous()).reshape(8, 16)
    assert torch.allclose(x[3], (torch.arange(16) + 0.5) / 8 - 1, atol=1e-6)


def test_shapes_and_types_are_checked():
    with pytest.raises(ValueError, match="clip"):
        find_fragments(torch.zeros(3, 4), torch.zeros(1, 3, dtype=torch.int32), 4, 4)
    with pytest.raises(ValueError, match="faces"):
        find_fragments(torch.zeros(1, 3, 4), torch.zeros(1, 3, dtype=torch.int64), 4, 4)


def test_observe_equals_its_slow_twin():
    rng = np.random.default_rng(1)
    cameras = cameras_around(3, size=40, focal=65.0)
    mesh = ball(3)
    depth = np.stack([depth_map(mesh, camera, CPU).numpy() for camera in cameras])
    image = rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    trust = rng.choice(np.array([0, 128, 255], np.uint8), (3, 40, 40))
    pose = np.stack([camera.camera_from_world for camera in cameras]).astype(np.float32)
    lens = np.array([[c.fx, c.fy, c.cx, c.cy] for c in cameras], np.float32)
    parts = (pose, lens, np.full((3, 2), 40, np.int32), np.arange(3) * 1600, image.reshape(-1, 3), depth.ravel(),
             trust.ravel())
    stack = ViewStack(*(torch.from_numpy(np.ascontiguousarray(each)) for each in parts))
    table = linear_from_srgb_table()
    points = mesh.vertices[::7]
    color, weight = observe(torch.from_numpy(points), torch.from_numpy(points), stack, torch.from_numpy(table))
    assert (weight > 0).any() and (weight == 0).any()
    for row, point in enumerate(points):
        for view in range(3):
            slow, share = observe_ref(point.astype(float), point.astype(float), pose[view].astype(float), lens[view],
                                      depth[view], trust[view] / 255, table[image[view]])
            assert float(weight[row, view]) == pytest.approx(share, rel=1e-3)
            assert color[row, view].numpy() == pytest.approx(slow, abs=1e-3)


def test_blend_equals_its_slow_twin():
    rng = np.random.default_rng(2)
    color = rng.uniform(0.05, 0.9, (50, 14, 3)).astype(np.float32)
    weight = (rng.uniform(0, 1, (50, 14)) * (rng.uniform(size=(50, 14)) > 0.5)).astype(np.float32)
    weight[0] = 0
    fast, sure = blend_observations(torch.from_numpy(color), torch.from_numpy(weight), 3.0, 0.12, 0.3)
    for row in range(50):
        slow, share = blend_observations_ref(color[row], weight[row], 3.0, 0.12, 0.3)
        assert fast[row].numpy() == pytest.approx(slow, abs=1e-4)
        assert float(sure[row]) == pytest.approx(share, rel=1e-4)
    assert float(sure[0]) == 0


def test_clip_from_camera_puts_the_principal_point_and_pixel_centres_where_the_camera_has_them():
    camera = Camera(100, 50, 80.0, 70.0, 55.0, 20.0, np.eye(4))
    clip = clip_from_camera(camera, np.array([[0, 0, 2.0], [0.5, -0.25, 4.0]]))
    x = (clip[:, 0] / clip[:, 3] + 1) / 2 * 100
    y = (clip[:, 1] / clip[:, 3] + 1) / 2 * 50
    assert x == pytest.approx([55, 55 + 80 * 0.125], abs=1e-4)
    assert y == pytest.approx([20, 20 - 70 * 0.0625], abs=1e-4)


def test_every_pixel_that_shows_a_face_has_its_depth_and_weights():
    """Corners on pixel centres and edges through them: rounding puts a pixel inside once and outside the next time."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        w = rng.uniform(1, 3, (300, 1))
        corners = np.round(rng.uniform(-1.2, 1.2, (300, 2)) * 64) / 64 + (seed % 2) / 128
        clip = np.concatenate([corners * w, rng.uniform(-0.9, 0.9, (300, 1)) * w, w], 1).astype(np.float32)
        faces = rng.integers(0, 300, (200, 3)).astype(np.int32)
        found = find_fragments(torch.from_numpy(clip)[None], torch.from_numpy(faces), 128, 128)
        seen = found.face >= 0
        nearest = torch.from_numpy(w[faces].min((1, 2)).astype(np.float32))[found.face[seen].long()]
        assert int(seen.sum()) > 5000 and bool((found.depth[seen] >= nearest * 0.9999).all())
        assert bool((found.weights[seen] >= 0).all()) and float(found.weights[seen].sum(1).max()) < 1.0001
