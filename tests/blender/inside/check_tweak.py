"""Tweaks change the mesh as they say, keep what they say they keep, and are one undo step each."""
from __future__ import annotations

import math

import bmesh
import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.operators import tweak
from bl_ext.user_default.slipcast.addon.scene import health

OPS = bpy.ops.slipcast


def _points(thing: bpy.types.Object) -> np.ndarray:
    """(V, 3) float64, world."""
    return np.array([thing.matrix_world @ vertex.co for vertex in thing.data.vertices])


def _triangles(thing: bpy.types.Object) -> int:
    thing.data.calc_loop_triangles()
    return len(thing.data.loop_triangles)


def _volume(thing: bpy.types.Object) -> float:
    work = bmesh.new()
    work.from_mesh(thing.data)
    try:
        return work.calc_volume(signed=True)
    finally:
        work.free()


def _uv_extent(thing: bpy.types.Object) -> np.ndarray:
    return np.ptp([tuple(uv.vector) for uv in thing.data.uv_layers.active.uv], axis=0)


def _ball(subdivisions: int = 4) -> bpy.types.Object:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=subdivisions, radius=1.0, calc_uvs=True)
    return bpy.context.object


def _monkey() -> bpy.types.Object:
    bpy.ops.mesh.primitive_monkey_add(calc_uvs=True)
    return bpy.context.object


def test_face_budget_is_kept_to_and_uvs_materials_and_groups_stay():
    thing = _ball(5)
    thing.data.materials.append(bpy.data.materials.new("Skin"))
    thing.vertex_groups.new(name="Top").add([v.index for v in thing.data.vertices if v.co.z > 0], 1.0, "REPLACE")
    name, volume, extent = thing.data.name, _volume(thing), _uv_extent(thing)
    modifier = thing.modifiers.new("Bend", "SIMPLE_DEFORM")
    assert OPS.face_budget(triangles=1000) == {"FINISHED"}
    assert 900 <= _triangles(thing) <= 1000
    assert abs(_volume(thing) / volume - 1) < 0.02       # 1000 triangles on a ball: 1 % lost
    assert np.allclose(_uv_extent(thing), extent, atol=0.03)
    assert [material.name for material in thing.data.materials] == ["Skin"] and thing.data.name == name
    top = [v.index for v in thing.data.vertices if v.groups and v.groups[0].weight > 0.5]
    assert all(thing.data.vertices[index].co.z > -0.2 for index in top) and len(top) > 100
    assert list(thing.modifiers) == [modifier]            # neither applied nor lost
    assert len(bpy.data.objects) == 1 and len(bpy.data.meshes) == 1


def test_face_budget_with_symmetry_stays_symmetric():
    thing = _monkey()
    OPS.face_budget(triangles=400, symmetry="X")
    assert _triangles(thing) <= 400
    assert _asymmetry(thing) < 1e-4


def test_a_budget_that_is_already_kept_changes_nothing():
    thing = _ball(2)
    before = _points(thing)
    OPS.face_budget(triangles=10_000)
    assert np.array_equal(_points(thing), before)


def test_voxel_remesh_gives_one_closed_skin_of_the_size_asked_for():
    thing = _monkey()   # three parts, open
    assert health.mesh_health(thing.data).components == 3
    OPS.voxel_remesh(size=0.05)
    found = health.mesh_health(thing.data)
    assert found.watertight
    edges = np.array([np.subtract(*(np.array(thing.data.vertices[index].co) for index in edge.vertices))
                      for edge in thing.data.edges])
    assert 0.03 < np.median(np.linalg.norm(edges, axis=1)) < 0.06
    sides = np.ptp(_points(thing), axis=0)
    assert np.allclose(sides, (2.734, 1.703, 1.969), atol=0.12)   # of the monkey, give or take two cubes


def test_quad_remesh_gives_about_as_many_quads_as_asked_for():
    thing = _ball(4)
    assert OPS.quad_remesh(faces=500) == {"FINISHED"}
    assert 300 < len(thing.data.polygons) < 800    # QuadriFlow keeps to it loosely
    assert sum(len(face.vertices) == 4 for face in thing.data.polygons) > 0.95 * len(thing.data.polygons)
    assert abs(_volume(thing) / (4 * math.pi / 3) - 1) < 0.05


def test_quad_remesh_says_so_when_quadriflow_fails():
    thing = _ball(2)
    work = bmesh.new()
    work.from_mesh(thing.data)
    work.faces.ensure_lookup_table()
    fin = work.verts.new((0, 0, 3))
    edge = work.faces[0].edges[0]
    work.faces.new((edge.verts[0], edge.verts[1], fin))    # a third face on an edge
    work.to_mesh(thing.data)
    work.free()
    count = len(thing.data.polygons)
    with pytest.raises(RuntimeError, match="QuadriFlow could not remesh"):
        OPS.quad_remesh(faces=200)
    assert len(thing.data.polygons) == count


def test_smooth_takes_noise_away_and_keeps_the_volume_faces_and_uvs():
    thing = _ball(5)
    volume = _volume(thing)
    noise = np.random.default_rng(1).normal(scale=0.01, size=(len(thing.data.vertices), 3))
    for vertex, shift in zip(thing.data.vertices, noise):
        vertex.co += type(vertex.co)(shift)
    uvs = [tuple(uv.vector) for uv in thing.data.uv_layers.active.uv]
    rough, noisy_volume = np.linalg.norm(_points(thing), axis=1).std(), _volume(thing)
    OPS.smooth(rounds=10)
    assert np.linalg.norm(_points(thing), axis=1).std() < 0.4 * rough
    assert abs(_volume(thing) / noisy_volume - 1) < 1e-4 and abs(_volume(thing) / volume - 1) < 0.01
    assert [tuple(uv.vector) for uv in thing.data.uv_layers.active.uv] == uvs


def test_smooth_leaves_the_rims_of_holes_where_they_are():
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=10, y_subdivisions=10)
    thing = bpy.context.object
    for vertex in thing.data.vertices:
        vertex.co.z = 0.2 * math.sin(40 * vertex.co.x)
    before = _points(thing)
    OPS.smooth(rounds=5)
    rim = np.abs(before[:, :2]).max(axis=1) > 0.999
    moved = np.linalg.norm(_points(thing) - before, axis=1)
    assert moved[rim].max() == 0 and moved[~rim].max() > 0.01


def _asymmetry(thing: bpy.types.Object, axis: int = 0) -> float:
    """How far the farthest mirrored vertex is from any vertex; local."""
    places = np.array([vertex.co for vertex in thing.data.vertices])
    mirrored = places * np.where(np.arange(3) == axis, -1, 1)
    return max(np.linalg.norm(places - point, axis=1).min() for point in mirrored)


@pytest.mark.parametrize("keep", ["+X", "-X", "+Z", "-Y"])
def test_symmetrise_keeps_the_half_that_it_names(keep):
    thing = _ball(3)
    axis, sign = "XYZ".index(keep[1]), 1 if keep[0] == "+" else -1
    for vertex in thing.data.vertices:
        if vertex.co[axis] * sign > 0.3:
            vertex.co[axis] *= 2
    OPS.symmetrise(keep=keep)
    assert _asymmetry(thing, axis) < 1e-5
    assert np.isclose(np.ptp(_points(thing)[:, axis]), 4.0, atol=0.1)   # the longer half is on both sides
    assert health.mesh_health(thing.data).watertight


def test_cutting_the_base_leaves_a_closed_flat_one_under_any_rotation_and_scale():
    thing = _ball(4)
    thing.rotation_euler, thing.scale, thing.location = (0.7, 0.3, 1.0), (1.0, 2.0, 1.5), (5, 0, 2)
    bpy.context.view_layer.update()
    before = _points(thing)[:, 2]
    OPS.flatten_base(share=0.2)
    after = _points(thing)[:, 2]
    height = before.min() + 0.2 * np.ptp(before)
    assert abs(after.min() - height) < 1e-5 and abs(after.max() - before.max()) < 1e-5
    assert (after < height + 1e-5).sum() > 20
    found = health.mesh_health(thing.data)
    assert found.watertight and not found.turned_edges
    assert _volume(thing) > 0


def test_pressing_the_base_keeps_faces_and_uvs():
    thing = _ball(3)
    count = len(thing.data.polygons)
    OPS.flatten_base(share=0.25, way="PRESS")
    assert len(thing.data.polygons) == count
    assert abs(_points(thing)[:, 2].min() + 0.5) < 1e-6


def test_fill_holes_closes_them_facing_out_and_leaves_the_larger_ones_on_request():
    thing = _ball(3)
    work = bmesh.new()
    work.from_mesh(thing.data)
    work.faces.ensure_lookup_table()
    bmesh.ops.delete(work, geom=[min(work.faces, key=lambda face: face.calc_center_median().z)], context="FACES_ONLY")
    top = max(work.verts, key=lambda vertex: vertex.co.z)
    bmesh.ops.delete(work, geom=[top], context="VERTS")
    work.to_mesh(thing.data)
    work.free()
    assert health.mesh_health(thing.data).open_edges in (8, 9)   # a triangle, and what is around one vertex
    OPS.fill_holes(most_edges=3)
    assert health.mesh_health(thing.data).open_edges in (5, 6)
    OPS.fill_holes()
    found = health.mesh_health(thing.data)
    assert found.watertight and not found.turned_edges and _volume(thing) > 4.0


def test_place_sets_origin_height_and_up_and_applies_rotation_and_scale():
    bpy.ops.mesh.primitive_cube_add(size=2, location=(3, 4, 5))
    thing = bpy.context.object
    thing.scale = (0.5, 3.0, 1.0)
    child = bpy.data.objects.new("Hat", None)
    bpy.context.collection.objects.link(child)
    child.parent, child.location = thing, (0, 0, 2)
    bpy.context.view_layer.update()
    child_place = child.matrix_world.translation.copy()
    OPS.place_mesh(origin="BASE", height=1.2, up="Y")
    bpy.context.view_layer.update()
    assert tuple(thing.scale) == (1, 1, 1) and np.allclose(thing.rotation_euler, 0)
    assert np.allclose(thing.location, (3, 4, 4), atol=1e-5)      # the middle of its base stayed
    places = _points(thing)
    # 1 x 6 x 2 with Y turned up: 6 high becomes 1.2, the others shrink along
    assert np.allclose(np.ptp(places, axis=0), (0.2, 0.4, 1.2), atol=1e-5)
    assert np.allclose(places.min(axis=0), (2.9, 3.8, 4.0), atol=1e-5)
    assert (child.matrix_world.translation - child_place).length < 1e-5
    assert _volume(thing) > 0


def test_place_turns_a_mirrored_mesh_inside_in_again():
    thing = _ball(2)
    thing.scale = (-1, 1, 1)
    bpy.context.view_layer.update()
    OPS.place_mesh(origin="CENTRE")
    assert tuple(thing.scale) == (1, 1, 1) and _volume(thing) > 0


def test_health_counts_what_is_wrong():
    thing = _ball(3)
    assert health.mesh_health(thing.data).sound
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(1, 0, 0))     # half in, half out
    cube = bpy.context.object
    with bpy.context.temp_override(active_object=thing, selected_editable_objects=[thing, cube]):
        bpy.ops.object.join()
    found = health.mesh_health(thing.data)
    assert found.components == 2 and found.watertight and found.self_intersections > 0 and not found.sound
    bpy.ops.mesh.primitive_plane_add()
    plane = health.mesh_health(bpy.context.object.data)
    assert (plane.open_edges, plane.components, plane.watertight) == (4, 1, False)
    cube = bmesh.new()
    bmesh.ops.create_cube(cube)
    cube.faces.ensure_lookup_table()
    cube.faces[0].normal_flip()
    mesh = bpy.data.meshes.new("turned")
    cube.to_mesh(mesh)
    cube.free()
    assert health.mesh_health(mesh).turned_edges == 4 and health.mesh_health(mesh).watertight


def test_components_are_counted_for_many_parts_in_any_order():
    bpy.ops.mesh.primitive_cube_add()
    thing = bpy.context.object
    modifier = thing.modifiers.new("Array", "ARRAY")
    modifier.count, modifier.relative_offset_displace = 37, (1.5, 0, 0)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert health.mesh_health(evaluated.data).components == 37


def test_repair_makes_a_broken_mesh_sound_and_check_tells_it():
    thing = _ball(3)
    work = bmesh.new()
    work.from_mesh(thing.data)
    work.faces.ensure_lookup_table()
    bmesh.ops.delete(work, geom=work.faces[3:5], context="FACES")
    bmesh.ops.split_edges(work, edges=list(work.edges)[100:140])     # points that were one
    work.faces.ensure_lookup_table()
    work.faces[10].normal_flip()
    work.verts.new((0, 0, 9))                                        # a loose point
    bmesh.ops.create_cube(work, size=0.01)                           # a crumb, inside
    work.to_mesh(thing.data)
    work.free()
    OPS.check_mesh()
    line, words, sound = health.remembered_health(thing.data)
    assert "pen (" in line and "Not printable" in words and not sound
    OPS.repair_mesh(drop_small=True, smallest_part=0.01)
    assert health.mesh_health(thing.data).sound and health.mesh_health(thing.data).components == 1
    assert health.remembered_health(thing.data)[1:] == ("Printable.", True)
    assert _points(thing)[:, 2].max() < 1.01 and abs(_volume(thing) - 4.1) < 0.1
    OPS.face_budget(triangles=200)
    assert health.remembered_health(thing.data) is None              # it is another mesh now


def test_shape_keys_are_never_broken_silently():
    thing = _ball(2)
    thing.shape_key_add(name="Basis")
    thing.shape_key_add(name="Smile")
    count = len(thing.data.vertices)
    for operator in (OPS.face_budget, OPS.voxel_remesh, OPS.quad_remesh, OPS.smooth, OPS.symmetrise,
                     OPS.flatten_base, OPS.fill_holes, OPS.repair_mesh):
        with pytest.raises(RuntimeError, match="shape keys"):
            operator(**({"triangles": 50} if operator is OPS.face_budget else {}))
    assert len(thing.data.vertices) == count and len(thing.data.shape_keys.key_blocks) == 2


def test_every_operator_describes_itself_undoes_and_says_when_it_cannot_run():
    for kind in tweak.CLASSES:
        operator = getattr(OPS, kind.bl_idname.split(".")[1])
        rna = operator.get_rna_type()
        assert len(rna.description) > 20 and {"REGISTER", "UNDO"} <= kind.bl_options
        assert all(prop.description for prop in rna.properties if prop.identifier != "rna_type")
        assert not operator.poll()   # nothing is selected
        with pytest.raises(RuntimeError, match="Select a mesh object"):
            operator()


def test_a_tweak_is_one_undo_step():
    thing = _ball(3)
    name, count = thing.name, len(thing.data.polygons)
    bpy.ops.ed.undo_push(message="before")
    OPS.face_budget("EXEC_DEFAULT", True, triangles=100)
    assert len(bpy.data.objects[name].data.polygons) <= 100
    bpy.ops.ed.undo()
    assert len(bpy.data.objects[name].data.polygons) == count


def test_linked_objects_share_the_change():
    thing = _ball(3)
    twin = bpy.data.objects.new("Twin", thing.data)
    bpy.context.collection.objects.link(twin)
    OPS.face_budget(triangles=100)
    assert twin.data == thing.data and len(twin.data.polygons) <= 100
    OPS.place_mesh(origin="BASE", height=3.0)      # a place is an object's own
    assert twin.data != thing.data and np.isclose(np.ptp(_points(twin)[:, 2]), 2.0, atol=0.1)


def test_panels_say_what_to_choose_first():
    from bl_ext.user_default.slipcast.addon.panels.render_views import why_not_yet
    assert "folder" in why_not_yet(bpy.context)
    bpy.context.scene.slipcast_views.folder = "/somewhere"
    assert "Select an object" in why_not_yet(bpy.context)
    _ball(1)
    assert why_not_yet(bpy.context) == "" and tweak.why_not(bpy.context) == ""
