"""A new material for an object that stays as it is."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...bridge.errors import BadMesh
from .images import pack_png
from .materials import LABELS, groups_of, maps_of, textured_material
from .meshes import corner_uvs_of, own_mesh
from .originals import remember_materials
from .scenes import find_object
from .scratch import scratch_data
from .solid import seen_mesh

if TYPE_CHECKING:
    from bpy.types import Material, Object, Scene

    from .results import PreparedResult

UV_TOLERANCE = 1e-4     # of the texture


@dataclass(frozen=True)
class BakeTarget:
    """The object that colours are painted for. uid: of scenes.find_object. name: it is known by in a file that was
    loaded again."""

    uid: int
    name: str


def wear(thing: Object, material: Material) -> None:
    """Put `material` into all slots of `thing`; what it wore before is kept with it. Others that share its mesh wear
    what they wore."""
    remember_materials(thing)
    if not thing.material_slots or any(slot.link == "DATA" for slot in thing.material_slots):
        own_mesh(thing)
    if not thing.material_slots:
        thing.data.materials.append(material)  # type: ignore[union-attr]
    for slot in thing.material_slots:
        slot.material = material


def dress(prepared: PreparedResult, onto: BakeTarget, scene: Scene) -> Object:
    """Give the object, or else the one of `scene` that has its name, the colours that the engine painted on it. Normals
    and occlusion that it had stay.

    Raises BadMesh when it is gone, or its UVs are not those that were painted any more; nothing is changed then.
    """
    thing = find_object(onto.uid) or scene.objects.get(onto.name)
    if thing is None or thing.type != "MESH":
        raise BadMesh(f"{onto.name}, which the colours were made for, is not in {scene.name} any more.",
                      "Undo its deletion, then bake again.")
    uv_layer = thing.data.uv_layers.active  # type: ignore[union-attr]
    if uv_layer is None or not _same_uvs(thing, prepared):
        raise BadMesh(f"{thing.name} has other faces or UVs than when its bake began.", "Bake again.")
    with scratch_data(bpy.data) as kept:
        image = pack_png(bpy.data.images, f"{thing.name} {LABELS['color']}", prepared.base_color_png)
        maps = maps_of(thing.active_material)
        material = textured_material(bpy.data, f"{thing.name} Baked", image, maps.get(LABELS["normal"]),
                                     maps.get(LABELS["occlusion"]), uv_layer.name)
        kept.extend([image, material, *groups_of(material)])
    wear(thing, material)
    return thing


def _same_uvs(thing: Object, prepared: PreparedResult) -> bool:
    """Whether the triangles, as they are seen, have the texture coordinates of the result. In either winding: a
    mirrored object was sent with its faces turned."""
    with seen_mesh(thing) as (mesh, _):
        now = corner_uvs_of(mesh)
    if now is None or len(now) != len(prepared.faces):
        return False
    return any(np.abs(each - prepared.corner_uvs).max() <= UV_TOLERANCE for each in (now, now[:, ::-1]))
