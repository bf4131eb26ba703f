"""The surface relaxes, and its outlines stay those of the masks."""
from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scenes import ball_views, cameras_around, make_stage
from skin import CPU, ball, to_mesh, to_trimesh

from slipcast.bridge.errors import Cancelled
from slipcast.engine.pipeline.manifold import is_closed
from slipcast.engine.pipeline.outlines import fit_outlines, folded_faces
from slipcast.engine.pipeline.types import Mask, Mesh

BOX = np.array([[-3.0, -3, -3], [3, 3, 3]])
CAMERAS = cameras_around(12, size=200, focal=330.0)


def fit(mesh: Mesh, views, masks, box=BOX, rounds=20, **options) -> Mesh:
    return fit_outlines(mesh, views, masks, box, 200, rounds, CPU, make_stage([], **options))


def radii(mesh: Mesh) -> np.ndarray:
    return np.linalg.norm(mesh.vertices, axis=1)


@pytest.mark.parametrize("radius", [0.97, 1.03])
def test_a_ball_of_the_wrong_size_takes_on_the_size_of_its_outlines(radius):
    views, masks = ball_views(CAMERAS)
    fitted = fit(ball(4, radius), views, masks)
    assert radii(fitted).mean() == pytest.approx(1.0, abs=0.01)    # a pixel is 0.012 at distance 4
    assert is_closed(fitted) and not folded_faces(fitted).any()


def test_ridges_that_no_outline_asks_for_are_smoothed_away():
    views, masks = ball_views(CAMERAS)
    rough = ball(4)
    noise = 1 + 0.02 * np.sin(9 * rough.vertices[:, :1]) * np.sin(9 * rough.vertices[:, 1:2])
    rough = Mesh((rough.vertices * noise).astype(np.float32), rough.faces)
    fitted = fit(rough, views, masks)
    assert radii(fitted).std() < 0.6 * radii(rough).std()


def test_a_box_keeps_its_edges_and_volume():
    shape = trimesh.creation.box((1.2, 1.2, 1.2))
    for _ in range(4):
        shape = shape.subdivide()
    mesh = to_mesh(shape)
    from skin import painted_views

    views, masks = painted_views(mesh, np.zeros((len(mesh.vertices), 3)), count=24, size=200)
    fitted = fit(mesh, views, masks)
    assert to_trimesh(fitted).volume == pytest.approx(1.2**3, rel=0.03)


def test_a_view_without_a_usable_mask_says_nothing():
    views, masks = ball_views(CAMERAS)
    wrong = [Mask(np.roll(masks[0].values, 3, axis=1), "key", 0.0), *masks[1:]]
    right = fit(ball(3), views, [Mask(masks[0].values, "key", 0.0), *masks[1:]], rounds=4)
    assert (fit(ball(3), views, wrong, rounds=4).vertices == right.vertices).all()


def test_vertices_stay_in_the_working_volume():
    views, masks = ball_views(CAMERAS)
    box = np.array([[-3, -3, -0.5], [3, 3, 3.0]])
    assert fit(ball(3), views, masks, box).vertices[:, 2].min() >= -0.5


def test_progress_counts_rounds_and_cancel_works_inside_a_round():
    views, masks = ball_views(CAMERAS)
    stage = make_stage([])
    fit_outlines(ball(2), views, masks, BOX, 100, 5, CPU, stage)
    assert stage.done == stage.total == 5
    asked = []
    with pytest.raises(Cancelled):
        fit(ball(2), views, masks, is_cancelled=lambda: asked.append(1) or len(asked) > 5)


def test_a_surface_found_good_enough_is_left_as_it_is_by_then():
    views, masks = ball_views(CAMERAS)

    def after_three(rounds: int) -> Mesh:
        asked = []
        return fit(ball(3, 0.97), views, masks, rounds=rounds, is_enough=lambda: asked.append(1) or len(asked) > 3)

    early = after_three(20)
    assert (early.vertices == after_three(500).vertices).all()      # whatever was still to come
    assert radii(early).mean() > 0.98 > radii(ball(3, 0.97)).mean()
