"""Meshes to bake, and what to look at afterwards: what the checks of Bake Again share."""
from __future__ import annotations

import bpy
import numpy as np


def select(active: bpy.types.Object, *others: bpy.types.Object) -> None:
    for thing in bpy.context.view_layer.objects:
        thing.select_set(thing in (active, *others))
    bpy.context.view_layer.objects.active = active


def pixels(image: bpy.types.Image) -> np.ndarray:
    flat = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(flat)
    return flat.reshape(image.size[1], image.size[0], 4)


def ball(name: str = "Ball", subdivisions: int = 3, uvs: bool = True) -> bpy.types.Object:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=subdivisions, radius=1.0, calc_uvs=uvs)
    bpy.context.object.name = name
    return bpy.context.object


def loops(mesh: bpy.types.Mesh) -> tuple[list[int], np.ndarray]:
    uvs = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uvs)
    return [loop.vertex_index for loop in mesh.loops], uvs


def everything() -> dict[str, list[str]]:
    kinds = ("scenes", "objects", "meshes", "materials", "node_groups", "images", "worlds")
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds}


def textures(thing: bpy.types.Object) -> dict[str, bpy.types.Image]:
    return {node.label: node.image for node in thing.active_material.node_tree.nodes if node.type == "TEX_IMAGE"}
