"""The part of the demo that runs in Blender (demo.py starts it). Uses the add-on as an artist does: zip and operator.

    python examples/demo_in_blender.py ZIP FOLDER PHOTO QUALITY OUT
"""
from __future__ import annotations

import json
import math
import sys
import time
from importlib import import_module
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Euler

ADDON = "bl_ext.user_default.slipcast"
SAMPLES = 16
CAMERA_PERCENT = 75
CLAY = (0.5, 0.48, 0.46, 1.0)


def main(zip_path: Path, folder: Path, photo: str, quality: str, out: Path) -> None:
    rows: list[tuple[str, float]] = []
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        rows.append((name, time.perf_counter() - clock))
        clock = time.perf_counter()

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    install(zip_path)
    lap("install the zip in Blender, enable it")

    try:
        bpy.ops.slipcast.generate(folder=str(folder), quality=quality, import_cameras=True)
    except RuntimeError as error:       # an operator's report; it says what happened and what to do
        raise SystemExit(f"demo: {error}") from error
    outcome = import_module(f"{ADDON}.addon.pump").session().outcome
    rows += [(f"engine: {name}", seconds) for name, seconds in outcome.stages]
    rows.append(("start engine, send photos, fetch, place",
                 time.perf_counter() - clock - sum(seconds for _, seconds in outcome.stages)))
    clock = time.perf_counter()

    made = bpy.data.objects[outcome.object_name]
    cameras = [each for each in made.children if each.type == "CAMERA"]
    set_the_scene(made, next(each for each in cameras if photo in (each.name, f"images/{each.name}")), folder / photo)
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "demo.blend"), compress=True, check_existing=False)
    lap("save out/demo.blend")

    render(out / "demo-textured.png")
    bpy.context.view_layer.material_override = clay()
    set_light(sky=0.12, sun=3.2)
    render(out / "demo-clay.png")
    lap("render two pictures with Cycles")

    report = {"rows": rows, "vertices": outcome.vertices, "faces": outcome.faces, "device": outcome.device,
              "cameras": len(cameras), "warnings": list(outcome.warnings), "crop": crop_box(made)}
    (out / "demo.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


def install(zip_path: Path) -> None:
    """Install and enable the zip, with the pyzmq that it carries (not the one this Python may have)."""
    bpy.ops.extensions.package_install_files(filepath=str(zip_path), repo="user_default", enable_on_install=True,
                                             overwrite=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    wheels = Path(bpy.utils.user_resource("EXTENSIONS")) / ".local" / "lib" / version / "site-packages"
    # Blender puts that folder last, which is right in Blender, where no other pyzmq is.
    sys.path.insert(0, str(wheels))
    used = Path(import_module("zmq").__file__ or "")
    if not used.is_relative_to(wheels):
        raise RuntimeError(f"The add-on uses the pyzmq of {used.parent}, not the one that the zip brought to {wheels}.")


def set_the_scene(made: bpy.types.Object, camera: bpy.types.Object, photo: Path) -> None:
    """Look through `camera`, at the size of `photo`; one sun from the upper left of that camera, in a grey world."""
    scene = bpy.context.scene
    scene.camera = camera
    image = bpy.data.images.load(str(photo))
    scene.render.resolution_x, scene.render.resolution_y = image.size
    bpy.data.images.remove(image)
    scene.render.resolution_percentage = CAMERA_PERCENT
    scene.render.film_transparent = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False
    scene.view_settings.view_transform = "Standard"
    scene.world = scene.world or bpy.data.worlds.new("World")
    light = bpy.data.lights.new("Sun", "SUN")
    light.angle = math.radians(15)
    sun = bpy.data.objects.new("Sun", light)
    scene.collection.objects.link(sun)
    upper_left = Euler((math.radians(-35), math.radians(-40), 0)).to_matrix().to_4x4()
    sun.rotation_euler = (camera.matrix_world @ upper_left).to_euler()
    set_light(sky=0.7, sun=1.6)


def set_light(sky: float, sun: float) -> None:
    """sky: grey of the world, linear. sun: strength of the sun lamp."""
    bpy.context.scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (sky, sky, sky, 1.0)
    bpy.data.lights["Sun"].energy = sun


def clay() -> bpy.types.Material:
    material = bpy.data.materials.new("Clay")
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = CLAY
    shader.inputs["Roughness"].default_value = 0.8
    return material


def render(path: Path) -> None:
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def crop_box(made: bpy.types.Object) -> list[float]:
    """Left, top, right, bottom of the object in the picture with a margin, as fractions of its width and height."""
    scene = bpy.context.scene
    seen = np.array([world_to_camera_view(scene, scene.camera, made.matrix_world @ vertex.co)[:2]
                     for vertex in made.data.vertices])
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = 0.06 * (high - low)
    low, high = np.clip(low - margin, 0, 1), np.clip(high + margin, 0, 1)
    return [float(low[0]), float(1 - high[1]), float(high[0]), float(1 - low[1])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], Path(sys.argv[5]))
