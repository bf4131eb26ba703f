"""Views rendered from the scene: pixels, depth, normals and cameras agree with the geometry; the scene is unchanged."""
from __future__ import annotations

import json
import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon.scene import orbit, targets
from bl_ext.user_default.slipcast.addon.scene.exr import exr_bytes, read_exr
from bl_ext.user_default.slipcast.bridge.errors import BadImage, BadOutput, BadSettings
from bl_ext.user_default.slipcast.bridge.folders import collect_view_folder
from mathutils import Vector

SMALL = targets.TargetSettings(count=4, resolution=64, samples=1)


def _suzanne() -> bpy.types.Object:
    """With a subdivision that only modifiers give, off the world's origin, beside a wall that must not be seen."""
    bpy.ops.mesh.primitive_plane_add(size=50, location=(0, 0, -1.2))
    bpy.ops.mesh.primitive_monkey_add(location=(3.0, -1.0, 0.5), rotation=(0.3, 0.2, 0.9))
    made = bpy.context.object
    made.modifiers.new("Subdivision", "SUBSURF").render_levels = 1
    made.modifiers["Subdivision"].levels = 1
    return made


def _render(subject, folder: Path, settings=SMALL) -> list[targets.TargetProgress]:
    return list(targets.render_targets(bpy.context.scene, bpy.context.view_layer, subject, folder, settings))


def _frames(folder: Path) -> list[dict]:
    return json.loads((folder / "transforms.json").read_text())["frames"]


def _alpha(path: Path) -> np.ndarray:
    image = bpy.data.images.load(str(path))
    try:
        width, height = image.size
        return np.array(image.pixels[:], np.float32).reshape(height, width, 4)[::-1, :, 3]
    finally:
        bpy.data.images.remove(image)


def _exr(path: Path, names: str) -> np.ndarray:
    """What Blender itself reads in a file of ours, row 0 on top."""
    image = bpy.data.images.load(str(path))
    try:
        width, height = image.size
        return np.array(image.pixels[:], np.float32).reshape(height, width, 4)[::-1, :, :len(names)]
    finally:
        bpy.data.images.remove(image)


def _ray(frame: dict, column: int, row: int) -> tuple[Vector, Vector]:
    """(camera's place, direction whose component along the camera's axis is 1) through the middle of a pixel."""
    matrix = np.array(frame["transform_matrix"])
    local = np.array([(column + 0.5 - frame["cx"]) / frame["fl_x"], -(row + 0.5 - frame["cy"]) / frame["fl_y"], -1.0])
    return Vector(matrix[:3, 3]), Vector(matrix[:3, :3] @ local)


def _cast(thing: bpy.types.Object, frame: dict, column: int, row: int):
    """(depth along the axis, world normal of the flat face) or None: what the evaluated mesh has in that pixel."""
    place, direction = _ray(frame, column, row)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    back = thing.matrix_world.inverted()
    hit, point, normal, _ = evaluated.ray_cast(back @ place, (back.to_3x3() @ direction).normalized())
    if not hit:
        return None
    world = thing.matrix_world @ point
    return (world - place).dot(direction) / direction.length_squared, \
        (thing.matrix_world.to_3x3().inverted().transposed() @ normal).normalized()


def test_alpha_depth_and_normals_are_those_of_the_evaluated_mesh_in_every_pixel(tmp_path):
    thing = _suzanne()
    _render(thing, tmp_path)
    off, alike = [], []
    for frame in _frames(tmp_path):
        depth = _exr(tmp_path / frame["depth_path"], "Y")[..., 0]
        normals = _exr(tmp_path / frame["normal_path"], "XYZ")
        disagree = 0
        for row in range(0, frame["h"], 3):
            for column in range(0, frame["w"], 3):
                found = _cast(thing, frame, column, row)
                disagree += (found is not None) != bool(depth[row, column] < 1e9)
                if found is not None and depth[row, column] < 1e9:
                    off.append(abs(depth[row, column] - found[0]))
                    alike.append(np.dot(normals[row, column], found[1]))
        assert disagree <= 2   # a ray that grazes the outline
        _check_alpha(_alpha(tmp_path / frame["file_path"]), depth < 1e9)
    assert len(off) > 300
    # the narrowest pixel filter moves a ray by up to .005 of a pixel (a pixel is .04 wide there): told on steep faces,
    # and where it falls beside an edge on the next face
    assert np.median(off) < 1e-4 and np.quantile(off, 0.98) < 2e-3 and max(off) < 0.05
    assert np.median(alike) > 0.999 and np.quantile(alike, 0.03) > 0.98 and min(alike) > 0.7


def _check_alpha(alpha: np.ndarray, inside: np.ndarray) -> None:
    """Alpha is mixed over the pixel, so what is two pixels away from the outline is told."""
    deep, far = inside.copy(), ~inside
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            deep &= np.roll(inside, step, axis)
            far &= ~np.roll(inside, step, axis)
    assert alpha[deep].min() == 1.0 and alpha[far].max() == 0.0
    assert deep.sum() > 200


def test_the_folder_is_one_that_slipcast_reads_and_progress_counts_the_views(tmp_path):
    thing = _suzanne()
    told = _render(thing, tmp_path / "new" / "views")
    assert [at.done for at in told] == [0, 1, 2, 3, 4] and {at.total for at in told} == {4}
    labels = collect_view_folder(tmp_path / "new" / "views")
    assert {f"images/{number:03d}.png" for number in range(4)} <= set(labels)


def test_a_circle_of_cameras_frames_the_whole_object(tmp_path):
    thing = _suzanne()
    _render(thing, tmp_path)
    for frame in _frames(tmp_path):
        alpha = _alpha(tmp_path / frame["file_path"])
        assert not alpha[[0, -1]].any() and not alpha[:, [0, -1]].any()
        rows, columns = np.nonzero(alpha)
        assert max(np.ptp(rows), np.ptp(columns)) > 0.55 * 64   # and it is not lost in the picture
        assert np.array(frame["transform_matrix"])[2, 1] > 0    # upright


def test_what_is_hidden_by_its_eye_symbol_is_rendered_and_stays_hidden(tmp_path):
    thing = _suzanne()
    thing.hide_set(True)
    _render(thing, tmp_path)
    assert all(_alpha(tmp_path / frame["file_path"]).any() for frame in _frames(tmp_path))
    assert thing.hide_get()


def test_nothing_of_the_scene_changes(tmp_path):
    thing = _suzanne()
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.filepath = "//somewhere"
    scene.render.resolution_x, scene.render.resolution_percentage = 321, 77
    before = _state()
    _render(thing, tmp_path)
    assert _state() == before


def _state() -> dict:
    """Every setting of the scene that a render could touch, and the names of all that is in the file."""
    scene = bpy.context.scene
    held = {}
    for owner in (scene.render, scene.render.image_settings, scene.view_settings, scene.display_settings, scene.cycles,
                  scene.eevee, scene.view_layers[0]):
        for prop in owner.bl_rna.properties:
            if prop.type in ("BOOLEAN", "INT", "FLOAT", "ENUM", "STRING") and prop.identifier != "rna_type":
                value = getattr(owner, prop.identifier)
                held[f"{owner.bl_rna.identifier}.{prop.identifier}"] = value if isinstance(value, (str, int, float)) \
                    else str(list(value))
    names = {kind: sorted(thing.name for thing in getattr(bpy.data, kind))
             for kind in ("scenes", "objects", "cameras", "meshes", "collections", "worlds", "materials")}
    shown = {thing.name: (thing.hide_render, thing.hide_get()) for thing in scene.objects}
    return held | names | {"shown": shown, "camera": scene.camera, "active": bpy.context.object.name}


@pytest.mark.parametrize("end", ["cancel", "error"])
def test_cancel_and_error_leave_no_files_and_the_scene_as_it_was(tmp_path, end):
    thing = _suzanne()
    before = _state()
    steps = targets.render_targets(bpy.context.scene, bpy.context.view_layer, thing, tmp_path, SMALL)
    assert [next(steps).done for _ in range(2)] == [0, 1]     # the first before anything is rendered: it is told
    if end == "cancel":
        steps.close()
    else:
        with pytest.raises(RuntimeError, match="no more"):
            steps.throw(RuntimeError("no more"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert _state() == before


def test_holdouts_cut_and_other_objects_do_not(tmp_path):
    thing = _suzanne()
    settings = targets.TargetSettings(source="CAMERAS", resolution=64, samples=1)
    data = bpy.data.cameras.new("Front")
    camera = bpy.data.objects.new("Front", data)
    bpy.context.collection.objects.link(camera)
    camera.matrix_world = orbit.look_at_matrix(np.array((3.0, -9.0, 0.5)), np.array((3.0, -1.0, 0.5))).T.tolist()
    bpy.ops.mesh.primitive_cube_add(size=6, location=(3.0, -5.0, 3.5))   # before its upper half
    bpy.context.object.scale[1] = 0.1
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 100
    _render(thing, tmp_path / "plain", settings)
    bpy.context.object.is_holdout = True
    _render(thing, tmp_path / "cut", settings)
    plain, cut = (_alpha(tmp_path / name / "images" / "000.png") for name in ("plain", "cut"))
    assert plain[:29].any() and not cut[:29].any()   # the holdout ends a little above the middle row
    assert np.array_equal(plain[40:], cut[40:])


def test_instances_and_collections_are_seen_and_framed(tmp_path):
    bpy.ops.mesh.primitive_cube_add(size=1)
    cube = bpy.context.object
    hidden = bpy.data.collections.new("Parts")
    hidden.objects.link(cube)
    bpy.context.scene.collection.objects.unlink(cube)
    made = bpy.data.collections.new("Made")
    bpy.context.scene.collection.children.link(made)
    for x in (-4.0, 4.0):
        empty = bpy.data.objects.new("Instance", None)
        empty.instance_type, empty.instance_collection, empty.location = "COLLECTION", hidden, (x, 0, 0)
        made.objects.link(empty)
    _render(made, tmp_path)
    centre = np.mean([np.array(frame["transform_matrix"])[:2, 3] for frame in _frames(tmp_path)], axis=0)
    for frame in _frames(tmp_path):
        place = np.array(frame["transform_matrix"])[:3, 3]
        assert np.linalg.norm(place) > 4.5 / math.tan(0.35)   # far enough for both (half the field of view: .346)
    assert np.isfinite(centre).all()
    assert sum(_alpha(tmp_path / frame["file_path"]).any() for frame in _frames(tmp_path)) == 4


def test_the_operator_works_from_python_and_says_what_is_wrong(tmp_path):
    thing = _suzanne()
    bpy.context.view_layer.objects.active = thing
    assert bpy.ops.slipcast.render_views(folder=str(tmp_path / "a"), count=3, resolution=32, engine="WORKBENCH") \
        == {"FINISHED"}
    assert len(_frames(tmp_path / "a")) == 3 and _alpha(tmp_path / "a" / "images" / "000.png").any()
    with pytest.raises(RuntimeError, match="No folder is chosen"):
        bpy.ops.slipcast.render_views(folder="")
    with pytest.raises(RuntimeError, match="no collection Nowhere"):
        bpy.ops.slipcast.render_views(folder=str(tmp_path / "b"), collection="Nowhere")
    thing.hide_render = True
    with pytest.raises(RuntimeError, match="seen by renders"):
        bpy.ops.slipcast.render_views(folder=str(tmp_path / "b"))


def test_without_cycles_it_says_how_to_get_it(tmp_path):
    thing = _suzanne()
    bpy.ops.preferences.addon_disable(module="cycles")
    try:
        with pytest.raises(BadSettings, match="Switch on Cycles"):
            _render(thing, tmp_path)
    finally:
        bpy.ops.preferences.addon_enable(module="cycles")


def test_another_programs_views_are_not_written_over(tmp_path):
    (tmp_path / "transforms.json").write_text('{"frames": []}')
    with pytest.raises(BadOutput):
        _render(_suzanne(), tmp_path)
    assert (tmp_path / "transforms.json").read_text() == '{"frames": []}'


def test_orbit_directions_spread_evenly_between_the_two_elevations():
    for count in (3, 16, 64):
        found = orbit.orbit_directions(count, -30, 60)
        assert np.allclose(np.linalg.norm(found, axis=1), 1)
        assert found[:, 2].min() > -0.5 and found[:, 2].max() < math.sin(math.pi / 3)
        nearest = np.degrees(np.arccos(np.clip((found @ found.T) - 2 * np.eye(count), -1, 1).max(1)))
        # area of the zone / count is the area of each one's disc; a lattice reaches most of that distance
        disc = math.degrees(math.sqrt(4 * math.pi * (math.sin(math.pi / 3) + 0.5) / 2 / count / math.pi))
        assert nearest.min() > 0.7 * disc
    with pytest.raises(BadSettings):
        orbit.orbit_directions(2)


def test_exr_files_of_odd_sizes_are_what_blender_reads(tmp_path):
    values = np.random.default_rng(1).normal(size=(37, 5)).astype(np.float32)
    (tmp_path / "a.exr").write_bytes(exr_bytes({"R": values, "G": -values, "B": values * 2}))
    assert np.array_equal(_exr(tmp_path / "a.exr", "RGB"), np.stack([values, -values, values * 2], -1))
    with pytest.raises(BadImage):
        read_exr(tmp_path / "a.exr")   # compressed: only Blender's own, which are not, are read
