"""The material of a result."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import bpy

ROUGHNESS = 0.6  # what a matte photographed object looks closest to; nothing was measured of its gloss


def textured_material(materials: bpy.types.BlendDataMaterials, name: str,
                      base_color: bpy.types.Image, normal_map: bpy.types.Image | None = None) -> bpy.types.Material:
    """A Principled BSDF with `base_color` (sRGB) wired to Base Color, read at the active UV map.

    normal_map: Non-Color, tangent space; where there is one, it goes through a Normal Map node to Normal.
    """
    material = materials.new(name)
    if not material.node_tree:  # before Blender 5.0 a new material has no nodes until asked
        material.use_nodes = True
    tree = material.node_tree
    assert tree is not None
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    texture = tree.nodes.new("ShaderNodeTexImage")
    output.location, shader.location, texture.location = (300.0, 0.0), (0.0, 0.0), (-320.0, 0.0)
    texture.label = "Base Color"
    texture.image = base_color  # type: ignore[attr-defined]
    shader.inputs["Roughness"].default_value = ROUGHNESS  # type: ignore[attr-defined]
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    if normal_map is not None:
        _add_normal_map(tree, shader, normal_map)
    tree.nodes.active = texture  # what painting and baking work on
    return material


def _add_normal_map(tree: bpy.types.NodeTree, shader: bpy.types.Node, normal_map: bpy.types.Image) -> None:
    texture = tree.nodes.new("ShaderNodeTexImage")
    relief = tree.nodes.new("ShaderNodeNormalMap")
    texture.location, relief.location = (-520.0, -320.0), (-220.0, -320.0)
    texture.label = "Normal Map"
    texture.image = normal_map  # type: ignore[attr-defined]
    relief.space = "TANGENT"  # type: ignore[attr-defined]
    tree.links.new(texture.outputs["Color"], relief.inputs["Color"])
    tree.links.new(relief.outputs["Normal"], shader.inputs["Normal"])
