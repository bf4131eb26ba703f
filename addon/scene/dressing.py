"""A new material for an object that stays as it is."""
from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...bridge.errors import BadMesh
from .images import pack_png
from .materials import LABELS, groups_of, maps_of, textured_material
from .originals import remember_materials
from .scratch import scratch_data

if TYPE_CHECKING:
    from bpy.types import Material, Object, Scene

    from .results import PreparedResult

UV_TOLERANCE = 1e-4     # of the texture


def wear(thing: Object, material: Material) -> None:
    """Put `material` into all slots of `thing`; what it wore before is kept with it."""
    remember_materials(thing)
    if not thing.material_slots:
        thing.data.materials.append(material)  # type: ignore[union-attr]
    for slot in thing.material_slots:
        slot.material = material


def dress(prepared: PreparedResult, name: str, scene: Scene) -> Object:
    """Give the object `name` the colours that the engine painted on it. Normals and occlusion that it had stay.

    Raises BadMesh when it is gone, or its UVs are not those that were painted any more; nothing is changed then.
    """
    thing = scene.objects.get(name)
    if thing is None or thing.type != "MESH":
        raise BadMesh(f"{name}, which the colours were made for, is not in {scene.name} any more.",
                      "Undo its deletion, then bake again.")
    mesh = thing.data
    if mesh.uv_layers.active is None or not _same_uvs(thing, prepared):  # type: ignore[union-attr]
        raise BadMesh(f"{name} has other faces or UVs than when its bake began.", "Bake again.")
    with scratch_data(bpy.data) as kept:
        image = pack_png(bpy.data.images, f"{name} {LABELS['color']}", prepared.base_color_png)
        maps = maps_of(thing.active_material)
        material = textured_material(bpy.data, f"{name} Baked", image, maps.get(LABELS["normal"]),
                                     maps.get(LABELS["occlusion"]),
                                     mesh.uv_layers.active.name)  # type: ignore[union-attr]
        kept.extend([image, material, *groups_of(material)])
        wear(thing, material)
    return thing


def _same_uvs(thing: Object, prepared: PreparedResult) -> bool:
    """Whether the triangles, as they are seen, have the texture coordinates of the result. In either winding: a
    mirrored object was sent with its faces turned."""
    seen = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    try:
        mesh.calc_loop_triangles()
        if len(mesh.loop_triangles) != len(prepared.faces) or mesh.uv_layers.active is None:
            return False
        loops, uvs = np.empty(prepared.faces.size, np.int32), np.empty(2 * len(mesh.loops), np.float32)
        mesh.loop_triangles.foreach_get("loops", loops)
        mesh.uv_layers.active.uv.foreach_get("vector", uvs)
    finally:
        seen.to_mesh_clear()
    now = uvs.reshape(-1, 2)[loops].reshape(-1, 3, 2)
    return any(np.abs(each - prepared.corner_uvs).max() <= UV_TOLERANCE for each in (now, now[:, ::-1]))
