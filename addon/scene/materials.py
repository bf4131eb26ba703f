"""Materials for results and bakes."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ...bridge.surface import ROUGHNESS

if TYPE_CHECKING:
    from bpy.types import BlendData, Image, Material, Node, NodeTree, World

LABELS = {"color": "Base Color", "normal": "Normal Map", "occlusion": "Ambient Occlusion"}
GLTF_GROUP = "glTF Material Output"    # what Blender's glTF exporter looks for to write an occlusion texture


def node_tree_of(thing: Material | World) -> NodeTree:
    """The node tree; before Blender 5.0 new data has none until asked."""
    if thing.node_tree is None:
        thing.use_nodes = True
    assert thing.node_tree is not None
    return thing.node_tree


def textured_material(data: BlendData, name: str, color: Image | None, normal: Image | None = None,
                      occlusion: Image | None = None, uv_map: str = "") -> Material:
    """A Principled BSDF with what there is of: base colour (sRGB), tangent normals and ambient occlusion (Non-Color).

    uv_map: the UV map that all are read at; "" is the active one. Occlusion darkens nothing in Blender, where light is
    computed; it is wired to the node group that glTF exports take it from.
    """
    material = data.materials.new(name)
    tree = node_tree_of(material)
    tree.nodes.clear()
    output, shader = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeBsdfPrincipled")
    output.location, shader.location = (300.0, 0.0), (0.0, 0.0)
    shader.inputs["Roughness"].default_value = ROUGHNESS  # type: ignore[attr-defined]
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    where = None
    if uv_map:
        where = tree.nodes.new("ShaderNodeUVMap")
        where.location, where.uv_map = (-760.0, -200.0), uv_map  # type: ignore[attr-defined]
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
        group.node_tree, group.location = _gltf_group(data), (0.0, -640.0)  # type: ignore[attr-defined]
        tree.links.new(_texture(tree, where, occlusion, LABELS["occlusion"], -640.0).outputs["Color"],
                       group.inputs["Occlusion"])
    return material


def maps_of(material: Material | None) -> dict[str, Image]:
    """Label -> image of the textures that a material of ours holds."""
    if material is None or material.node_tree is None:
        return {}
    return {node.label: node.image for node in material.node_tree.nodes  # type: ignore[attr-defined]
            if node.type == "TEX_IMAGE" and node.label in LABELS.values() and node.image}  # type: ignore[attr-defined]


def groups_of(material: Material) -> set[NodeTree]:
    """The node groups that it uses."""
    return {node.node_tree for node in node_tree_of(material).nodes if node.type == "GROUP"}  # type: ignore


def _texture(tree: NodeTree, where: Node | None, image: Image, label: str, height: float) -> Node:
    made = tree.nodes.new("ShaderNodeTexImage")
    made.label, made.location, made.image = label, (-520.0, height), image  # type: ignore[attr-defined]
    if where is not None:
        tree.links.new(where.outputs["UV"], made.inputs["Vector"])
    return made


def _gltf_group(data: BlendData) -> NodeTree:
    found = data.node_groups.get(GLTF_GROUP)
    if found is not None and any(item.name == "Occlusion" for item in found.interface.items_tree):
        return found
    made = data.node_groups.new(GLTF_GROUP, "ShaderNodeTree")  # type: ignore[arg-type]
    made.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    return made
