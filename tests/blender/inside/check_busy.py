"""What comes while a bake or renders go on in steps: it waits, and nothing of it is lost with their scratch data."""
from __future__ import annotations

import bpy
import pytest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.scene import rebake, targets
from bl_ext.user_default.slipcast.addon.scene.busy import busy_words
from bl_ext.user_default.slipcast.addon.scene.live import LIVE_KEY
from fakes import finished
from live_stage import Stage, previewed, thing
from shapes import grid

OPS = bpy.ops.slipcast


def _baking(_folder):
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3, calc_uvs=True)
    low = bpy.context.object
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3)
    return rebake.rebake(low, [bpy.context.object], bpy.context, rebake.RebakeSettings(texture_px=64, normal=False))


def _rendering(folder):
    bpy.ops.mesh.primitive_monkey_add()
    return targets.render_targets(bpy.context.scene, bpy.context.view_layer, bpy.context.object, folder / "renders",
                                  targets.TargetSettings(count=3, resolution=32, samples=1))


@pytest.fixture(params=[_baking, _rendering], ids=["bake", "renders"])
def steps(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, in_place=True)


def test_a_result_that_comes_between_two_steps_is_whole_after_the_last_one(steps, stage):
    stage.session._landing = SceneLanding()
    next(steps)
    stage.come(finished())
    for _ in range(20):
        stage.session.pump(0.1)
    assert stage.session.job is not None and "waits for the bake or the views" in SceneLanding().why_not_now()
    assert not OPS.rebake.poll() and not OPS.render_views.poll() and not OPS.live_snapshot.poll()
    list(steps)
    assert busy_words() == ""
    stage.until(lambda: stage.session.job is None)
    made = bpy.data.objects[stage.session.outcome.object_name]
    assert len(made.data.polygons) == len(grid()[1]) and made.name in bpy.context.scene.objects
    texture = next(node for node in made.active_material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert texture.image.packed_file is not None


def test_a_live_mesh_is_neither_lost_between_two_steps_nor_taken_for_deleted(steps, stage):
    vertices, faces, _ = grid()
    next(steps)
    stage.come(previewed(vertices, faces))
    for _ in range(20):
        stage.session.pump(0.1)
    assert thing() is None
    steps.close()                                       # Esc
    stage.until(lambda: thing() is not None)
    assert len(thing().data.polygons) == len(faces) and not stage.live.deleted


def test_a_job_that_is_cancelled_between_two_steps_leaves_what_is_kept_when_they_are_over(steps, stage):
    vertices, faces, _ = grid()
    assert stage.show(vertices, faces) is not None
    next(steps)
    stage.session.cancel(keep=True)
    for _ in range(20):
        stage.session.pump(0.1)
    assert stage.session.job is None and stage.session.busy and stage.session.kept == "" and thing() is not None
    list(steps)
    assert not stage.session.pump(0.1) and thing() is None
    kept = bpy.data.objects[stage.session.kept]
    assert len(kept.data.polygons) == len(faces) and LIVE_KEY not in kept


def test_steps_that_are_given_up_when_another_file_is_open_take_nothing_out_of_it(steps):
    next(steps)
    bpy.ops.wm.read_homefile(use_empty=False, use_factory_startup=True)
    there = sorted(bpy.data.objects.keys()), bpy.data.scenes.keys(), bpy.data.materials.keys()
    steps.close()
    assert (sorted(bpy.data.objects.keys()), bpy.data.scenes.keys(), bpy.data.materials.keys()) == there
    assert there[0] == ["Camera", "Cube", "Light"] and busy_words() == ""
