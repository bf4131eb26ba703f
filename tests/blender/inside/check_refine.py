"""Refine: what is sent is the mesh as it is seen, and what comes back changes what was asked for and nothing else."""
from __future__ import annotations

import json
import time

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.scene.refine_source import SourceWishes, read_source, symmetry_of
from bl_ext.user_default.slipcast.addon.scene.results import Placement, prepare_result
from bl_ext.user_default.slipcast.bridge.errors import BadMesh, BadSettings
from fakes import JOB
from mathutils import Matrix
from refine_played import Played, arrays, result
from shapes import grid

OPS = bpy.ops.slipcast
KEEP = SourceWishes(keep_topology=True)


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # the engine is played; it must only be named


def graph():
    return bpy.context.evaluated_depsgraph_get()


def cube(**more) -> bpy.types.Object:
    """An artist's mesh: quads, two materials, a vertex group, a shape key, UVs; turned, scaled and moved."""
    bpy.ops.mesh.primitive_cube_add(location=(3, -1, 0.5), rotation=(0.3, 0.2, 0.9), scale=(1, 2, 0.5))
    made = bpy.context.object
    for name in ("Skin", "Metal"):
        made.data.materials.append(bpy.data.materials.new(name))
    made.data.polygons[2].material_index = 1
    made.vertex_groups.new(name="Top").add([1, 3, 5, 7], 0.5, "REPLACE")
    if more.get("keys"):
        made.shape_key_add(name="Basis")
        made.shape_key_add(name="Smile").data[0].co.z += 0.5
    bpy.context.view_layer.update()
    return made


def land(source, moved, faces=None, uvs=None) -> tuple[bpy.types.Object, tuple[str, ...]]:
    """As the session lands what the engine made of `source`, as one undo step."""
    from bl_ext.user_default.slipcast.addon.job import GenerateRequest

    faces = source.faces if faces is None else faces
    uvs = np.zeros((len(faces), 3, 2), np.float32) if uvs is None else uvs
    placement = Placement(source.object_name, in_place=True)
    landing = SceneLanding()
    name = landing.land(prepare_result(result(moved, faces, uvs), placement),
                        GenerateRequest(None, None, placement, bpy.context.scene.name, method="refine",
                                        refined=source))
    bpy.context.view_layer.update()
    return bpy.data.objects[name], landing.notes


def world(thing, mesh=None) -> np.ndarray:
    mesh = mesh or thing.data
    held = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", held)
    matrix = np.array(thing.matrix_world)
    return held.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def loops(mesh) -> tuple:
    corner = [loop.vertex_index for loop in mesh.loops]
    return corner, [tuple(each.vector) for each in mesh.uv_layers.active.uv], [tuple(p.vertices) for p in mesh.polygons]


# --- what is sent
def test_the_mesh_is_sent_in_the_world_with_its_uvs_and_its_own_planes_of_symmetry():
    thing = cube()
    source, content = read_source(thing, KEEP)
    sent = arrays(content)
    assert np.abs(sent["vertices"] - world(thing)).max() < 1e-6 and sent["faces"].shape == (12, 3)
    assert np.array_equal(sent["faces"], source.faces) and sent["corner_uvs"].shape == (12, 3, 2)
    assert np.allclose(sent["origin"], (3, -1, 0.5))
    turn = np.array(thing.rotation_euler.to_matrix())
    assert np.allclose(sent["axes"], turn.T, atol=1e-6)     # the scale lies along the axes, so the normals are these
    # the faces look outwards
    a, b, c = (sent["vertices"][sent["faces"][:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a) * ((a + b + c) / 3 - sent["origin"])).sum(1).min() > 0


def test_a_mesh_mirrored_by_its_scale_is_sent_with_its_outside_outside_and_comes_back_right():
    thing = cube()
    thing.scale.x = -1
    bpy.context.view_layer.update()
    source, content = read_source(thing, KEEP)
    sent = arrays(content)
    a, b, c = (sent["vertices"][sent["faces"][:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a) * ((a + b + c) / 3 - sent["origin"])).sum(1).min() > 0
    before = loops(thing.data)
    moved = source.vertices + np.float32(0.1)
    land(source, moved)
    assert loops(thing.data) == before and np.abs(world(thing) - moved).max() < 1e-6


def test_modifiers_are_in_what_is_sent():
    thing = cube()
    thing.modifiers.new("Sub", "SUBSURF").levels = 2
    bpy.context.view_layer.update()
    source, _ = read_source(thing, SourceWishes())
    assert len(source.faces) == 2 * 6 * 16


def test_weights_come_from_the_group_or_the_sculpt_mask():
    thing = cube()
    weights = arrays(read_source(thing, SourceWishes(weights="GROUP", group="Top"))[1])["weights"]
    assert np.allclose(weights, [0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5])
    assert np.allclose(arrays(read_source(thing, SourceWishes(weights="GROUP"))[1])["weights"], weights)
    with pytest.raises(BadSettings, match="no sculpt mask"):
        read_source(thing, SourceWishes(weights="MASK"))
    mask = thing.data.attributes.new(".sculpt_mask", "FLOAT", "POINT")
    mask.data.foreach_set("value", np.linspace(0, 1, 8, dtype=np.float32))
    thing.data.update()
    weights = arrays(read_source(thing, SourceWishes(weights="MASK"))[1])["weights"]
    assert np.allclose(weights, np.linspace(1, 0, 8))
    with pytest.raises(BadSettings, match="no vertex group Nose"):
        read_source(thing, SourceWishes(weights="GROUP", group="Nose"))


def test_symmetry_is_the_meshs_own_setting():
    thing = cube()
    assert symmetry_of(thing.data) == "none"
    thing.data.use_mirror_y = True
    assert symmetry_of(thing.data) == "y"


@pytest.mark.parametrize("wishes, words", [
    (SourceWishes(), "shape keys, which new faces would lose"),
    (KEEP, "shape keys, which applying its modifiers would lose"),
    (SourceWishes(keep_topology=True, modifiers="KEEP"), "give it other faces (Sub)")])
def test_wishes_that_would_break_the_mesh_are_refused_before_any_work(wishes, words):
    thing = cube(keys=True)
    thing.modifiers.new("Sub", "SUBSURF")
    bpy.context.view_layer.update()
    with pytest.raises(BadMesh) as raised:
        read_source(thing, wishes)
    assert words in raised.value.message and raised.value.hint


# --- what comes back
def test_kept_topology_moves_the_vertices_and_nothing_else_and_one_undo_restores_everything():
    thing = cube(keys=True)
    name, before, slots = thing.name, loops(thing.data), [slot.name for slot in thing.material_slots]
    start, smile = world(thing), np.array(thing.data.shape_keys.key_blocks["Smile"].data[0].co)
    source, _ = read_source(thing, SourceWishes(keep_topology=True, modifiers="KEEP"))
    bpy.ops.ed.undo_push(message="before")
    step = np.zeros((8, 3), np.float32)
    step[0] = (0.1, -0.2, 0.3)
    landed, notes = land(source, source.vertices + step)
    assert landed == thing and np.abs(world(thing) - start - step).max() < 1e-6
    assert loops(thing.data) == before and [slot.name for slot in thing.material_slots] == slots
    assert [group.name for group in thing.vertex_groups] == ["Top"]
    assert [thing.data.vertices[i].groups[0].weight for i in (1, 3, 5, 7)] == [0.5] * 4
    assert [polygon.material_index for polygon in thing.data.polygons] == [0, 0, 1, 0, 0, 0]
    keys = thing.data.shape_keys.key_blocks
    assert [key.name for key in keys] == ["Basis", "Smile"]
    local = np.array(thing.matrix_world.to_3x3().inverted()) @ step[0]
    assert np.allclose(np.array(keys["Smile"].data[0].co), smile + local, atol=1e-6)   # the smile is as wide as before
    assert len(notes) == 1 and "are as they were" in notes[0]
    assert thing["slipcast_job"] == JOB and thing["slipcast_base_color"].packed_file is not None
    bpy.ops.ed.undo()
    thing = bpy.data.objects[name]
    bpy.context.view_layer.update()
    assert np.array_equal(world(thing), start) and loops(thing.data) == before
    assert "slipcast_job" not in thing and len(bpy.data.meshes) == 1 and not bpy.data.images
    assert [key.name for key in thing.data.shape_keys.key_blocks] == ["Basis", "Smile"]


def test_vertices_that_the_engine_did_not_move_stay_to_the_bit():
    thing = cube()
    held = np.empty(24, np.float32)
    thing.data.vertices.foreach_get("co", held)
    source, _ = read_source(thing, KEEP)
    land(source, source.vertices.copy())
    after = np.empty(24, np.float32)
    thing.data.vertices.foreach_get("co", after)
    assert np.array_equal(after, held)


def test_kept_topology_with_modifiers_applied_gives_the_mesh_as_it_was_seen_and_they_are_gone():
    thing = cube()
    thing.modifiers.new("Sub", "SUBSURF").levels = 1
    bpy.context.view_layer.update()
    seen = world(thing, thing.evaluated_get(graph()).data)
    source, _ = read_source(thing, KEEP)
    land(source, source.vertices + np.float32(0.25))
    assert not thing.modifiers and np.abs(world(thing) - seen - 0.25).max() < 1e-5
    assert [group.name for group in thing.vertex_groups] == ["Top"] and len(thing.data.materials) == 2
    assert any(vertex.groups for vertex in thing.data.vertices)


def test_kept_topology_with_modifiers_kept_moves_what_is_below_them():
    thing = cube()
    thing.modifiers.new("Bend", "CAST").factor = 0.3
    bpy.context.view_layer.update()
    seen = world(thing, thing.evaluated_get(graph()).data)
    base = world(thing)
    source, _ = read_source(thing, SourceWishes(keep_topology=True, modifiers="KEEP"))
    assert np.abs(source.vertices - seen).max() < 1e-6
    land(source, source.vertices + np.float32(0.1))
    assert [each.name for each in thing.modifiers] == ["Bend"] and np.abs(world(thing) - base - 0.1).max() < 1e-6


def test_a_mesh_that_others_share_is_not_changed_for_them():
    thing = cube()
    other = bpy.data.objects.new("other", thing.data)
    bpy.context.scene.collection.objects.link(other)
    source, _ = read_source(thing, KEEP)
    start = [tuple(vertex.co) for vertex in other.data.vertices]
    land(source, source.vertices + np.float32(1))
    assert other.data != thing.data and [tuple(vertex.co) for vertex in other.data.vertices] == start


def test_new_faces_replace_the_mesh_in_place_with_a_material_and_modifiers_go_or_are_switched_off():
    for modifiers in ("APPLY", "KEEP"):
        thing = cube()
        thing.modifiers.new("Sub", "SUBSURF")
        bpy.context.view_layer.update()
        source, _ = read_source(thing, SourceWishes(modifiers=modifiers))
        vertices, faces, uvs = grid()
        landed, notes = land(source, vertices, faces, uvs)
        assert landed == thing and np.abs(world(thing) - vertices).max() < 1e-5
        assert len(thing.data.materials) == 1 and thing.data.materials[0].node_tree is not None
        assert [tuple(p.vertices) for p in thing.data.polygons] == [tuple(face) for face in faces.tolist()]
        if modifiers == "APPLY":
            assert not thing.modifiers and notes == ()
        else:
            assert not thing.modifiers["Sub"].show_render and "switched off: Sub" in notes[0]


def test_the_object_moved_meanwhile_takes_its_refined_mesh_along():
    thing = cube()
    source, _ = read_source(thing, KEEP)
    thing.matrix_world = Matrix.Translation((10, 0, 0)) @ thing.matrix_world
    bpy.context.view_layer.update()
    land(source, source.vertices + np.float32(0.5))
    assert np.abs(world(thing) - source.vertices - 0.5 - np.array([10, 0, 0])).max() < 1e-5


@pytest.mark.parametrize("spoil, words", [
    (lambda thing: bpy.data.objects.remove(thing), "is not there any more"),
    (lambda thing: thing.data.clear_geometry(), "was edited while it was refined")])
def test_a_result_whose_mesh_is_gone_or_edited_becomes_an_object_of_its_own_and_this_is_told(spoil, words):
    thing = cube()
    source, _ = read_source(thing, KEEP)
    spoil(thing)
    landed, notes = land(source, source.vertices + np.float32(0.5))
    assert words in notes[0] and landed.name in notes[0]
    assert np.abs(world(landed) - source.vertices - 0.5).max() < 1e-5


# --- before and after
def test_before_and_after_can_be_seen_in_turn_and_are_saved_with_the_file(tmp_path):
    thing = cube()
    start = world(thing)
    source, _ = read_source(thing, KEEP)
    land(source, source.vertices + np.float32(0.5))
    bpy.context.view_layer.objects.active = thing
    after = world(thing)
    assert OPS.before_after() == {"FINISHED"} and np.array_equal(world(thing), start)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert OPS.before_after() == {"FINISHED"}
    bpy.context.view_layer.update()
    assert np.array_equal(world(bpy.context.object), after)


def test_before_and_after_says_what_it_needs():
    cube()
    with pytest.raises(RuntimeError, match="Select a mesh that was refined"):
        OPS.before_after()


# --- the operators
def test_refine_renders_the_subject_sends_the_mesh_and_changes_it_as_one_undo_step():
    played = Played()
    bpy.ops.mesh.primitive_monkey_add(location=(3, -1, 0.5))
    thing = cube()
    thing.data.use_mirror_x = True
    start, counts = world(thing), [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.cameras)]
    assert OPS.refine(targets="ORBIT", subject="Suzanne", count=3, resolution=48, samples=1, quality="draft",
                      keep_topology=True, iterations=7) == {"FINISHED"}
    bpy.context.view_layer.update()
    assert (played.method, played.settings["symmetry"], played.settings["iterations"]) == ("refine", "x", 7)
    assert played.settings["keep_topology"] is True and played.settings["quality"] == "draft"
    frames = json.loads(played.sent["transforms.json"])["frames"]
    assert len(frames) == 3 and {"images/000.png", "depth/000.exr", "normals/000.exr", "mesh.npz"} <= played.sent.keys()
    assert np.abs(arrays(played.sent["mesh.npz"])["vertices"] - start).max() < 1e-6
    assert np.abs(world(thing) - start - 0.25).max() < 1e-5 and thing["slipcast_job"] == JOB
    assert counts == [len(bpy.data.scenes), len(bpy.data.objects), len(bpy.data.cameras)]


def test_a_mesh_from_nothing_stands_where_what_it_was_made_of_stands():
    played = Played()
    bpy.ops.mesh.primitive_monkey_add(location=(3, -1, 0.5))
    assert OPS.generate_from_scene(targets="ORBIT", subject="Suzanne", count=3, resolution=48, samples=1,
                                   quality="draft") == {"FINISHED"}
    assert played.method == "views" and "mesh.npz" not in played.sent
    bpy.context.view_layer.update()
    assert np.abs(world(bpy.data.objects["Suzanne Slipcast"]) - grid()[0]).max() < 1e-5


def test_what_is_missing_is_said_before_any_work():
    Played()
    with pytest.raises(RuntimeError, match="Select the mesh that is to be refined"):
        OPS.refine()
    cube()
    for asked, words in (({}, "Nothing is chosen to be matched"), ({"subject": "Nobody"}, "There is no object Nobody"),
                         ({"subject": "Cube"}, "matched with itself"), ({"targets": "FOLDER"}, "No view folder"),
                         ({"collection": "Nothing"}, "no collection Nothing")):
        with pytest.raises(RuntimeError, match=words):
            OPS.refine(**asked)
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Go to Object Mode first"):
        OPS.refine(subject="Cube")
    bpy.ops.object.mode_set(mode="OBJECT")


def test_operators_describe_themselves_and_have_the_undo_flag_that_fits():
    for name, undo in (("refine", False), ("generate_from_scene", False), ("before_after", True)):
        kind = getattr(bpy.types, f"SLIPCAST_OT_{name}")
        assert len(getattr(OPS, name).get_rna_type().description) > 30 and ("UNDO" in kind.bl_options) is undo


def test_the_same_again_from_the_panel():
    played = Played()
    bpy.ops.mesh.primitive_monkey_add()
    cube()
    asked = bpy.context.scene.slipcast_refine
    asked.subject, asked.count, asked.resolution, asked.samples, asked.quality = "Suzanne", 3, 32, 1, "draft"
    began = time.perf_counter()
    assert OPS.refine(keep_topology=True) == {"FINISHED"}
    assert played.settings["quality"] == "draft" and time.perf_counter() - began < 30
