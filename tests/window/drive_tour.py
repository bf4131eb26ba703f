"""Runs inside a Blender with a window (test_tour.py starts it): the whole way of an artist, with the real engine.

    blender --factory-startup --enable-event-simulate ... --python drive_tour.py -- ZIP OUT

OUT holds a view folder "skull". Writes OUT/report.json, what was found at each step, and OUT/<name>.png, the pictures
of the documentation.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

sys.path.insert(0, str(Path(__file__).parent))
import hands

JOB_LIMIT_S = 900.0     # on a computer that is busy with other things
TARGET = "Target"
PHOTO = "02.jpg"        # from the front
BUDGET = 1500           # triangles, after the decimation
ZIP, OUT = (Path(word) for word in sys.argv[sys.argv.index("--") + 1:])
report: dict[str, Any] = {}


def steps() -> Iterator[None]:
    pump = hands.install(ZIP)
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.ops.wm.save_as_mainfile(filepath=str(OUT / "tour.blend"))
    yield from hands.open_tab()
    report["tab"] = hands.view3d()["region"].active_panel_category
    asked = bpy.context.scene.slipcast
    asked.folder, asked.quality, asked.texture_px, asked.face_budget = "//skull", "draft", "512", 8000
    asked.target_size, asked.even_light = 4.0, False
    hands.view3d()["area"].spaces.active.shading.color_type = "TEXTURE"
    hands.view3d()["area"].spaces.active.shading.light = "STUDIO"
    yield from hands.sidebar_shot(OUT / "generate.png", 500)
    yield from generate(pump)
    yield from cancel(pump)
    yield from refine(pump)
    yield from tweak()
    yield from bake()
    yield from keyboard()
    yield from picture(pump)
    yield from others(pump)
    yield from mask()


# --- generate
def generate(pump: Any) -> Iterator[None]:
    push("Before")
    before = names()
    session = pump.session()
    button = yield from hands.find_button("slipcast.generate")
    report["timer_before"] = bpy.app.timers.is_registered(pump._tick)
    yield from hands.click(button)
    yield from hands.wait(lambda: session.job is not None, "a job by the click")
    yield from watch(pump, before)
    report["generate_error"] = str(session.error or "")
    report["made"] = sorted(names() - before)
    yield from hands.pause(0.4)
    report["timer_after"] = bpy.app.timers.is_registered(pump._tick)
    report["longest_side"] = max(bpy.data.objects[report["made"][0]].dimensions)
    yield from look_at(report["made"][0])
    yield from hands.viewport_shot(OUT / "done.png")
    report["after_undo"], report["after_redo"] = yield from undo_and_redo(lambda: sorted(names() - before))


def watch(pump: Any, before: set[str]) -> Iterator[None]:
    """Until the job has ended: how long Blender was busy with others, a second window, the live mesh."""
    session, gaps, seen = pump.session(), [], False
    last, deadline = time.perf_counter(), time.perf_counter() + JOB_LIMIT_S
    while session.job is not None:
        yield
        now = time.perf_counter()
        gaps.append(now - last)
        if now > deadline:
            raise TimeoutError("the end of the job")
        live = pump.live_mesh()
        if not seen and live.has_mesh and names() - before:
            seen = True
            yield from live_mesh(live, before)
        last = time.perf_counter()
    report["gaps"] = gaps


def live_mesh(live: Any, before: set[str]) -> Iterator[None]:
    (name,) = names() - before
    report["live_object"], report["live_faces"] = name, live.faces
    yield from look_at(name)
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.wm.window_new()
    yield from hands.redraw()
    report["windows"] = len(bpy.context.window_manager.windows)
    report["live_in_both"] = all(name in window.view_layer.objects for window in bpy.context.window_manager.windows)
    with bpy.context.temp_override(window=hands.window(1)):
        bpy.ops.wm.window_close()
    yield from hands.redraw()
    yield from hands.viewport_shot(OUT / "live.png")


def cancel(pump: Any) -> Iterator[None]:
    before, session = names(), pump.session()
    yield from hands.press_button("slipcast.generate")
    yield from hands.wait(lambda: session.job is not None and session.job.progress is not None, "progress", 120.0)
    button = yield from hands.find_button("slipcast.cancel")
    asked_s = time.perf_counter()
    yield from hands.click(button)
    yield from hands.wait(lambda: session.job is None, "the cancel")
    report["cancel_s"] = time.perf_counter() - asked_s
    report["after_cancel"] = sorted(names() - before)
    report["cancel_error"] = type(session.error).__name__


# --- refine
def refine(pump: Any) -> Iterator[None]:
    """The result is fitted to renders of a changed copy of it."""
    thing = bpy.data.objects[report["made"][0]]
    target = bpy.data.objects.new(TARGET, thing.data.copy())
    bpy.context.collection.objects.link(target)
    target.matrix_world = thing.matrix_world
    taper = target.modifiers.new("Taper", "SIMPLE_DEFORM")
    taper.deform_method, taper.deform_axis, taper.factor = "TAPER", "Z", 0.5
    target.hide_set(True)
    activate(thing)
    asked = bpy.context.scene.slipcast_refine
    asked.targets, asked.subject, asked.count, asked.resolution, asked.samples = "ORBIT", TARGET, 10, 192, 4
    asked.quality, asked.keep_topology, asked.texture_px = "draft", True, "512"
    push("Before Refine")
    goal, start = BVHTree.FromObject(target, bpy.context.evaluated_depsgraph_get()), points(thing)
    report["refine_apart_before"] = apart(start, goal)
    yield from tab().show("SLIPCAST_PT_refine")
    yield from hands.sidebar_shot(OUT / "refine.png", 540)
    session = pump.session()
    yield from hands.press_button("slipcast.refine")
    yield from hands.wait(lambda: session.job is not None, "the renders", 240.0)
    yield from hands.wait(lambda: session.job is None, "the end of the refining", JOB_LIMIT_S)
    report["refine_error"] = str(session.error or "")
    yield from hands.viewport_shot(OUT / "refined.png")
    now = bpy.data.objects[report["made"][0]]
    report["refine_apart_after"] = apart(points(now), goal)
    report["refine_same_faces"] = len(now.data.polygons) == len(target.data.polygons)
    after_undo, after_redo = yield from undo_and_redo(
        lambda: float(np.abs(points(bpy.data.objects[report["made"][0]]) - start).max()))
    report["refine_after_undo"], report["refine_after_redo"] = after_undo, after_redo


# --- tweak and bake
def tweak() -> Iterator[None]:
    thing = bpy.data.objects[report["made"][0]]
    activate(thing)
    yield from tab().show("SLIPCAST_PT_tweak")
    yield from hands.press_button("slipcast.check_mesh")
    report["health"] = thing.data["slipcast_health"]["line"]
    yield from hands.sidebar_shot(OUT / "tweak.png", 560)
    report["faces_before"] = len(thing.data.polygons)
    with bpy.context.temp_override(**hands.view3d()):
        bpy.ops.slipcast.face_budget("EXEC_DEFAULT", True, triangles=BUDGET)
    report["faces_after"], report["uvs_after"] = len(thing.data.polygons), len(thing.data.uv_layers)
    counts = lambda: len(bpy.data.objects[report["made"][0]].data.polygons)  # noqa: E731
    report["faces_after_undo"], report["faces_after_redo"] = yield from undo_and_redo(counts)


def bake() -> Iterator[None]:
    thing = bpy.data.objects[report["made"][0]]
    activate(thing)
    wore = material_of(thing)
    asked = bpy.context.scene.slipcast_rebake
    asked.source, asked.texture_px, asked.normal = "ORIGINAL", "512", True
    yield from tab().show("SLIPCAST_PT_rebake")
    yield from hands.sidebar_shot(OUT / "bake.png", 450)
    images = set(bpy.data.images.keys())
    yield from hands.press_button("slipcast.rebake")
    yield from hands.wait(lambda: material_of(bpy.data.objects[report["made"][0]]) != wore, "the bake", 180.0)
    yield from hands.pause(0.5)
    made = [bpy.data.images[name] for name in sorted(set(bpy.data.images.keys()) - images)]
    report["baked"] = {image.name: [list(image.size), *spread(image)] for image in made}
    report["original_colours"] = spread(color_image(bpy.data.materials[wore]))
    yield from look_at(report["made"][0])
    yield from hands.viewport_shot(OUT / "baked.png")
    now = material_of(bpy.data.objects[report["made"][0]])
    worn = lambda: material_of(bpy.data.objects[report["made"][0]])  # noqa: E731
    after_undo, after_redo = yield from undo_and_redo(worn)
    report["bake_undone"], report["bake_redone"] = after_undo == wore, after_redo == now


# --- by keyboard alone
def keyboard() -> Iterator[None]:
    """F3, the first letters, Enter: the mesh is smoothed."""
    thing = bpy.data.objects[report["made"][0]]
    activate(thing)
    before = points(thing)
    place = hands.view3d()["area"]
    at = (place.x + place.width // 3, place.y + place.height // 2)
    hands.point(at)
    yield from hands.pause(0.3)
    yield from hands.press("F3", at)
    yield from hands.pause(0.8)
    yield from hands.write("smooth slip", at)
    yield from hands.pause(0.8)
    yield from hands.viewport_shot(OUT / "keyboard.png")
    yield from hands.press("RET", at)
    yield from hands.pause(0.8)
    report["keyboard_moved"] = float(np.abs(points(bpy.data.objects[report["made"][0]]) - before).max())


def picture(pump: Any) -> Iterator[None]:
    """One photo, by the model that is always there."""
    before, session, asked = names(), pump.session(), bpy.context.scene.slipcast_picture
    asked.filepath, asked.model = f"//skull/images/{PHOTO}", "silhouette"
    asked.texture_px, asked.face_budget = "512", 2000
    yield from tab().show("SLIPCAST_PT_picture")
    yield from hands.press_button("slipcast.generate_from_picture")
    yield from hands.wait(lambda: session.job is not None, "a job by the click")
    yield from hands.wait(lambda: session.job is None, "the end of the job", JOB_LIMIT_S)
    report["picture_error"], report["picture_made"] = str(session.error or ""), sorted(names() - before)
    yield from hands.sidebar_shot(OUT / "picture.png", 640)
    report["picture_after_undo"], _ = yield from undo_and_redo(lambda: sorted(names() - before))


def others(pump: Any) -> Iterator[None]:
    """The panels that were not needed on the way."""
    yield from tab().show("SLIPCAST_PT_history")
    yield from hands.press_button("slipcast.refresh_history")
    listed = bpy.context.window_manager.slipcast_history
    yield from hands.wait(lambda: any(line.icon for line in listed.jobs), "a picture in the list")
    yield from hands.wait(lambda: not pump.session().busy, "the rest of the pictures")
    report["results"] = [[line.label, line.state, line.icon] for line in listed.jobs]
    yield from hands.sidebar_shot(OUT / "results.png", 700)
    yield from tab().show("SLIPCAST_PT_models")
    yield from hands.press_button("slipcast.refresh_models")
    yield from hands.wait(lambda: pump.session().models.loaded, "the models")
    report["models"] = [model.name for model in pump.session().models.models]
    yield from hands.sidebar_shot(OUT / "models.png", 700)
    yield from tab().show("SLIPCAST_PT_render_views")
    yield from hands.sidebar_shot(OUT / "views.png", 560)


def mask() -> Iterator[None]:
    """The mask of a photo is painted with one stroke and saved."""
    bpy.context.scene.slipcast_masks.view = f"images/{PHOTO}"
    yield from tab().show("SLIPCAST_PT_masks")
    yield from hands.sidebar_shot(OUT / "masks.png", 430)
    yield from hands.press_button("slipcast.paint_mask")
    yield from hands.wait(lambda: any(area.type == "IMAGE_EDITOR" for area in hands.window().screen.areas), "an editor")
    place = hands.view3d("IMAGE_EDITOR")
    place["area"].spaces.active.show_region_ui = True
    yield from hands.pause(0.8)
    place["region"].active_panel_category = "Slipcast"
    image = place["area"].spaces.active.image
    before = mean_alpha(image)
    with bpy.context.temp_override(**hands.view3d("IMAGE_EDITOR")):
        bpy.ops.slipcast.mask_brush(way="BACKGROUND")
    region = hands.main_region(place)
    x, y = region.x + region.width // 3, region.y + region.height // 2
    yield from hands.drag((x, y), (x + 40, y + 30))
    report["mask_before"], report["mask_after"] = before, mean_alpha(image)
    viewport = hands.view3d()["area"]
    hands.point((viewport.x + 30, viewport.y + 30))     # no tooltip, no brush in the picture
    yield from hands.viewport_shot(OUT / "paint.png", 32, "IMAGE_EDITOR")
    with bpy.context.temp_override(**hands.view3d("IMAGE_EDITOR")):
        bpy.ops.slipcast.save_mask()
    report["mask_files"] = [path.name for path in (OUT / "skull" / "slipcast_masks").rglob("*.*")]


# --- of the scene
def tab(held: list[Any] = []) -> Any:  # noqa: B006  (the one tab of this run)
    if not held:
        held.append(hands.Tab())
    return held[0]


def names() -> set[str]:
    return set(bpy.data.objects.keys())


def push(message: str) -> None:
    with bpy.context.temp_override(window=hands.window()):
        bpy.ops.ed.undo_push(message=message)


def undo_and_redo(look: Any) -> Generator[None, None, tuple[Any, Any]]:
    """What `look` tells after one undo, and after the redo of it."""
    found = []
    for way in (bpy.ops.ed.undo, bpy.ops.ed.redo):
        with bpy.context.temp_override(**hands.view3d()):
            way()
        yield from hands.pause(0.3)
        found.append(look())
    return found[0], found[1]


def activate(thing: bpy.types.Object) -> None:
    for other in bpy.context.view_layer.objects:
        other.select_set(other == thing)
    bpy.context.view_layer.objects.active = thing


def look_at(name: str) -> Iterator[None]:
    """Turn the viewport to an object, free of the sidebar."""
    place = hands.view3d()
    place["region"] = hands.main_region(place)
    activate(bpy.data.objects[name])
    with bpy.context.temp_override(**place):
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_orbit(angle=0.35, type="ORBITRIGHT")
        bpy.ops.view3d.view_selected()
    bpy.data.objects[name].select_set(False)        # its outline would hide it
    yield from hands.pause(0.5)


def points(thing: bpy.types.Object) -> np.ndarray:
    """(V, 3) float32, in the object's frame."""
    held = np.empty(3 * len(thing.data.vertices), np.float32)
    thing.data.vertices.foreach_get("co", held)
    return held.reshape(-1, 3)


def apart(some: np.ndarray, surface: BVHTree) -> float:
    """Mean distance of points, (N, 3) float, from a surface in the same frame."""
    return float(np.mean([surface.find_nearest(each)[3] for each in some]))


def material_of(thing: bpy.types.Object) -> str:
    return thing.active_material.name if thing.active_material else ""


def color_image(material: bpy.types.Material) -> bpy.types.Image:
    return next(node.image for node in material.node_tree.nodes
                if node.type == "TEX_IMAGE" and node.image.colorspace_settings.name == "sRGB")


def mean_alpha(image: bpy.types.Image) -> float:
    held = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(held)
    return float(held[3::4].mean())


def spread(image: bpy.types.Image) -> list[list[float]]:
    """Mean and standard deviation of each colour over the texels."""
    held = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(held)
    rgb = held.reshape(-1, image.channels)[:, :3]
    return [rgb.mean(0).round(3).tolist(), rgb.std(0).round(3).tolist()]


hands.run(steps(), report, OUT / "report.json")
