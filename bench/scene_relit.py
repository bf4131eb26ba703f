"""How a result looks beside what it was made of, both rendered by Blender in a lamp's light.

Even light shows colours alone; a lamp shows the relief, too, and whether the normal map holds what simplifying took.
"""
from __future__ import annotations

from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Matrix

from ..addon.scene.images import pack_png
from ..addon.scene.materials import textured_material
from ..addon.scene.meshes import build_mesh
from ..addon.scene.orbit import look_at_matrix, orbit_directions, orbit_distance
from ..addon.scene.targets import TargetSettings, render_targets
from ..engine.pipeline.png import png_bytes
from ..engine.pipeline.types import TexturedMesh

VIEWS, ELEVATIONS = 6, (-28.0, 62.0)
LENS, SENSOR = 50.0, 36.0        # millimetres
SAMPLES = 48
MATTE = {"Roughness": 1.0, "Specular IOR Level": 0.0}    # as what it is compared with: gloss is not found


def light_scene(bounds: np.ndarray) -> None:
    """A sun, a dim sky, and cameras all around. bounds: (2, 3) of the subject, world."""
    scene = bpy.context.scene
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle, sun.rotation_euler = 2.0, 0.1, (0.7, 0.2, 0.9)
    scene.collection.objects.link(sun)
    scene.world = bpy.data.worlds.new("Sky")
    if not scene.world.node_tree:
        scene.world.use_nodes = True
    sky = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
    sky.inputs["Color"].default_value, sky.inputs["Strength"].default_value = (1, 1, 1, 1), 0.3
    middle, radius = bounds.mean(0), float(np.linalg.norm(np.ptp(bounds, axis=0))) / 2
    for number, way in enumerate(orbit_directions(VIEWS, *ELEVATIONS)):
        data = bpy.data.cameras.new(f"relit {number}")
        data.lens, data.sensor_width = LENS, SENSOR
        camera = bpy.data.objects.new(data.name, data)
        scene.collection.objects.link(camera)
        camera.matrix_world = Matrix(look_at_matrix(middle + way * orbit_distance(radius, LENS, SENSOR), middle))
    bpy.context.view_layer.update()


def make_object(textured: TexturedMesh, name: str, with_relief: bool) -> bpy.types.Object:
    """The result as the add-on builds it, matte, with its normal map or without it."""
    mesh = build_mesh(bpy.data.meshes, name, textured.mesh.vertices.astype(np.float32), textured.mesh.faces,
                      textured.corner_uvs)
    colour = pack_png(bpy.data.images, name, png_bytes(textured.base_color))
    maps = [colour]
    if with_relief and textured.normal_map is not None:
        maps.append(pack_png(bpy.data.images, f"{name} relief", png_bytes(textured.normal_map)))
        maps[-1].colorspace_settings.name = "Non-Color"
    material = textured_material(bpy.data, name, *maps)
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    for knob, value in MATTE.items():
        shader.inputs[knob].default_value = value
    mesh.materials.append(material)
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    return made


def render_lit(subject: bpy.types.Object, folder: Path, px: int) -> list[np.ndarray]:
    """(px, px, 4) uint8 of each camera of the scene; taken from the folder when it has them."""
    if not (folder / "transforms.json").exists():
        render = bpy.context.scene.render
        render.resolution_x = render.resolution_y = px
        settings = TargetSettings(source="CAMERAS", resolution=px, samples=SAMPLES, lighting="SCENE")
        for _ in render_targets(bpy.context.scene, bpy.context.view_layer, subject, folder, settings):
            pass
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((folder / "images").iterdir())]


def psnr_db(truth: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Over the pixels of the truth; where the other is missing it is black."""
    square = [np.mean(np.square(_over_black(one)[one[..., 3] > 127] - _over_black(other)[one[..., 3] > 127]))
              for one, other in zip(truth, found, strict=True)]
    return float(-10 * np.log10(max(np.mean(square), 1e-10)))


def _over_black(image: np.ndarray) -> np.ndarray:
    return image[..., :3].astype(np.float64) / 255 * (image[..., 3:] > 127)


def relit(subject: bpy.types.Object, textured: TexturedMesh, bounds: np.ndarray, folder: Path,
          kept: Path, px: int) -> dict[str, float]:
    """PSNR against the subject with the normal map and without. folder: for the result's pictures, kept: for those of
    the subject."""
    light_scene(bounds)
    truth = render_lit(subject, kept / "lit", px)
    scores = {}
    for name, with_relief in (("lit_psnr_db", True), ("lit_flat_psnr_db", False)):
        made = make_object(textured, name, with_relief)
        scores[name] = psnr_db(truth, render_lit(made, folder / name, px))
        bpy.data.objects.remove(made)
    return scores
