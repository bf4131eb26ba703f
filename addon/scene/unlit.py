"""Materials that shine with their own base colour, so that a bake of what they emit is their colour without any light.

Cycles' own pass of diffuse colour is black where a material is metallic or transmits light; what is emitted is not.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy

from .materials import node_tree_of

if TYPE_CHECKING:
    from bpy.types import Material, Mesh, NodeTree

NO_MATERIAL = (0.8, 0.8, 0.8, 1.0)          # what Cycles gives a face without material
_COLOUR_INPUTS = ("Base Color", "Color")    # of the shaders, in Blender's own words
_KEPT = ("MIX_SHADER", "ADD_SHADER", "EMISSION", "BSDF_TRANSPARENT", "HOLDOUT")


def make_unlit(mesh: Mesh) -> None:
    """Give `mesh` copies of its materials that emit their colours. The copies are new data; the materials stay."""
    if not mesh.materials:
        mesh.materials.append(None)
    for slot, material in enumerate(mesh.materials):
        mesh.materials[slot] = _unlit_copy(material)


def _unlit_copy(material: Material | None) -> Material:
    made = bpy.data.materials.new("slipcast unlit") if material is None else material.copy()
    # since Blender 5.0 nodes are always used, and asking for it is deprecated
    nodes_used = material is not None and (bpy.app.version >= (5, 0, 0) or material.use_nodes)
    if nodes_used and made.node_tree is not None and made.node_tree.get_output_node("CYCLES") is not None:
        _make_tree_unlit(made.node_tree, {})
        return made
    colour = NO_MATERIAL if material is None else tuple(material.diffuse_color)
    tree = node_tree_of(made)
    tree.nodes.clear()
    output, emission = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = colour  # type: ignore[attr-defined]
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return made


def _make_tree_unlit(tree: NodeTree, seen: dict[int, NodeTree]) -> None:
    """seen: groups that were copied already, by the session uid of the original."""
    for node in list(tree.nodes):
        if node.type == "GROUP" and node.node_tree is not None:  # type: ignore[attr-defined]
            group = node.node_tree  # type: ignore[attr-defined]
            if group.session_uid not in seen:
                seen[group.session_uid] = copy = group.copy()
                _make_tree_unlit(copy, seen)
            node.node_tree = seen[group.session_uid]  # type: ignore[attr-defined]
        elif node.type not in _KEPT and any(socket.type == "SHADER" for socket in node.outputs):
            _replace_by_emission(tree, node)


def _replace_by_emission(tree: NodeTree, node: Any) -> None:
    colour = next((node.inputs[name] for name in _COLOUR_INPUTS if name in node.inputs), None)
    emission = tree.nodes.new("ShaderNodeEmission")
    if colour is None:
        emission.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)  # type: ignore[attr-defined]
    elif colour.is_linked:
        tree.links.new(colour.links[0].from_socket, emission.inputs["Color"])
    else:
        emission.inputs["Color"].default_value = colour.default_value  # type: ignore[attr-defined]
    shaders = [socket for socket in node.outputs if socket.type == "SHADER"]
    for target in [link.to_socket for socket in shaders for link in socket.links]:
        tree.links.new(emission.outputs[0], target)
