"""UVs: whether a mesh has any worth the name, and Blender's Smart UV Project for one that has none."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadMesh
from .meshes import corner_uvs_of, loop_uvs_of, own_mesh
from .scratch import scratch_data

if TYPE_CHECKING:
    from bpy.types import Mesh, Object, Scene

LEAST_UV_AREA = 1e-6        # of the texture: below, UVs are there but say nothing
LARGEST_MARGIN = 0.05       # of the texture
_SMART_ANGLE = 1.15         # radians (66 degrees), Blender's own default


def has_uvs(mesh: Mesh) -> bool:
    return uv_area(mesh) > LEAST_UV_AREA


def uv_area(mesh: Mesh) -> float:
    """Of the active UV map, sum over the triangles; 1 = the whole texture. 0 without a map."""
    corners = corner_uvs_of(mesh)
    if corners is None:
        return 0.0
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)
    first, second = b - a, c - a
    return float(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2)


@dataclass(frozen=True)
class NewUvs:
    """name: of the UV map. values: (L, 2) float32, at the corners of the faces."""

    name: str
    values: np.ndarray


def give_uvs(thing: Object, uvs: NewUvs) -> None:
    """UVs for the mesh of `thing`, in its active UV map or a new one. Others that share the mesh keep theirs."""
    mesh = own_mesh(thing)
    there = mesh.uv_layers.active or mesh.uv_layers.new(name=uvs.name)
    there.uv.foreach_set("vector", uvs.values.ravel())  # type: ignore[attr-defined]


def give_missing_uvs(thing: Object, margin: float) -> bool:
    """Unwrap `thing` where it has no UVs; whether it had none. The open scene, its modes and selection stay."""
    mesh = thing.data
    if has_uvs(mesh):  # type: ignore[arg-type]
        return False
    with scratch_data(bpy.data):
        stage = bpy.data.scenes.new("slipcast unwrap")
        copy = bpy.data.objects.new("slipcast unwrap", mesh.copy())  # type: ignore[union-attr]
        stage.collection.objects.link(copy)
        stage.view_layers[0].update()
        made = unwrap(copy, stage, margin)
    give_uvs(thing, made)
    return True


def unwrap(thing: Object, stage: Scene, margin: float) -> NewUvs:
    """New UVs for an object of `stage`, which it has then. margin: between the islands, fraction of the texture.

    Raises BadMesh where Blender cannot.
    """
    try:
        return _smart_project(thing, stage, margin)
    except RuntimeError as error:
        raise BadMesh(f"Blender could not unwrap {thing.name}: {str(error).strip()}",
                      "Give it UVs by hand (Edit Mode, UV > Unwrap), or repair it first.") from error


def _smart_project(thing: Object, stage: Scene, margin: float) -> NewUvs:
    layer = stage.view_layers[0]
    layer.objects.active = thing
    thing.select_set(True, view_layer=layer)
    if not thing.data.uv_layers:  # type: ignore[union-attr]
        thing.data.uv_layers.new(name="UVMap")  # type: ignore[union-attr]
    overrides = context_of(stage, thing)
    # UV operators work in edit mode only
    with bpy.context.temp_override(**overrides):
        bpy.ops.object.mode_set(mode="EDIT")
    try:
        with bpy.context.temp_override(**overrides, edit_object=thing, objects_in_mode=[thing],
                                       objects_in_mode_unique_data=[thing]):
            bpy.ops.mesh.reveal(select=False)
            bpy.ops.mesh.select_all(action="SELECT")
            bpy.ops.uv.smart_project(angle_limit=_SMART_ANGLE, margin_method="FRACTION",
                                     island_margin=min(LARGEST_MARGIN, margin))
    finally:
        with bpy.context.temp_override(**overrides):
            bpy.ops.object.mode_set(mode="OBJECT")
    thing.select_set(False, view_layer=layer)
    values = loop_uvs_of(thing.data)  # type: ignore[arg-type]
    assert values is not None
    return NewUvs(thing.data.uv_layers.active.name, values)  # type: ignore[union-attr]


def context_of(stage: Scene, thing: Object, others: Sequence[Object] = ()) -> dict[str, Any]:
    """What operators have to be told to work on objects of a scene that is not open."""
    selected = [thing, *others]
    return {"scene": stage, "view_layer": stage.view_layers[0], "object": thing, "active_object": thing,
            "selected_objects": selected, "selected_editable_objects": selected}
