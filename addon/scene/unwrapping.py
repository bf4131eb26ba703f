"""UVs: whether a mesh has any worth the name, and Blender's Smart UV Project for one that has none."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadMesh
from .scratch import scratch_data

if TYPE_CHECKING:
    from bpy.types import Mesh, MeshUVLoopLayer, Object, Scene

LEAST_UV_AREA = 1e-6        # of the texture: below, UVs are there but say nothing
LARGEST_MARGIN = 0.05       # of the texture
_SMART_ANGLE = 1.15         # radians (66 degrees), Blender's own default


def has_uvs(mesh: Mesh) -> bool:
    uvs = uv_values(mesh)
    return uvs is not None and uv_area(uvs, mesh) > LEAST_UV_AREA


def uv_values(mesh: Mesh) -> np.ndarray | None:
    """(L, 2) float64 of the active UV map; None without one."""
    if mesh.uv_layers.active is None:
        return None
    flat = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", flat)
    return flat.reshape(-1, 2).astype(np.float64)


def uv_area(uvs: np.ndarray, mesh: Mesh) -> float:
    """Sum over the triangles, 1 = the whole texture."""
    mesh.calc_loop_triangles()
    corners = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("loops", corners)
    a, b, c = (uvs[corners.reshape(-1, 3)[:, corner]] for corner in range(3))
    first, second = b - a, c - a
    return float(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2)


def give_uvs(mesh: Mesh, source: MeshUVLoopLayer) -> None:
    """The same UVs for a mesh with the same loops, in its active UV map or a new one."""
    flat = np.empty(2 * len(mesh.loops), np.float32)
    source.uv.foreach_get("vector", flat)
    there = mesh.uv_layers.active or mesh.uv_layers.new(name=source.name)
    there.uv.foreach_set("vector", flat)


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
        unwrap(copy, stage, margin)
        give_uvs(mesh, copy.data.uv_layers.active)  # type: ignore[arg-type, union-attr]
    return True


def unwrap(thing: Object, stage: Scene, margin: float) -> None:
    """New UVs for an object of `stage`. margin: between the islands, fraction of the texture.

    Raises BadMesh where Blender cannot.
    """
    try:
        _smart_project(thing, stage, margin)
    except RuntimeError as error:
        raise BadMesh(f"Blender could not unwrap {thing.name}: {str(error).strip()}",
                      "Give it UVs by hand (Edit Mode, UV > Unwrap), or repair it first.") from error


def _smart_project(thing: Object, stage: Scene, margin: float) -> None:
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


def context_of(stage: Scene, thing: Object, others: Sequence[Object] = ()) -> dict[str, Any]:
    """What operators have to be told to work on objects of a scene that is not open."""
    selected = [thing, *others]
    return {"scene": stage, "view_layer": stage.view_layers[0], "object": thing, "active_object": thing,
            "selected_objects": selected, "selected_editable_objects": selected}
