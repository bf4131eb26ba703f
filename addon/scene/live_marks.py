"""How the live mesh is told from everything else in the scene: its collection, its colours, its material."""
from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from .materials import node_tree_of

if TYPE_CHECKING:
    from bpy.types import Collection, Material, Object, Scene

COLLECTION_NAME = "Slipcast Work in Progress"
COLLECTION_KEY = "slipcast_live"
COLOUR_NAME = "Color"
PLAIN_MATERIAL, COLOUR_MATERIAL = "Slipcast Work in Progress", "Slipcast Preview Colors"
ORANGE = (1.0, 0.42, 0.1, 1.0)       # linear
WIRE_FACES = 8_000                   # of more faces the edges would cover the surface


def dress(thing: Object, has_colours: bool = False) -> None:
    """Marks of work in progress: its name beside it, its edges drawn, orange, and left out of renders."""
    thing.show_name = thing.hide_render = True
    thing.show_wire = 0 < len(thing.data.polygons) <= WIRE_FACES  # type: ignore[union-attr]
    thing.color = ORANGE
    _use_material(thing, COLOUR_MATERIAL if has_colours else PLAIN_MATERIAL)


def undress(thing: Object, has_colours: bool = False) -> None:
    """An object like any other: what a person keeps of it."""
    thing.show_name = thing.hide_render = thing.show_wire = False
    thing.color = (1.0, 1.0, 1.0, 1.0)
    _use_material(thing, COLOUR_MATERIAL if has_colours else "")


def live_collection(scene: Scene) -> Collection:
    """The scene's collection for work in progress."""
    for found in scene.collection.children_recursive:
        if COLLECTION_KEY in found and found.library is None:
            return found
    made = bpy.data.collections.new(COLLECTION_NAME)
    made[COLLECTION_KEY] = True
    made.color_tag = "COLOR_02"
    scene.collection.children.link(made)
    return made


def drop_unused_materials() -> None:
    """Take ours out of the file when nothing wears them any more."""
    for name in (PLAIN_MATERIAL, COLOUR_MATERIAL):
        held = bpy.data.materials.get(name)
        if held is not None and not held.users:
            bpy.data.materials.remove(held)


def _use_material(thing: Object, name: str) -> None:
    slots = thing.data.materials  # type: ignore[union-attr]
    if not name:
        slots.clear()
        return
    if [held.name if held is not None else "" for held in slots] != [name]:
        slots.clear()
        slots.append(bpy.data.materials.get(name) or _make_material(name))


def _make_material(name: str) -> Material:
    made = bpy.data.materials.new(name)
    tree = node_tree_of(made)
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    if name == COLOUR_MATERIAL:
        colours = tree.nodes.new("ShaderNodeVertexColor")
        colours.layer_name = COLOUR_NAME  # type: ignore[attr-defined]
        colours.location = (-250.0, 0.0)
        tree.links.new(colours.outputs["Color"], shader.inputs["Base Color"])
    else:
        shader.inputs["Base Color"].default_value = ORANGE  # type: ignore[attr-defined]
        made.diffuse_color = ORANGE
    return made
