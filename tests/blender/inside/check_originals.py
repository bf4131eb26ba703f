"""What is noted with an object stays true: of its job, its views, its mesh before, whatever is done to it."""
from __future__ import annotations

import json

import bpy
import numpy as np
import pytest
from baked import ball, select
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.scene import originals, refined
from bl_ext.user_default.slipcast.addon.scene.refine_source import SourceWishes, read_source
from bl_ext.user_default.slipcast.addon.scene.results import Placement, place_result, prepare_result
from refine_played import result as refined_result
from shapes import cameras, result

OPS = bpy.ops.slipcast


def _result(**placement) -> bpy.types.Object:
    placement = {"base": (1.0, 2.0, 3.0), "target_size": 4.0} | placement
    made = place_result(prepare_result(result("a" * 32), Placement("Sheet", **placement)), bpy.data, bpy.context.scene,
                        bpy.context.view_layer)
    made[originals.VIEWS_KEY], made[originals.MASKS_KEY] = "/views", "a" * 32
    bpy.context.view_layer.update()
    return made


def _refine(thing: bpy.types.Object, in_views: bool = False) -> None:
    """As Refine does, with an engine that moves nothing."""
    wishes = SourceWishes(keep_topology=True, in_views=in_views)
    source, _ = read_source(thing, wishes)
    placement = Placement(thing.name, in_place=True)
    done = refined_result(source.vertices, source.faces, np.zeros((len(source.faces), 3, 2), np.float32))
    done.data["cameras"] = memoryview(json.dumps([{**cameras()[0], "name": "orbit"}]).encode())
    SceneLanding().land(prepare_result(done, placement), GenerateRequest(
        None, None, placement, bpy.context.scene.name, method="refine", refined=source))
    bpy.context.view_layer.update()


def _world(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    return np.array([thing.matrix_world @ vertex.co for vertex in mesh.vertices])


def test_a_baked_object_takes_over_the_job_and_none_of_the_meshes_and_images_of_its_source():
    high = _result()
    _refine(high)
    refined.swap_before_after(high)
    low = ball("Low", 2)
    originals.carry_origin(low, [high])
    assert {key for key in low.keys() if key.startswith("slipcast_")} == {
        "slipcast_job", "slipcast_method", "slipcast_settings", "slipcast_engine", "slipcast_device",
        "slipcast_seconds", "slipcast_views", "slipcast_views_job", "slipcast_cameras", "slipcast_views_from_local"}
    assert refined.other_state(low) is None
    select(low)
    assert not OPS.before_after.poll()


def test_the_mesh_before_goes_along_when_origin_size_and_up_are_set():
    thing = ball("Ball", 2)
    thing.scale = (-1.0, 1.0, 2.0)
    bpy.context.view_layer.update()
    _refine(thing)
    twin = thing.copy()                                 # has the same mesh before, which must stay as it is for it
    before = _world(twin, refined.other_state(twin))
    OPS.place_mesh(origin="BASE", height=7.0, up="X")
    bpy.context.view_layer.update()
    after = _world(thing, thing.data)
    assert np.ptp(after[:, 2]) == pytest.approx(7.0) and np.array_equal(_world(twin, refined.other_state(twin)), before)
    normals = [tuple(polygon.normal) for polygon in thing.data.polygons]
    assert OPS.before_after() == {"FINISHED"}
    assert np.abs(_world(thing, thing.data) - after).max() < 1e-5     # the engine moved nothing
    assert np.allclose([tuple(polygon.normal) for polygon in thing.data.polygons], normals, atol=1e-5)


def test_a_result_of_a_picture_that_is_refined_still_lies_where_its_picture_has_it():
    thing = _result()
    del thing[originals.VIEWS_KEY]
    thing[originals.PICTURE_KEY] = "/cup.png"
    space = originals.views_from_local(thing)
    _refine(thing)
    assert np.allclose(originals.views_from_local(thing), space)
    assert [each["name"] for each in json.loads(thing[originals.CAMERAS_KEY])] == [each["name"] for each in cameras()]


@pytest.mark.parametrize("in_views", [False, True])
def test_a_result_that_is_refined_still_lies_where_the_folder_that_it_was_made_from_has_it(in_views):
    thing = _result()
    space = originals.views_from_local(thing)
    _refine(thing, in_views)
    assert np.allclose(originals.views_from_local(thing), space)
    names = [each["name"] for each in json.loads(thing[originals.CAMERAS_KEY])]
    assert names == (["orbit"] if in_views else [each["name"] for each in cameras()])
    assert thing[originals.VIEWS_KEY] == "/views"


def test_a_mesh_that_was_made_from_no_views_is_refined_in_the_world_of_its_targets():
    thing = ball("Ball", 2)
    thing.location = (3.0, 0.0, 1.0)
    bpy.context.view_layer.update()
    _refine(thing)
    assert np.allclose(originals.views_from_local(thing), np.array(thing.matrix_world))
    assert [each["name"] for each in json.loads(thing[originals.CAMERAS_KEY])] == ["orbit"]


def test_what_was_worn_before_a_bake_can_be_seen_again_also_when_it_was_baked_twice():
    high, low = ball("High", 3), ball("Low", 2)
    old = bpy.data.materials.new("Old")
    low.data.materials.append(old)
    select(low, high)
    OPS.rebake(texture_px="512", normal=False)
    first = low.active_material
    assert OPS.before_after() == {"FINISHED"} and low.active_material == old
    assert OPS.before_after() == {"FINISHED"} and low.active_material == first
    OPS.before_after()
    OPS.rebake(texture_px="512", normal=False)          # while the one before is shown
    second = low.active_material
    assert second not in (old, first)
    assert refined.swap_before_after(low) is True and low.active_material == old
    assert refined.swap_before_after(low) is False and low.active_material == second


def test_a_bare_mesh_that_is_baked_onto_wore_nothing_to_go_back_to():
    high, low = ball("High", 3), ball("Low", 2)
    select(low, high)
    OPS.rebake(texture_px="512", normal=False)
    assert originals.kept_materials(low) == {} and not OPS.before_after.poll()
