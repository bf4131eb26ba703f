"""Keep-topology on a mesh as artists have it: what was made by hand is as it was, and one undo brings back the rest."""
from __future__ import annotations

import bpy
import numpy as np
import pytest
from refine_played import Played, arrays

OPS = bpy.ops.slipcast
READ = {"FLOAT": ("value", 1), "INT": ("value", 1), "INT8": ("value", 1), "BOOLEAN": ("value", 1),
        "FLOAT_VECTOR": ("vector", 3), "FLOAT2": ("vector", 2), "FLOAT_COLOR": ("color", 4), "BYTE_COLOR": ("color", 4),
        "INT32_2D": ("value", 2), "INT16_2D": ("value", 2)}


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # the engine is played; it must only be named


def head() -> bpy.types.Object:
    """Suzanne, with everything that people put on a mesh; turned, moved and scaled."""
    bpy.ops.mesh.primitive_monkey_add(location=(1, 2, 3), rotation=(0.3, 0.1, -0.7), scale=(1, 1.5, 0.8))
    thing, random = bpy.context.object, np.random.default_rng(4)
    mesh = thing.data
    second = mesh.uv_layers.new(name="Lightmap")
    second.data.foreach_set("uv", random.random(2 * len(mesh.loops), dtype=np.float32))
    mesh.uv_layers.active_index = 0
    for number, name in enumerate(("Skin", "Eyes", "Teeth")):
        mesh.materials.append(bpy.data.materials.new(name))
        thing.material_slots[number].link = "OBJECT" if name == "Eyes" else "DATA"
    thing.material_slots[1].material = bpy.data.materials["Eyes"]
    mesh.polygons.foreach_set("material_index", random.integers(0, 3, len(mesh.polygons), dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", random.integers(0, 2, len(mesh.polygons)).astype(bool))
    for name in ("Ear.L", "Ear.R", "Jaw"):
        group = thing.vertex_groups.new(name=name)
        for vertex in random.choice(len(mesh.vertices), 40, replace=False).tolist():
            group.add([vertex], float(random.random()), "REPLACE")
    for name, domain, kind in (("Paint", "CORNER", "BYTE_COLOR"), ("Wet", "POINT", "FLOAT"), ("Part", "FACE", "INT"),
                               ("crease_edge", "EDGE", "FLOAT"), ("sharp_edge", "EDGE", "BOOLEAN")):
        made = mesh.attributes.get(name) or mesh.attributes.new(name, kind, domain)
        prop, width = READ[kind]
        values = random.random(width * len(made.data), dtype=np.float32)
        made.data.foreach_set(prop, values if kind.endswith(("COLOR", "FLOAT")) else (9 * values).astype(int) % 2)
    for edge in list(mesh.edges)[::7]:
        edge.use_seam = True
    thing.shape_key_add(name="Basis")
    for name, value in (("Smile", 0.25), ("Blink", 0.0)):
        key = thing.shape_key_add(name=name)
        key.value = value
        for vertex in random.choice(len(mesh.vertices), 20).tolist():
            key.data[vertex].co.z += 0.1
    thing.data.shape_keys.key_blocks["Blink"].relative_key = thing.data.shape_keys.key_blocks["Smile"]
    thing["Rating"] = 5
    bpy.context.view_layer.update()
    return thing


def handmade(thing: bpy.types.Object) -> dict[str, object]:
    """All of a mesh but where its vertices are."""
    mesh = thing.data
    keys = mesh.shape_keys.key_blocks
    found: dict[str, object] = {
        "loops": [loop.vertex_index for loop in mesh.loops], "loop edges": [loop.edge_index for loop in mesh.loops],
        "edges": [tuple(edge.vertices) for edge in mesh.edges], "seams": [edge.use_seam for edge in mesh.edges],
        "faces": [(face.loop_start, face.loop_total, face.material_index, face.use_smooth) for face in mesh.polygons],
        "uvs": [(layer.name, layer.active, layer.active_render, [tuple(each.vector) for each in layer.uv])
                for layer in mesh.uv_layers],
        "groups": [group.name for group in thing.vertex_groups],
        "weights": [[(each.group, each.weight) for each in vertex.groups] for vertex in mesh.vertices],
        "keys": [(key.name, key.value, key.relative_key.name, key.mute) for key in keys],
        "slots": [(slot.name, slot.link) for slot in thing.material_slots],
        "names": (thing.name, mesh.name), "matrix": [tuple(row) for row in thing.matrix_world],
        "own": thing["Rating"], "color": mesh.color_attributes.active_color_name}
    for each in mesh.attributes:
        if each.name != "position":
            prop, width = READ[each.data_type]
            kind = np.float32 if each.data_type.startswith(("FLOAT", "BYTE")) else np.int32
            values = np.zeros(width * len(each.data), bool if each.data_type == "BOOLEAN" else kind)
            each.data.foreach_get(prop, values)
            found[f"attribute {each.name}"] = (each.domain, each.data_type, values.tobytes())
    return found


def places(thing: bpy.types.Object) -> dict[str, np.ndarray]:
    """Of the vertices, in each shape key, and of the mesh itself."""
    keys = {key.name: key.data for key in thing.data.shape_keys.key_blocks} | {"mesh": thing.data.vertices}
    found = {}
    for name, data in keys.items():
        found[name] = np.empty(3 * len(data), np.float32)
        data.foreach_get("co", found[name])
    return found


def refine(thing: bpy.types.Object, **more) -> Played:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=1, location=(1, 2, 3))
    bpy.context.object.name = "Target"
    bpy.context.view_layer.objects.active = thing
    played = Played()
    bpy.ops.ed.undo_push(message="before")
    assert OPS.refine(targets="ORBIT", subject="Target", count=3, resolution=32, samples=1, quality="draft",
                      keep_topology=True, modifiers="KEEP", **more) == {"FINISHED"}
    bpy.context.view_layer.update()
    return played


def test_all_that_was_made_by_hand_is_as_it_was_and_only_vertices_have_moved():
    thing = head()
    made, start = handmade(thing), places(thing)
    played = refine(thing)
    after = handmade(thing)
    assert {name for name in made if after[name] != made[name]} == set() and after.keys() == made.keys()
    sent = arrays(played.sent["mesh.npz"])
    assert sent["corner_uvs"].shape == (len(sent["faces"]), 3, 2) and len(sent["vertices"]) == len(thing.data.vertices)
    # the played engine moves everything by 0.25 along each of the world's axes, all shape keys alike
    step = np.array(thing.matrix_world.to_3x3().inverted()) @ np.full(3, 0.25)
    for name, held in places(thing).items():
        assert np.abs((held - start[name]).reshape(-1, 3) - step).max() < 2e-6, name


def blocks() -> set[str]:
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.images, bpy.data.materials, bpy.data.cameras, bpy.data.scenes)
    return {block.name for kind in kinds for block in kind if getattr(block, "type", "") != "RENDER_RESULT"}


def test_one_undo_brings_everything_back_and_redo_the_result():
    thing = head()
    name, made, start = thing.name, handmade(thing), places(thing)
    before = blocks() | {"Target", "Icosphere"}
    refine(thing)
    moved = places(thing)
    assert sorted(blocks() - before) == ["Suzanne Base Color", "Suzanne Before"]
    bpy.ops.ed.undo()
    thing = bpy.data.objects[name]
    bpy.context.view_layer.update()
    assert handmade(thing) == made and "slipcast_job" not in thing
    assert all(np.array_equal(held, start[key]) for key, held in places(thing).items())
    assert blocks() == before
    bpy.ops.ed.redo()
    thing = bpy.data.objects[name]
    assert "slipcast_job" in thing and all(np.array_equal(held, moved[key]) for key, held in places(thing).items())
