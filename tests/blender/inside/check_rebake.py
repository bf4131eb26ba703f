"""Bakes land on the mesh's own UVs, look like their source when rendered, and leave the scene as it was."""
from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from baked import ball, everything, loops, pixels, select, textures
from bl_ext.user_default.slipcast.addon.operators import rebake as rebake_operator
from bl_ext.user_default.slipcast.addon.scene import originals, rebake
from bl_ext.user_default.slipcast.addon.scene.fill import fill_from_around
from bl_ext.user_default.slipcast.bridge.errors import BadMesh

OPS = bpy.ops.slipcast
RED = (0.8, 0.05, 0.1, 1.0)


def _node_material(name: str, build) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if not material.node_tree:
        material.use_nodes = True
    build(material.node_tree, material.node_tree.nodes["Principled BSDF"])
    return material


def _plain(colour=RED, metallic=0.0) -> bpy.types.Material:
    def build(_, shader):
        shader.inputs["Base Color"].default_value = colour
        shader.inputs["Metallic"].default_value = metallic
    return _node_material("Plain", build)


def _spotted() -> bpy.types.Material:
    """Colours that vary over space, none of them at UVs."""
    def build(tree, shader):
        place, noise = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeTexNoise")
        noise.inputs["Scale"].default_value = 3.0
        tree.links.new(place.outputs["Object"], noise.inputs["Vector"])
        tree.links.new(noise.outputs["Color"], shader.inputs["Base Color"])
        shader.inputs["Roughness"].default_value = 0.6
    return _node_material("Spotted", build)


def _sculpt(subdivisions: int = 6) -> bpy.types.Object:
    """20,480 triangles at 6, folded by noise, without UVs of its own."""
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=subdivisions, radius=1.0, calc_uvs=False)
    thing = bpy.context.object
    thing.name = "Sculpt"
    for size, strength in ((0.9, 0.5), (0.25, 0.09)):
        noise = bpy.data.textures.new("noise", "CLOUDS")
        noise.noise_scale = size
        modifier = thing.modifiers.new("Displace", "DISPLACE")
        modifier.texture, modifier.strength = noise, strength
    thing.data.shade_smooth()
    thing.data.materials.append(_spotted())
    return thing


def _low_of(high: bpy.types.Object, triangles: int) -> bpy.types.Object:
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(high.evaluated_get(graph), depsgraph=graph)
    mesh.materials.clear()
    low = bpy.data.objects.new("Low", mesh)
    bpy.context.collection.objects.link(low)
    select(low)
    OPS.face_budget(triangles=triangles)
    return low


def _render(shown: bpy.types.Object, folder: Path, name: str, side: int = 256) -> np.ndarray:
    """(H, W, 4) sRGB of `shown` alone, under one lamp and a grey sky, by Cycles."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 24, False
    scene.cycles.seed, scene.render.film_transparent = 0, True
    scene.render.resolution_x = scene.render.resolution_y = side
    scene.view_settings.view_transform = "Standard"
    if scene.camera is None:
        camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        camera.location, camera.rotation_euler = (0.0, -4.6, 1.6), (math.radians(71), 0.0, 0.0)
        lamp = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
        lamp.data.energy, lamp.rotation_euler = 3.0, (0.7, 0.3, 0.4)
        scene.world = bpy.data.worlds.new("Grey")
        if bpy.app.version < (5, 0, 0):
            scene.world.use_nodes = True
        scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.4, 0.4, 0.4, 1.0)
        for thing in (camera, lamp):
            scene.collection.objects.link(thing)
        scene.camera = camera
    for thing in scene.objects:
        thing.hide_render = thing.type == "MESH" and thing != shown
    scene.render.filepath = str(folder / f"{name}.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    return pixels(image)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Over the pixels where either shows the object, its outline included."""
    either = (a[..., 3] > 0.5) | (b[..., 3] > 0.5)
    over = [each[..., :3] * each[..., 3:] for each in (a, b)]
    return float(-10 * np.log10(((over[0] - over[1])[either] ** 2).mean()))


def test_a_sculpt_of_20k_faces_baked_into_3k_renders_alike(tmp_path):
    high = _sculpt()
    low = _low_of(high, 3000)
    assert len(high.data.polygons) == 20_480 and len(low.data.polygons) <= 3000 and not low.data.uv_layers
    wanted = _render(high, tmp_path, "high")
    plain = _psnr(wanted, _render(low, tmp_path, "bare"))
    select(low, high)
    assert OPS.rebake(texture_px="1024", occlusion=True, samples=8) == {"FINISHED"}
    score = _psnr(wanted, _render(low, tmp_path, "baked"))
    low.active_material.node_tree.links.remove(
        low.active_material.node_tree.nodes["Normal Map"].outputs["Normal"].links[0])
    flat = _psnr(wanted, _render(low, tmp_path, "flat"))
    print(f"{score:.1f} dB; without the normal map {flat:.1f}, without any bake {plain:.1f}")
    assert score >= 26.0 and score > flat + 1.0 > plain


def test_a_plain_colour_is_that_colour_on_every_texel_also_where_it_is_metal():
    high, low = ball("High", 4), ball("Low", 2)
    high.data.materials.append(_plain(metallic=1.0))
    select(low, high)
    OPS.rebake(texture_px="512", normal=False, padding_px=4)
    wanted = [1.055 * value ** (1 / 2.4) - 0.055 for value in RED[:3]]      # sRGB bytes
    assert np.abs(pixels(textures(low)["Base Color"])[..., :3] - wanted).max() <= 1.01 / 255
    assert list(textures(low)) == ["Base Color"] and textures(low)["Base Color"].packed_file is not None


def test_colours_survive_node_groups_mixes_and_materials_without_nodes():
    def grouped(tree, shader):
        group = bpy.data.node_groups.new("Group", "ShaderNodeTree")
        group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
        inner, out = group.nodes.new("ShaderNodeBsdfDiffuse"), group.nodes.new("NodeGroupOutput")
        inner.inputs["Color"].default_value = (0.0, 1.0, 0.0, 1.0)
        group.links.new(inner.outputs[0], out.inputs[0])
        node, mix = tree.nodes.new("ShaderNodeGroup"), tree.nodes.new("ShaderNodeMixShader")
        node.node_tree = group
        shader.inputs["Base Color"].default_value = (1.0, 0.0, 0.0, 1.0)
        mix.inputs[0].default_value = 0.5
        tree.links.new(shader.outputs[0], mix.inputs[1])
        tree.links.new(node.outputs[0], mix.inputs[2])
        tree.links.new(mix.outputs[0], tree.nodes["Material Output"].inputs["Surface"])

    high, low = ball("High", 4), ball("Low", 2)
    high.data.materials.append(_node_material("Mixed", grouped))
    before = everything()
    select(low, high)
    OPS.rebake(texture_px="512", normal=False)
    found = pixels(textures(low)["Base Color"])[..., :3]
    assert np.abs(found - (0.7354, 0.7354, 0.0)).max() < 1.5 / 255         # sRGB of one half, twice
    after = everything()
    assert after["node_groups"] == before["node_groups"]
    assert {name for name in after["materials"] if name not in before["materials"]} == {"Low Baked"}
    assert high.active_material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value[0] == 1.0


def test_the_mesh_keeps_loops_and_uvs_and_the_scene_its_settings_and_selection():
    high, low = ball("High", 4), ball("Low", 2)
    high.data.materials.append(_plain())
    high.hide_render = True
    high.hide_set(False)
    old = _plain((0.1, 0.2, 0.3, 1.0))
    low.data.materials.append(old)
    low.location = high.location = (5.0, -2.0, 1.0)
    low.scale = high.scale = (1.0, 2.0, 0.5)
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    select(low, high)
    kept, before = loops(low.data), everything()
    assert OPS.rebake(texture_px="512", occlusion=True, samples=4) == {"FINISHED"}
    assert loops(low.data)[0] == kept[0] and np.array_equal(loops(low.data)[1], kept[1])
    assert scene.render.engine == "BLENDER_WORKBENCH" and high.hide_render
    assert {thing.name for thing in bpy.context.selected_objects} == {"High", "Low"}
    after = everything()
    assert [after[kind] for kind in ("scenes", "objects", "meshes", "worlds")] == \
        [before[kind] for kind in ("scenes", "objects", "meshes", "worlds")]
    assert low[originals.MATERIALS_KEY].to_dict() == {"0": old}          # and so it is saved with the file
    tree = low.active_material.node_tree
    assert tree.nodes["Principled BSDF"].inputs["Normal"].is_linked
    assert textures(low)["Normal Map"].colorspace_settings.name == "Non-Color"
    group = next(node for node in tree.nodes if node.type == "GROUP")
    assert group.node_tree.name == "glTF Material Output" and group.inputs["Occlusion"].is_linked
    # a ball is nowhere in its own shade
    assert pixels(textures(low)["Ambient Occlusion"])[..., 0].mean() > 0.98


def test_normals_of_a_twin_are_flat_and_those_of_a_dented_mesh_point_as_its_surface_does():
    high, low = ball("High", 5), ball("Low", 5)
    for thing in (high, low):
        thing.data.shade_smooth()
    select(low, high)
    OPS.rebake(texture_px="512", color=False)
    flat = pixels(textures(low)["Normal Map"])[..., :3]
    assert np.abs(flat - (0.5, 0.5, 1.0)).max() < 4 / 255
    for vertex in high.data.vertices:
        vertex.co *= 1 + 0.05 * math.sin(9 * vertex.co.z)
    OPS.rebake(texture_px="512", color=False)
    dented = pixels(textures(low)["Normal Map"])[..., :3] * 2 - 1
    assert np.abs(np.linalg.norm(dented, axis=-1) - 1).mean() < 0.03
    slope = np.degrees(np.arccos(np.clip(dented[..., 2], -1, 1)))
    assert 20 < slope.max() < 25     # the steepest of .05 sin 9 z on a ball is atan .45: 24 degrees; faces blunt it


def test_a_mesh_without_uvs_gets_some_and_is_told_of_it():
    high, low = ball("High", 4), ball("Low", 2, uvs=False)
    high.data.materials.append(_plain())
    assert not low.data.uv_layers
    settings = rebake.RebakeSettings(texture_px=256, normal=False, padding_px=4)
    last = list(rebake.rebake(low, [high], bpy.context, settings))[-1]
    assert last.done == last.total == 2 and last.outcome.unwrapped and "new ones were made" in last.outcome.words()[0]
    uvs = loops(low.data)[1].reshape(-1, 3, 2)
    sides = uvs[:, 1:] - uvs[:, :1]
    assert 0.3 < np.abs(np.linalg.det(sides)).sum() / 2 <= 1.0 and uvs.min() >= 0 and uvs.max() <= 1
    assert last.outcome.overlap < 0.02 and last.outcome.missed < 0.002


def test_uvs_on_top_of_each_other_and_rays_that_hit_nothing_are_told():
    high, low = ball("High", 4), ball("Low", 3)
    uvs = np.tile(np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]], np.float32), (len(low.data.polygons), 1))
    low.data.uv_layers.active.uv.foreach_set("vector", uvs.ravel())
    settings = rebake.RebakeSettings(texture_px=128, normal=False)
    last = list(rebake.rebake(low, [high], bpy.context, settings))[-1]
    assert last.outcome.overlap > 0.9 and "on top of others" in " ".join(last.outcome.words())
    half, low = ball("Half", 4), ball("Low", 3)
    for vertex in half.data.vertices:
        vertex.co.z = max(vertex.co.z, 0.0)           # no lower half
    last = list(rebake.rebake(low, [half], bpy.context, rebake.RebakeSettings(128, 0, distance=0.02)))[-1]
    assert 0.2 < last.outcome.missed < 0.6 and "found nothing" in " ".join(last.outcome.words())


def test_the_distance_is_found_from_the_two_surfaces_whatever_their_size():
    for scale, of_mesh in ((0.01, False), (1.0, False), (500.0, False), (0.01, True), (500.0, True)):
        high, low = ball("High", 5), ball("Low", 2)
        high.scale = low.scale = (scale,) * 3
        bpy.context.view_layer.update()
        if of_mesh:                                     # the two have the same size at other scales
            high.data.transform(high.matrix_world)
            high.scale = (1.0, 1.0, 1.0)
            bpy.context.view_layer.update()
        last = list(rebake.rebake(low, [high], bpy.context, rebake.RebakeSettings(64, 0, normal=False)))[-1]
        assert last.outcome.missed == 0
        # the middle of a face of the coarse ball lies .066 inside
        assert 0.05 < last.outcome.distance / scale < 0.15


def test_a_source_elsewhere_is_refused_and_a_failure_leaves_nothing_behind(monkeypatch):
    high, low = ball("High", 4), ball("Low", 2, uvs=False)
    high.location.x = 9.0
    select(low, high)
    before = everything()
    with pytest.raises(RuntimeError, match="lies elsewhere"):
        OPS.rebake(texture_px="512")
    high.location.x = 0.0
    bake = rebake._Baker.bake

    def fail_in_the_middle(self, name, title, covered):
        made = bake(self, name, title, covered)
        if name == "color":
            raise BadMesh("It broke.")
        return made

    monkeypatch.setattr(rebake._Baker, "bake", fail_in_the_middle)
    with pytest.raises(RuntimeError, match="It broke"):
        OPS.rebake(texture_px="512")
    assert everything() == before and not low.data.uv_layers and not low.material_slots
    steps = rebake.rebake(low, [high], bpy.context, rebake.RebakeSettings(texture_px=128))
    assert [next(steps).words for _ in range(2)] == ["Preparing", "Baking the normals"]
    steps.close()                                       # Esc
    assert everything() == before and bpy.context.scene.render.engine != "CYCLES"


def test_a_result_is_baked_from_what_it_was_before_it_was_edited():
    from bl_ext.user_default.slipcast.addon.scene.results import Placement, place_result, prepare_result
    from shapes import result

    bpy.context.scene.cursor.location = (1.0, 2.0, 3.0)
    made = place_result(prepare_result(result("a" * 32, n=24), Placement("Sheet", (1.0, 2.0, 3.0))), bpy.data,
                        bpy.context.scene, bpy.context.view_layer)
    kept = originals.kept_original(made)
    assert len(kept.polygons) == len(made.data.polygons) and kept.materials[0] == made.active_material
    OPS.place_mesh(origin="BASE", height=2.0)           # the original goes along
    first = made.active_material
    OPS.face_budget(triangles=300)
    assert OPS.rebake(source="ORIGINAL", texture_px="512") == {"FINISHED"}
    assert made["slipcast_job"] == "a" * 32 and made.active_material != first
    assert made[originals.MATERIALS_KEY].to_dict() == {"0": first}
    assert len(originals.kept_original(made).polygons) == 2 * 23 * 23
    assert pixels(textures(made)["Base Color"])[..., :3].std() > 0.05       # its picture, not a plain colour


def test_another_mesh_takes_over_the_job_of_its_source():
    high, low = ball("High", 4), ball("Low", 2)
    high["slipcast_job"], high["slipcast_method"] = "b" * 32, "views"
    originals.keep_original(high)
    select(low, high)
    OPS.rebake(texture_px="512", normal=False)
    assert low["slipcast_job"] == "b" * 32 and low["slipcast_method"] == "views"
    assert originals.kept_original(low) is None         # its own mesh never came from the engine


def test_a_bake_is_one_undo_step():
    high, low = ball("High", 4), ball("Low", 2, uvs=False)
    select(low, high)
    bpy.ops.ed.undo_push(message="before")
    before = everything()
    OPS.rebake("EXEC_DEFAULT", True, texture_px="512")
    assert bpy.data.objects["Low"].active_material.name == "Low Baked"
    bpy.ops.ed.undo()
    low = bpy.data.objects["Low"]
    assert low.active_material is None and not low.data.uv_layers and everything() == before


def test_the_operator_says_what_it_needs():
    rna = OPS.rebake.get_rna_type()
    assert len(rna.description) > 40
    assert all(prop.description for prop in rna.properties if prop.identifier != "rna_type")
    assert not OPS.rebake.poll()
    with pytest.raises(RuntimeError, match="Select a mesh object"):
        OPS.rebake()
    low = ball("Low", 2)
    with pytest.raises(RuntimeError, match="nothing to bake from"):
        OPS.rebake()
    with pytest.raises(RuntimeError, match="was not kept"):
        OPS.rebake(source="ORIGINAL")
    with pytest.raises(RuntimeError, match="no object Nobody"):
        OPS.rebake(source_object="Nobody")
    with pytest.raises(RuntimeError, match="onto itself"):
        OPS.rebake(source_object=low.name)
    ball("High", 3)
    select(low)
    with pytest.raises(RuntimeError, match="Nothing is to be baked"):
        OPS.rebake(source_object="High", color=False, normal=False)
    from bl_ext.user_default.slipcast.addon.panels import rebake as panel
    assert "nothing to bake from" in panel.why_not_yet(bpy.context)
    bpy.context.scene.slipcast_rebake.source_object = "High"
    assert panel.why_not_yet(bpy.context) == ""
    assert rebake_operator.settings_of(bpy.context.scene.slipcast_rebake) == rebake.RebakeSettings()


def test_texels_without_a_colour_take_on_what_is_around_them():
    colour, known = np.zeros((13, 10, 3), np.float32), np.zeros((13, 10), bool)
    colour[2], known[2] = (1.0, 0.5, 0.25), True
    filled = fill_from_around(colour, known)
    assert np.allclose(filled, (1.0, 0.5, 0.25), atol=1e-6)
    colour[9], known[9] = (0.0, 0.0, 0.0), True
    filled = fill_from_around(colour, known)
    assert np.array_equal(filled[known], colour[known])
    assert (np.diff(filled[2:10, :, 0].mean(axis=1)) <= 1e-6).all()           # from one to the other, no jumps back


def test_modifiers_that_leave_no_faces_are_told_and_nothing_is_left_behind():
    high, low = ball("High", 3), ball("Low", 2)
    mask = low.modifiers.new("Mask", "MASK")
    mask.vertex_group = low.vertex_groups.new(name="Nothing").name
    select(low, high)
    before = everything()
    with pytest.raises(RuntimeError, match="modifiers of Low leave no faces"):
        OPS.rebake(texture_px="512")
    assert everything() == before and not low.material_slots


def test_others_that_share_the_mesh_keep_their_uvs_and_their_looks():
    high, low = ball("High", 3), ball("Low", 2, uvs=False)
    twin = low.copy()
    bpy.context.scene.collection.objects.link(twin)
    select(low, high)
    assert OPS.rebake(texture_px="512", normal=False) == {"FINISHED"}
    assert low.active_material.name == "Low Baked" and len(low.data.uv_layers) == 1
    assert not twin.material_slots and not twin.data.uv_layers and len(low.data.polygons) == len(twin.data.polygons)
