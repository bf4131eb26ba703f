"""A mesh is read with its modifiers wherever it is: in sight, hidden, in an excluded collection, in another scene."""
from __future__ import annotations

import io

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene.mesh_npz import mesh_npz
from bl_ext.user_default.slipcast.addon.scene.meshes import positions_of, triangles_of
from bl_ext.user_default.slipcast.addon.scene.refine_source import SourceWishes, read_source
from bl_ext.user_default.slipcast.addon.scene.solid import applied_mesh, seen_mesh
from refine_played import arrays


def _in_sight(thing):
    return


def _by_the_eye(thing):
    thing.hide_set(True)


def _in_viewports(thing):
    thing.hide_viewport = True


def _excluded(thing):
    home = bpy.data.collections.new("Home")
    bpy.context.scene.collection.children.link(home)
    bpy.context.scene.collection.objects.unlink(thing)
    home.objects.link(thing)
    bpy.context.view_layer.layer_collection.children["Home"].exclude = True


def _elsewhere(thing):
    other = bpy.data.scenes.new("Other")
    bpy.context.scene.collection.objects.unlink(thing)
    other.collection.objects.link(thing)


@pytest.fixture(params=[_in_sight, _by_the_eye, _in_viewports, _excluded, _elsewhere])
def bent(request) -> tuple[bpy.types.Object, np.ndarray]:
    """(a cube that is subdivided once and moved by (2, 0, 0) of its own, the corners that it is seen with, world)."""
    made = bpy.data.objects.new("Bent", bpy.data.meshes.new("Bent"))
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    made.data.from_pydata(corners, [], [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4),
                                        (1, 5, 7, 3)])
    made.data.uv_layers.new(name="UVMap")
    made.location, made.scale = (5.0, 0.0, 1.0), (1.0, 2.0, 1.0)
    bpy.context.scene.collection.objects.link(made)
    divide = made.modifiers.new("Divide", "SUBSURF")
    divide.subdivision_type, divide.levels = "SIMPLE", 1
    move = made.modifiers.new("Move", "DISPLACE")
    move.direction, move.strength, move.mid_level = "X", 2.0, 0.0
    request.param(made)
    bpy.context.view_layer.update()
    return made, (np.array(corners) + (2, 0, 0)) * (1, 2, 1) + (5, 0, 1)


def _world(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def test_it_is_seen_with_its_modifiers_in_its_place_and_nothing_is_left(bent):
    thing, corners = bent
    counts = [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.meshes)]
    with seen_mesh(thing) as (mesh, matrix):
        points, faces = _world(positions_of(mesh), matrix), triangles_of(mesh)
    assert points.shape == (26, 3) and faces.shape == (48, 3)        # each face of the cube in four, in two
    assert np.abs(points[:8] - corners).max() < 1e-5
    assert [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.meshes)] == counts
    applied = applied_mesh(thing)
    assert len(applied.vertices) == 26 and len(applied.uv_layers) == 1
    assert [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.meshes)] == [*counts[:2], counts[2] + 1]


def test_refine_and_bake_from_views_send_it_as_it_is_seen(bent):
    thing, corners = bent
    for sent in (arrays(read_source(thing, SourceWishes())[1]), np.load(io.BytesIO(mesh_npz(thing)))):
        assert np.abs(sent["vertices"][:8] - corners).max() < 1e-5 and sent["faces"].shape == (48, 3)
        assert np.allclose(sent["origin"], (5, 0, 1))


def test_a_mesh_without_a_vertex_has_none():
    empty = bpy.data.meshes.new("Empty")
    assert positions_of(empty).shape == (0, 3) and triangles_of(empty).shape == (0, 3)
