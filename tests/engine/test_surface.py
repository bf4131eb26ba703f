"""Surfaces of fields whose shape is known."""
from __future__ import annotations

import math

import numpy as np
import pytest
from scenes import make_stage

from slipcast.bridge.errors import BadMasks
from slipcast.engine.pipeline import surface
from slipcast.engine.pipeline.surface import extract_surface, signed_volume
from slipcast.engine.pipeline.types import Field


def ball_field(radius: float = 1.0, spacing: float = 0.06, half: float = 1.3, at=(0.0, 0.0, 0.0)) -> Field:
    axis = np.arange(-half, half + spacing / 2, spacing)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    depth = radius - np.linalg.norm(points - at, axis=-1)
    return Field((0.5 + depth / (4 * spacing)).clip(0, 1).astype(np.float32), np.full(3, -half), spacing)


def test_a_ball_lies_where_it_should_with_faces_outward():
    mesh = extract_surface(ball_field(), make_stage())
    off = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(off - 1).max() < 0.012  # a fifth of a cell
    # a tenth of a cell off all over would be three times .006 of the volume
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(4 * math.pi / 3, rel=0.018)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c) > 0).all()


def test_smoothing_takes_noise_off_and_does_not_shrink(monkeypatch):
    monkeypatch.setattr(surface, "FIELD_SIGMA", 0.0)  # the rounds alone
    clean = ball_field()
    rng = np.random.default_rng(0)
    rough = (clean.values + rng.normal(0, 0.05, clean.values.shape)).clip(0, 1).astype(np.float32)
    noisy = Field(np.where(np.abs(clean.values - 0.5) < 0.49, rough, clean.values), clean.origin, clean.spacing)
    meshes = [extract_surface(noisy, make_stage(), rounds) for rounds in (0, 10)]
    scatter = [np.std(np.linalg.norm(mesh.vertices, axis=1)) for mesh in meshes]
    assert scatter[1] < 0.75 * scatter[0]
    volumes = [signed_volume(mesh.vertices, mesh.faces) for mesh in meshes]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.005)


def test_what_reaches_the_border_is_closed_there():
    mesh = extract_surface(ball_field(radius=1.6), make_stage())
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()
    assert np.abs(mesh.vertices).max() < 1.3 + 0.06
    assert signed_volume(mesh.vertices, mesh.faces) > 0.9 * 4 * math.pi / 3 * 1.6**3 * 0.8


def test_samples_of_exactly_one_half_make_no_empty_triangles():
    values = np.zeros((8, 8, 8), np.float32)
    values[2:6, 2:6, 2:6] = 1
    values[2] = np.where(values[2] > 0, np.float32(0.5), 0)
    mesh = extract_surface(Field(values, np.zeros(3), 1.0), make_stage(), 0)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-9
    assert signed_volume(mesh.vertices, mesh.faces) > 0


def test_several_pieces_are_all_kept():
    one = ball_field(0.4, at=(-0.7, 0, 0)).values
    two = ball_field(0.3, at=(0.7, 0, 0)).values
    field = ball_field()
    mesh = extract_surface(Field(np.maximum(one, two), field.origin, field.spacing), make_stage())
    exact = 4 * math.pi / 3 * (0.4**3 + 0.3**3)
    # a blur of .9 cells moves a ball's surface in by .81 cells^2 / r: .12 and .16 of the cell of .06 here
    shrunk = 4 * math.pi / 3 * ((0.4 - 0.12 * 0.06) ** 3 + (0.3 - 0.16 * 0.06) ** 3)
    assert shrunk * 0.97 < signed_volume(mesh.vertices, mesh.faces) < exact


def test_an_empty_field_is_told_of():
    with pytest.raises(BadMasks):
        extract_surface(Field(np.zeros((5, 5, 5), np.float32), np.zeros(3), 1.0), make_stage())
