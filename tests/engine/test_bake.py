"""The bake: exact on a constant colour, fair between exposures, blind to what is hidden, padded."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scenes import cameras_around, look_at, make_stage
from skin import CPU, bake_base_color, ball, joined, one_chart_a_face, paint, painted_views

from slipcast.bridge.errors import Cancelled
from slipcast.engine.pipeline.atlas import texel_owners
from slipcast.engine.pipeline.fill import pad_with_nearest, vertex_colors
from slipcast.engine.pipeline.trust import trust_map
from slipcast.engine.pipeline.types import Camera, Mask, Mesh, View, ViewSet
from slipcast.engine.render import depth_map
from slipcast.engine.render.colour import linear_from_srgb_table, srgb_bytes

PX = 256


def constant(mesh: Mesh, color: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.array(color, np.uint8), (len(mesh.vertices), 1))


def stripes(mesh: Mesh) -> np.ndarray:
    wave = np.sin(5 * mesh.vertices[:, 2]) * 0.5 + 0.5
    return np.stack([60 + 150 * wave, 200 - 120 * wave, np.full_like(wave, 90)], -1).astype(np.uint8)


def texel_colors(texture: np.ndarray, uv_mesh) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) and faces (N,) of all texels inside a face."""
    texel, face = texel_owners(uv_mesh.corner_uvs, len(texture))
    return texture[::-1].reshape(-1, 3)[texel], face


def bake(uv_mesh, views, masks, px=PX, stage=None) -> np.ndarray:
    return bake_base_color(uv_mesh, views, masks, px, stage or make_stage([]))


def test_bake_of_a_constant_colour_is_that_colour_on_every_covered_texel():
    mesh = ball(3)
    views, masks = painted_views(mesh, constant(mesh, (200, 90, 30)))
    texture = bake(one_chart_a_face(mesh), views, masks)
    assert texture.shape == (PX, PX, 3) and texture.dtype == np.uint8
    off = np.abs(texture.astype(int) - [200, 90, 30]).max()
    assert off <= 1      # bytes to linear light and back; also padding: no black, nothing of the background


def test_a_pattern_comes_back_where_it_belongs():
    mesh = ball(4)
    views, masks = painted_views(mesh, stripes(mesh), count=24)
    uv_mesh = one_chart_a_face(mesh)
    texture = bake(uv_mesh, views, masks, 512)
    colors, face = texel_colors(texture, uv_mesh)
    wanted = stripes(mesh)[mesh.faces].mean(1)[face]
    # colour changes by up to 14 a face edge of 0.07: the mean over a face is half of that from its corners
    assert np.abs(colors - wanted).mean() < 5


def test_linear_light_survives_the_way_to_bytes_and_back():
    table = linear_from_srgb_table()
    assert (srgb_bytes(table) == np.arange(256)).all()


def test_exposure_differences_are_evened_out_and_brightness_stays():
    mesh = ball(3)
    views, masks = painted_views(mesh, constant(mesh, (120, 110, 90)))
    table = linear_from_srgb_table()
    factors = np.exp(np.random.default_rng(0).uniform(-0.35, 0.35, len(views.views)))
    uneven = [dataclasses.replace(view, image=srgb_bytes(table[view.image] * factor))
              for view, factor in zip(views.views, factors)]
    uv_mesh = one_chart_a_face(mesh)
    colors, _ = texel_colors(bake(uv_mesh, ViewSet(tuple(uneven)), masks), uv_mesh)
    light = table[colors][:, 1]
    assert light.std() / light.mean() < 0.03            # the views differ by a factor of up to 2
    assert light.mean() == pytest.approx(table[110] * np.exp(np.log(factors).mean()), rel=0.06)


def test_a_highlight_in_one_view_does_not_stay():
    mesh = ball(3)
    views, masks = painted_views(mesh, constant(mesh, (100, 100, 100)), count=20)
    shiny = []
    for view in views.views:
        image = view.image.copy()
        rows, columns = np.mgrid[:image.shape[0], :image.shape[1]]
        image[(rows - 70) ** 2 + (columns - 70) ** 2 < 10**2] = 255      # moves over the surface with the camera
        shiny.append(dataclasses.replace(view, image=image))
    uv_mesh = one_chart_a_face(mesh)
    colors, _ = texel_colors(bake(uv_mesh, ViewSet(tuple(shiny)), masks), uv_mesh)
    assert (np.abs(colors.astype(int) - 100).max(1) > 30).mean() < 0.03


def test_hidden_surface_does_not_take_the_colour_of_what_hides_it():
    back, front = ball(3), ball(3, 0.4, (0, 0, 1.6))
    both = joined(back, front)
    colors = np.concatenate([constant(back, (40, 40, 200)), constant(front, (220, 30, 30))])
    cameras = [Camera(200, 200, 260.0, 260.0, 100.0, 100.0, look_at(place)) for place in
               ((0, 0, 5), (0.3, 0, 5), (4, 0, 3), (-4, 0, 3), (0, 4, 3), (0, -4, 3), (0, 0, -5))]
    views = ViewSet(tuple(paint(both, colors, camera) for camera in cameras))
    masks = tuple(Mask((view.alpha > 0).astype(np.float32), "alpha", 1.0) for view in views.views)
    uv_mesh = one_chart_a_face(both)
    found, face = texel_colors(bake(uv_mesh, views, masks), uv_mesh)
    behind = face < len(back.faces)
    assert found[behind][:, 0].max() < 60               # no red on the blue ball
    assert (np.abs(found[~behind].astype(int) - [220, 30, 30]).max(1) < 12).mean() > 0.9


def test_the_background_does_not_bleed_in_at_the_outline():
    mesh = ball(3)
    views, masks = painted_views(mesh, constant(mesh, (180, 180, 180)), count=8)
    green = []
    for view, mask in zip(views.views, masks):
        image = view.image.copy()
        image[mask.values < 0.5] = (0, 255, 0)
        image[:, 1:] = (image[:, 1:].astype(int) + image[:, :-1]) // 2       # pixels at the outline are mixed
        green.append(dataclasses.replace(view, image=image))
    texture = bake(one_chart_a_face(mesh), ViewSet(tuple(green)), masks)
    assert np.abs(texture.astype(int) - 180).max() <= 6


def test_what_no_view_sees_takes_on_its_surroundings():
    mesh = ball(3)
    top = [camera for camera in cameras_around(24) if camera.centre[2] > 1]
    views = ViewSet(tuple(paint(mesh, constant(mesh, (70, 160, 90)), camera) for camera in top))
    masks = tuple(Mask((view.alpha > 0).astype(np.float32), "alpha", 1.0) for view in views.views)
    texture = bake(one_chart_a_face(mesh), views, masks)
    assert np.abs(texture.astype(int) - [70, 160, 90]).max() <= 2


def test_a_view_without_a_usable_mask_is_left_out():
    mesh = ball(3)
    views, masks = painted_views(mesh, constant(mesh, (90, 90, 90)))
    wrong = dataclasses.replace(views.views[0], image=np.full_like(views.views[0].image, 255))
    views = ViewSet((wrong, *views.views[1:]))
    masks = (Mask(np.ones_like(masks[0].values), "key", 0.0), *masks[1:])
    assert np.abs(bake(one_chart_a_face(mesh), views, masks).astype(int) - 90).max() <= 1


def test_views_of_different_sizes_and_pixels_the_lens_did_not_record():
    mesh = ball(3)
    small = paint(mesh, constant(mesh, (50, 100, 150)), cameras_around(8, size=100, focal=160.0)[3])
    views, masks = painted_views(mesh, constant(mesh, (50, 100, 150)), count=8)
    image, valid = small.image.copy(), np.ones(small.image.shape[:2], bool)
    image[:, :50], valid[:, :50] = 255, False
    views = ViewSet((*views.views, dataclasses.replace(small, image=image, valid=valid)))
    masks = (*masks, Mask((small.alpha > 0).astype(np.float32), "alpha", 1.0))
    assert np.abs(bake(one_chart_a_face(mesh), views, masks).astype(int) - [50, 100, 150]).max() <= 1


def test_trust_falls_towards_outlines_and_steps_in_depth():
    mesh = joined(ball(3), ball(2, 0.3, (0, 0, 2)))
    camera = Camera(200, 200, 260.0, 260.0, 100.0, 100.0, look_at((0, 0, 6)))
    depth = depth_map(mesh, camera, CPU).numpy()
    view = View("x", camera, np.zeros((200, 200, 3), np.uint8))
    trust = trust_map(view, Mask(np.ones((200, 200), np.float32), "alpha", 1.0), depth)
    step = 100 + round(260 * 0.3 / np.sqrt(16 - 0.09))  # outline of the small ball: distance 4, radius 0.3
    assert trust[100, 100] == 255
    assert (trust[100, step - 3:step + 3] == 0).sum() >= 2      # the pixel on either side; an icosphere is inscribed
    assert trust[100, step + 12] == 255
    assert (trust[~np.isfinite(depth)] == 0).all()


def test_padding_takes_the_nearest_texel():
    image = np.zeros((9, 9, 3), np.uint8)
    covered = np.zeros((9, 9), bool)
    covered[2, 2] = covered[6, 6] = True
    image[2, 2], image[6, 6] = (10, 20, 30), (200, 100, 50)
    padded = pad_with_nearest(image, covered)
    assert (padded[0, 0] == (10, 20, 30)).all() and (padded[8, 7] == (200, 100, 50)).all()
    assert {tuple(color) for color in padded.reshape(-1, 3).tolist()} == {(10, 20, 30), (200, 100, 50)}


def test_unseen_vertices_lie_between_their_seen_neighbours():
    faces = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]])
    colors = np.array([[0.2, 0.2, 0.2], [0.8, 0.8, 0.8]])
    found = vertex_colors(6, faces, np.array([[0, 1, 2], [3, 5, 4]]), np.array([[1.0, 0, 0], [0, 1.0, 0]]), colors,
                          np.ones(2))
    assert 0.2 < found[2, 0] < 0.8
    assert found[0, 0] < found[2, 0] < found[4, 0] < found[5, 0] + 1e-9


def test_progress_counts_views_then_blocks_and_cancel_works_inside():
    mesh = ball(2)
    views, masks = painted_views(mesh, constant(mesh, (90, 90, 90)), count=6)
    stage = make_stage([])
    bake(one_chart_a_face(mesh), views, masks, 128, stage)
    assert stage.done == stage.total == 6 + 1
    asked = []
    stopping = make_stage([], is_cancelled=lambda: asked.append(1) or len(asked) > 4)
    with pytest.raises(Cancelled):
        bake(one_chart_a_face(mesh), views, masks, 128, stopping)


def test_baking_twice_gives_the_same_bytes():
    mesh = ball(2)
    views, masks = painted_views(mesh, stripes(mesh), count=6)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert (bake(one_chart_a_face(mesh), views, masks) == bake(one_chart_a_face(mesh), views, masks)).all()
    finally:
        torch.set_num_threads(before)
