"""What is written into the scene is exactly what came, and nothing is left when it cannot be used."""
from __future__ import annotations

import dataclasses
import json

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene.files import write_result
from bl_ext.user_default.slipcast.addon.scene.meshes import build_mesh
from bl_ext.user_default.slipcast.addon.scene.results import Placement, PreparedResult, place_result, prepare_result
from bl_ext.user_default.slipcast.bridge.errors import BadCameras, BadFrame, BadImage, BadMesh
from shapes import cameras, grid, picture, png, result


def _place(placement: Placement, **changed) -> bpy.types.Object:
    prepared = prepare_result(result(**changed), placement, "9.9.9")
    return place_result(prepared, bpy.data, bpy.context.scene, bpy.context.view_layer)


def _counts() -> dict[str, int]:
    kinds = ("objects", "meshes", "materials", "images", "collections", "cameras", "scenes")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def _read(collection, field: str, width: int, dtype=np.float32) -> np.ndarray:
    values = np.empty(len(collection) * width, dtype)
    collection.foreach_get(field, values)
    return values.reshape(-1, width)


def test_positions_corners_and_uvs_are_bit_for_bit_what_came():
    vertices, faces, uvs = grid()
    mesh = build_mesh(bpy.data.meshes, "m", vertices, faces, uvs)
    assert np.array_equal(_read(mesh.vertices, "co", 3), vertices)
    assert np.array_equal(_read(mesh.loops, "vertex_index", 1, np.int32).reshape(-1, 3), faces)
    assert np.array_equal(_read(mesh.uv_layers["UVMap"].uv, "vector", 2).reshape(-1, 3, 2), uvs)
    assert [len(polygon.vertices) for polygon in mesh.polygons] == [3] * len(faces)
    assert len(mesh.edges) == len(vertices) + len(faces) - 1  # Euler's formula for a disc
    assert mesh.uv_layers.active.name == "UVMap" and mesh.uv_layers["UVMap"].active_render
    assert mesh.validate(verbose=True) is False  # nothing had to be corrected


def test_shading_is_smooth():
    mesh = build_mesh(bpy.data.meshes, "m", *grid())
    assert all(polygon.use_smooth for polygon in mesh.polygons)


def test_object_stands_on_the_cursor_with_the_longest_side_asked_for():
    made = _place(Placement("skull", (1.0, -2.0, 0.5), 4.0))
    bpy.context.view_layer.update()
    corners = np.array([made.matrix_world @ vertex.co for vertex in made.data.vertices])
    low, high = corners.min(0), corners.max(0)
    # float32 at a magnitude of 4 has a spacing of 2.4e-7; a few roundings
    assert abs((high - low).max() - 4.0) < 2e-6
    assert np.allclose([*(low + high)[:2] / 2, low[2]], (1.0, -2.0, 0.5), atol=2e-6)
    assert tuple(made.scale) == (1, 1, 1) and tuple(made.location) == (1.0, -2.0, 0.5)
    assert np.abs(np.array(made.bound_box)[:, 2].min()) < 1e-6  # the origin is in the bottom


def test_size_zero_keeps_the_size_the_cameras_have_it_in():
    vertices, _, _ = grid()
    made = _place(Placement("skull"))
    written = _read(made.data.vertices, "co", 3)
    low, high = vertices.min(0).astype(float), vertices.max(0).astype(float)
    bottom = np.array([*(low + high)[:2] / 2, low[2]])
    assert np.array_equal(written, (vertices.astype(float) - bottom).astype(np.float32))


def test_texture_is_packed_byte_for_byte_and_shows_the_same_pixels():
    texture = png(picture())
    made = _place(Placement("skull"), texture=texture)
    image = made.data.materials[0].node_tree.nodes.active.image
    assert bytes(image.packed_file.data) == texture
    assert tuple(image.size) == (16, 8) and image.colorspace_settings.name == "sRGB"
    shown = np.array(image.pixels[:], np.float32).reshape(8, 16, 4)
    # Blender's row 0 is the bottom one; 8 bit values are kept as k / 255 in float32
    assert np.abs(shown[::-1, :, :3] * 255 - picture()).max() < 1e-4


def test_material_is_a_principled_shader_with_the_texture_as_base_colour():
    made = _place(Placement("skull"))
    tree = made.data.materials[0].node_tree
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    shader = output.inputs["Surface"].links[0].from_node
    assert shader.type == "BSDF_PRINCIPLED"
    assert shader.inputs["Base Color"].links[0].from_node.image.name == "skull Base Color"
    assert not shader.inputs["Metallic"].is_linked and shader.inputs["Metallic"].default_value == 0


def test_a_result_is_as_matte_in_blender_as_in_its_files(tmp_path):
    made = _place(Placement("skull"))
    shader = next(node for node in made.active_material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    folder = write_result(tmp_path, result())
    glb = next(folder.glob("*.glb")).read_bytes()
    described = json.loads(glb[20:20 + int.from_bytes(glb[12:16], "little")])     # after the two headers
    in_file = described["materials"][0]["pbrMetallicRoughness"]["roughnessFactor"]
    assert shader.inputs["Roughness"].default_value == pytest.approx(in_file)
    assert f"Pr {in_file}\n" in next(folder.glob("*.mtl")).read_text()


def test_a_normal_map_goes_through_a_normal_map_node_and_is_no_colour():
    relief = png(picture()[::-1])
    made = _place(Placement("skull"), normal_map=relief)
    tree = made.data.materials[0].node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    node = shader.inputs["Normal"].links[0].from_node
    assert (node.type, node.space, node.inputs["Strength"].default_value) == ("NORMAL_MAP", "TANGENT", 1.0)
    image = node.inputs["Color"].links[0].from_node.image
    assert image.colorspace_settings.name == "Non-Color" and bytes(image.packed_file.data) == relief
    assert tree.nodes.active.image.name == "skull Base Color"      # painting and baking still work on the colour
    assert not _place(Placement("plain")).data.materials[0].node_tree.nodes.get("Normal Map")


def test_names_collection_selection_and_properties():
    made = _place(Placement("skull"))
    assert (made.name, made.data.name, made.data.materials[0].name) == ("skull", "skull", "skull")
    assert [collection.name for collection in made.users_collection] == ["Slipcast"]
    assert bpy.context.scene.collection.children["Slipcast"].objects["skull"] == made
    assert bpy.context.view_layer.objects.active == made and made.select_get()
    assert made["slipcast_job"] == "0" * 32
    assert json.loads(made["slipcast_settings"]) == {"quality": "draft", "seed": 7}
    assert (made["slipcast_engine"], made["slipcast_device"]) == ("9.9.9", "cpu")


def test_second_result_goes_into_the_same_collection_and_is_selected_alone():
    first, second = _place(Placement("skull")), _place(Placement("skull"))
    assert [collection.name for collection in bpy.data.collections] == ["Slipcast"]
    assert second.name == "skull.001" and second.select_get() and not first.select_get()


def test_cameras_are_in_register_with_the_object_and_stay_so_when_it_moves():
    vertices, _, _ = grid()
    made = _place(Placement("skull", (1.0, 2.0, 3.0), 0.7, import_cameras=True))
    folder = bpy.data.collections["skull Cameras"]
    assert len(folder.objects) == 2 and folder.name in bpy.data.collections["Slipcast"].children
    made.location.x += 5
    made.rotation_euler.z = 0.6
    for given, camera in zip(cameras(), folder.objects):
        _check_projection(given, camera, made, vertices)


def _check_projection(given: dict, camera: bpy.types.Object, made: bpy.types.Object, vertices: np.ndarray) -> None:
    """Each vertex falls on the pixel of the view that it fell on in the views' own world."""
    render = bpy.context.scene.render
    size = (render.resolution_x, render.resolution_y)
    width, height = camera["slipcast_render_size"]
    aspect = camera["slipcast_pixel_aspect"]
    bpy.context.view_layer.update()
    projection = np.array(camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=width, y=height,
                                                    scale_x=aspect[0], scale_y=aspect[1]))
    assert (render.resolution_x, render.resolution_y) == size  # nobody asked for another render size
    to_clip = projection @ np.array(camera.matrix_world.normalized().inverted()) @ np.array(made.matrix_world)
    local = np.c_[_read(made.data.vertices, "co", 3), np.ones(len(vertices))]
    clip = local @ to_clip.T
    seen = np.c_[(clip[:, 0] / clip[:, 3] + 1) * width / 2, (1 - clip[:, 1] / clip[:, 3]) * height / 2]
    camera_from_world = np.linalg.inv(np.array(given["world_from_camera"]))
    point = np.c_[vertices, np.ones(len(vertices))] @ camera_from_world.T
    x, y = point[:, 0] / point[:, 2], point[:, 1] / point[:, 2]
    meant = np.c_[given["fx"] * x + given["cx"], given["fy"] * y + given["cy"]]
    assert (clip[:, 3] > 0).all()
    # Blender keeps matrices in float32: about 2e-7 of distances of 10 at 700 px a unit
    assert np.abs(seen - meant).max() < 0.02


def test_render_size_is_taken_over_when_asked_for():
    _place(Placement("skull", import_cameras=True))
    camera = bpy.data.objects["b"]
    bpy.context.view_layer.objects.active = camera
    assert bpy.ops.slipcast.use_camera() == {"FINISHED"}
    render = bpy.context.scene.render
    assert (render.resolution_x, render.resolution_y, bpy.context.scene.camera) == (500, 700, camera)
    assert render.pixel_aspect_x == 1.0 and abs(render.pixel_aspect_y - 610 / 590) < 1e-6


def test_one_undo_takes_all_of_it_back_and_redo_brings_it_again():
    from bl_ext.user_default.slipcast.addon.job import GenerateRequest
    from bl_ext.user_default.slipcast.addon.landing import SceneLanding

    bpy.ops.ed.undo_push(message="before")
    before = _counts()
    prepared = prepare_result(result(), Placement("skull", import_cameras=True))
    SceneLanding().land(prepared, GenerateRequest(folder=None, settings=None, placement=prepared.placement))
    assert _counts()["objects"] == before["objects"] + 3
    bpy.ops.ed.undo()
    assert _counts() == before
    bpy.ops.ed.redo()
    assert "skull" in bpy.data.objects and len(bpy.data.images) == before["images"] + 1


@pytest.mark.parametrize(("change", "error"), [
    (lambda p: dataclasses.replace(p, base_color_png=b"GIF89a"), BadImage),
    (lambda p: dataclasses.replace(p, normal_map_png=b"GIF89a"), BadImage),
    (lambda p: dataclasses.replace(p, faces=p.faces + 1000), BadMesh),
    (lambda p: dataclasses.replace(p, faces=np.zeros_like(p.faces)), BadMesh),
    (lambda p: dataclasses.replace(p, vertices=p.vertices * np.float32("nan")), BadMesh),
    (lambda p: dataclasses.replace(p, corner_uvs=p.corner_uvs[:-1]), BadMesh),
    (lambda p: dataclasses.replace(p, faces=p.faces[:0], corner_uvs=p.corner_uvs[:0]), BadMesh),
])
def test_unusable_result_leaves_nothing_behind(change, error):
    before = _counts()
    prepared: PreparedResult = change(prepare_result(result(), Placement("skull", import_cameras=True)))
    with pytest.raises(error):
        place_result(prepared, bpy.data, bpy.context.scene, bpy.context.view_layer)
    assert _counts() == before


def test_result_without_a_named_artefact_is_refused():
    given = result()
    short = dataclasses.replace(given, data={name: held for name, held in given.data.items() if name != "faces"})
    with pytest.raises(BadFrame, match="faces"):
        prepare_result(short, Placement("skull"))


def test_camera_with_numbers_that_are_none_is_refused():
    given = result()
    odd = json.dumps([cameras()[0] | {"fx": float("nan")}]).encode()
    broken = dataclasses.replace(given, data=dict(given.data) | {"cameras": memoryview(odd)})
    with pytest.raises(BadCameras):
        prepare_result(broken, Placement("skull", import_cameras=True))
