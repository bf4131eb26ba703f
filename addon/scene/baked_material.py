"""The material that shows what was baked."""
from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

if TYPE_CHECKING:
    from bpy.types import Image, Material, Node, NodeTree

ROUGHNESS = 0.6             # as the engine's results have it
LABELS = {"color": "Base Color", "normal": "Normal Map", "occlusion": "Ambient Occlusion"}
GLTF_GROUP = "glTF Material Output"    # what Blender's glTF exporter looks for to write an occlusion texture


def baked_material(name: str, uv_map: str, color: Image | None, normal: Image | None,
                   occlusion: Image | None) -> Material:
    """A Principled BSDF with what there is of: base colour (sRGB), tangent normals and ambient occlusion (Non-Color).

    uv_map: the UV map that all are read at. Occlusion darkens nothing in Blender, where light is computed; it is wired
    to the node group that glTF exports take it from.
    """
    material = bpy.data.materials.new(name)
    if not material.node_tree:  # before Blender 5.0 a new material has no nodes until asked
        material.use_nodes = True
    tree = material.node_tree
    assert tree is not None
    tree.nodes.clear()
    output, shader = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeBsdfPrincipled")
    where = tree.nodes.new("ShaderNodeUVMap")
    output.location, shader.location, where.location = (300.0, 0.0), (0.0, 0.0), (-760.0, -200.0)
    where.uv_map = uv_map  # type: ignore[attr-defined]
    shader.inputs["Roughness"].default_value = ROUGHNESS  # type: ignore[attr-defined]
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    if color is not None:
        texture = _texture(tree, where, color, LABELS["color"], 0.0)
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        tree.nodes.active = texture  # what painting and baking work on
    if normal is not None:
        relief = tree.nodes.new("ShaderNodeNormalMap")
        relief.location = (-220.0, -320.0)
        relief.space, relief.uv_map = "TANGENT", uv_map  # type: ignore[attr-defined]
        tree.links.new(_texture(tree, where, normal, LABELS["normal"], -320.0).outputs["Color"], relief.inputs["Color"])
        tree.links.new(relief.outputs["Normal"], shader.inputs["Normal"])
    if occlusion is not None:
        group = tree.nodes.new("ShaderNodeGroup")
        group.node_tree, group.location = _gltf_group(), (0.0, -640.0)  # type: ignore[attr-defined]
        tree.links.new(_texture(tree, where, occlusion, LABELS["occlusion"], -640.0).outputs["Color"],
                       group.inputs["Occlusion"])
    return material


def maps_of(material: Material | None) -> dict[str, Image]:
    """Label -> image of the textures that a material of ours holds."""
    if material is None or material.node_tree is None:
        return {}
    return {node.label: node.image for node in material.node_tree.nodes  # type: ignore[attr-defined]
            if node.type == "TEX_IMAGE" and node.label in LABELS.values() and node.image}  # type: ignore[attr-defined]


def _texture(tree: NodeTree, where: Node, image: Image, label: str, height: float) -> Node:
    made = tree.nodes.new("ShaderNodeTexImage")
    made.label, made.location, made.image = label, (-520.0, height), image  # type: ignore[attr-defined]
    tree.links.new(where.outputs["UV"], made.inputs["Vector"])
    return made


def _gltf_group() -> NodeTree:
    found = bpy.data.node_groups.get(GLTF_GROUP)
    if found is not None and any(item.name == "Occlusion" for item in found.interface.items_tree):
        return found
    made = bpy.data.node_groups.new(GLTF_GROUP, "ShaderNodeTree")  # type: ignore[arg-type]
    made.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    return made
