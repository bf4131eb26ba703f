"""Bake from Views: what the engine is sent, and what it paints lands on the object that it was painted for."""
from __future__ import annotations

import io

import bpy
import numpy as np
import pytest
from baked import ball, everything, textures
from bl_ext.user_default.slipcast.addon.operators import rebake as rebake_operator
from bl_ext.user_default.slipcast.addon.panels import rebake as panel
from bl_ext.user_default.slipcast.addon.scene.dressing import BakeTarget, dress
from bl_ext.user_default.slipcast.addon.scene.results import Placement, place_result, prepare_result
from bl_ext.user_default.slipcast.addon.scene.unwrapping import give_missing_uvs
from bl_ext.user_default.slipcast.bridge.errors import BadMesh, Conflict
from fakes import view_folder
from shapes import grid, result

OPS = bpy.ops.slipcast


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # no engine is started; it must only be named


def target(thing: bpy.types.Object) -> BakeTarget:
    return BakeTarget(thing.session_uid, thing.name)


def _placed(**placement) -> tuple[bpy.types.Object, object]:
    prepared = prepare_result(result("c" * 32), Placement("Sheet", **placement))
    return place_result(prepared, bpy.data, bpy.context.scene, bpy.context.view_layer), prepared


def test_a_result_goes_back_to_the_engine_where_its_views_have_it_however_it_was_moved(tmp_path):
    made, _ = _placed(base=(1.0, 2.0, 3.0), target_size=4.0)
    made["slipcast_views"] = str(view_folder(tmp_path / "views"))
    made.location, made.scale, made.rotation_euler = (9.0, 9.0, 9.0), (2.0, 2.0, 2.0), (1.0, 0.5, 0.2)
    OPS.place_mesh(origin="CENTRE", height=1.0, up="X")
    asked = bpy.context.scene.slipcast_rebake
    request = rebake_operator.views_request(asked, bpy.context)
    arrays = np.load(io.BytesIO(request.inputs["mesh.npz"]))
    vertices, faces, uvs = grid()
    assert np.abs(arrays["vertices"] - vertices).max() < 1e-4
    assert np.array_equal(arrays["faces"], faces) and np.allclose(arrays["corner_uvs"], uvs)
    assert (request.method, request.onto.name, request.folder) == ("bake", made.name, tmp_path / "views")
    # a mesh of the artist's own lies in the world that the views are in; a mirrored one keeps its outside
    own = ball("Own", 2)
    own.location, own.scale = (0.0, 0.0, 5.0), (-1.0, 1.0, 1.0)
    bpy.context.view_layer.update()
    asked.folder = str(tmp_path / "views")
    arrays = np.load(io.BytesIO(rebake_operator.views_request(asked, bpy.context).inputs["mesh.npz"]))
    corners = arrays["vertices"][arrays["faces"]] - (0, 0, 5)
    assert (np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) > 0).all()


def test_painted_colours_land_on_the_object_and_keep_its_normals():
    made, prepared = _placed()
    OPS.rebake(source="ORIGINAL", color=False, texture_px="512")
    normals = textures(made)["Normal Map"]
    before = everything()
    assert dress(prepared, target(made), bpy.context.scene) == made
    assert textures(made)["Normal Map"] == normals and textures(made)["Base Color"].size[0] == 16
    after, kinds = everything(), ("objects", "meshes", "materials", "images")
    assert [len(after[kind]) - len(before[kind]) for kind in kinds] == [0, 0, 1, 1]
    made.data.uv_layers.active.uv[0].vector.x += 0.1
    with pytest.raises(BadMesh, match="other faces or UVs"):
        dress(prepared, target(made), bpy.context.scene)
    with pytest.raises(BadMesh, match="not in"):
        dress(prepared, BakeTarget(0, "Gone"), bpy.context.scene)
    assert everything() == after


def test_baking_from_views_says_what_it_needs_and_unwraps_only_what_has_no_uvs(tmp_path):
    rna = OPS.rebake_views.get_rna_type()
    assert len(rna.description) > 40
    assert all(prop.description for prop in rna.properties if prop.identifier != "rna_type")
    assert "UNDO" not in rebake_operator.SLIPCAST_OT_rebake_views.bl_options
    with pytest.raises(RuntimeError, match="Select a mesh object"):
        OPS.rebake_views()
    thing = ball("Low", 2, uvs=False)
    with pytest.raises(RuntimeError, match="was not made from one"):
        OPS.rebake_views()
    assert not thing.data.uv_layers and "was not made from one" in panel.why_not_views(bpy.context)
    thing["slipcast_views"] = str(tmp_path)
    request = rebake_operator.views_request(bpy.context.scene.slipcast_rebake, bpy.context)
    assert len(thing.data.uv_layers) == 1 and request.settings.texture_px == 2048
    assert bpy.context.mode == "OBJECT" and [each.name for each in bpy.data.scenes] == ["Scene"]


def test_a_request_that_is_refused_leaves_no_uvs(tmp_path, monkeypatch):
    thing = ball("Low", 2, uvs=False)
    asked = bpy.context.scene.slipcast_rebake
    asked.folder = str(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(rebake_operator, "why_not_start", lambda context: "A job is under way")
        with pytest.raises(Conflict, match="A job is under way"):
            rebake_operator.views_request(asked, bpy.context)
    mask = thing.modifiers.new("Mask", "MASK")
    mask.vertex_group = thing.vertex_groups.new(name="Nothing").name
    bpy.context.view_layer.update()
    with pytest.raises(BadMesh, match="has no faces"):
        rebake_operator.views_request(asked, bpy.context)
    assert not thing.data.uv_layers


def test_the_object_is_known_again_by_another_name_and_in_a_file_that_was_loaded_again(tmp_path):
    made, prepared = _placed()
    onto, scene = target(made), bpy.context.scene
    made.name = "Mine"
    imposter = bpy.data.objects.new("Sheet", made.data.copy())
    scene.collection.objects.link(imposter)
    assert dress(prepared, onto, scene) == made
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert dress(prepared, BakeTarget(onto.uid, "Mine"), bpy.context.scene).name == "Mine"


def test_others_that_share_the_mesh_keep_their_uvs_and_their_looks():
    made, prepared = _placed()
    twin = made.copy()
    bpy.context.scene.collection.objects.link(twin)
    worn = twin.active_material
    dress(prepared, target(made), bpy.context.scene)
    assert twin.active_material == worn != made.active_material
    first = ball("First", 2, uvs=False)
    second = first.copy()
    bpy.context.scene.collection.objects.link(second)
    assert give_missing_uvs(first, 0.01)
    assert len(first.data.uv_layers) == 1 and not second.data.uv_layers
