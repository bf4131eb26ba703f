"""A refined mesh back onto the object it came from: positions alone, or a new mesh; what it was stays with it."""
from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...bridge.errors import BadMesh
from .images import pack_png
from .materials import textured_material
from .meshes import build_mesh, own_mesh
from .originals import (
    BEFORE_KEY,
    BEFORE_SHOWN_KEY,
    CAMERAS_KEY,
    ORIGINAL_KEY,
    PICTURE_KEY,
    SPACE_KEY,
    TEXTURE_KEY,
    VIEWS_KEY,
    kept_materials,
    other_mesh,
    wear_other_materials,
)
from .refine_source import RefineSource, active_modifiers, outlines_of
from .results import PreparedResult
from .scenes import find_object
from .scratch import all_or_nothing
from .solid import applied_mesh

if TYPE_CHECKING:
    from bpy.types import Image, Material, Mesh, Object


def land_refined(source: RefineSource, prepared: PreparedResult) -> tuple[Object, tuple[str, ...]]:
    """Give the object its refined mesh. Returns it, with what the person should know.

    All of it is done, or nothing. Raises BadMesh when the object is gone, or its mesh is not the one that was sent.
    """
    thing = _same_object(source)
    if thing is None:
        raise BadMesh(f"{source.object_name}, which was refined, is not there any more.")
    with all_or_nothing(bpy.data):
        before: Mesh = thing.data  # type: ignore[assignment]
        if source.wishes.keep_topology:
            before, notes = _keep_topology(thing, source, prepared)
        else:
            notes = _take_new_mesh(thing, source, prepared)
    _note_job(thing, source, prepared)
    thing[BEFORE_KEY] = before
    if BEFORE_SHOWN_KEY in thing:
        del thing[BEFORE_SHOWN_KEY]
    return thing, notes


def _note_job(thing: Object, source: RefineSource, prepared: PreparedResult) -> None:
    """The folder or picture that it was made from stays noted, so the cameras and the space that belong to it do, too.
    """
    made_from = VIEWS_KEY in thing or PICTURE_KEY in thing
    keeps_views = made_from and SPACE_KEY in thing and not source.wishes.in_views
    for key, value in prepared.properties.items():
        if not (keeps_views and key == CAMERAS_KEY):
            thing[key] = value
    if not keeps_views:
        thing[SPACE_KEY] = source.world_from_local.ravel().tolist()


def _same_object(source: RefineSource) -> Object | None:
    """Also under another name; and in a file that was loaded again, if it has the mesh that was sent."""
    found = find_object(source.object_uid)
    if found is None:
        called = bpy.data.objects.get(source.object_name)
        same = called is not None and called.type == "MESH" and np.array_equal(
            outlines_of(called.data), source.base_outlines)  # type: ignore[arg-type]
        found = called if same else None
    return found if found is not None and found.type == "MESH" else None


def _keep_topology(thing: Object, source: RefineSource, prepared: PreparedResult) -> tuple[Mesh, tuple[str, ...]]:
    """(the mesh before, notes). Loops, UVs, groups, shape keys and slots stay as they are; positions move."""
    moved = prepared.views_vertices
    if not np.array_equal(prepared.faces, source.faces):
        raise BadMesh(f"The engine gave {thing.name} other faces than it had.")
    applies = source.wishes.modifiers == "APPLY" and bool(active_modifiers(thing))
    mesh = applied_mesh(thing) if applies else thing.data
    assert isinstance(mesh, bpy.types.Mesh)
    if len(mesh.vertices) != len(moved) or not np.array_equal(outlines_of(mesh), source.outlines):
        raise BadMesh(f"{thing.name} was edited while it was refined: its faces are other ones now.")
    away = moved.astype(np.float64) - source.vertices
    step = (away @ np.linalg.inv(source.world_from_local[:3, :3]).T).astype(np.float32)
    image = pack_png(bpy.data.images, f"{thing.name} Base Color", prepared.base_color_png)
    before: Mesh = thing.data  # type: ignore[assignment]
    if applies:
        _replace(thing, mesh)
        thing.modifiers.clear()
    elif own_mesh(thing) == before:
        before = before.copy()
        before.name = f"{mesh.name} Before"
    else:
        mesh = thing.data
    _shift(mesh, step)
    return before, _dress(thing, mesh, source, image)


def _replace(thing: Object, mesh: Mesh) -> None:
    """The new mesh takes over the name, where nobody else uses the old one."""
    before: Mesh = thing.data  # type: ignore[assignment]
    name = before.name
    thing.data = mesh
    if not before.users:
        before.name = f"{name} Before"
        mesh.name = name


def _shift(mesh: Mesh, step: np.ndarray) -> None:
    """Move the vertices, in all shape keys alike. Those whose step is 0 stay to the bit."""
    blocks = mesh.shape_keys.key_blocks if mesh.shape_keys is not None else ()
    for data in (mesh.vertices, *(block.data for block in blocks)):
        held = np.empty(step.size, np.float32)
        data.foreach_get("co", held)
        data.foreach_set("co", held + step.ravel())
    mesh.update()


def _dress(thing: Object, mesh: Mesh, source: RefineSource, image: Image) -> tuple[str, ...]:
    thing[TEXTURE_KEY] = image
    if source.wishes.material == "NEW":
        mesh.materials.clear()
        mesh.materials.append(textured_material(bpy.data, thing.name, image))
        return ()
    return (f"The materials of {thing.name} are as they were; its new colours are in the image {image.name}.",)


def _take_new_mesh(thing: Object, source: RefineSource, prepared: PreparedResult) -> tuple[str, ...]:
    """New faces, new UVs and one new material; the modifiers are gone, or stay but are switched off."""
    inverse = np.linalg.inv(source.world_from_local)
    local = prepared.views_vertices.astype(np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
    step = -1 if source.mirrored else 1
    mesh = build_mesh(bpy.data.meshes, thing.name, local.astype(np.float32), prepared.faces[:, ::step],
                      prepared.corner_uvs[:, ::step])
    image = pack_png(bpy.data.images, f"{thing.name} Base Color", prepared.base_color_png)
    mesh.materials.append(textured_material(bpy.data, thing.name, image))
    thing[TEXTURE_KEY] = image
    _replace(thing, mesh)
    if source.wishes.modifiers == "APPLY":
        thing.modifiers.clear()
        return ()
    names = active_modifiers(thing)
    for modifier in thing.modifiers:
        modifier.show_viewport = modifier.show_render = False
    return (f"Modifiers of {thing.name} were kept but switched off: {', '.join(names)}.",) if names else ()


# --- before and after -----------------------------------------------------------------------------------------------
def other_state(thing: Object | None) -> Mesh | dict[str, Material] | None:
    """The mesh, or else the materials by slot, that the toggle would show; None where there is neither."""
    if thing is None:
        return None
    return other_mesh(thing) or kept_materials(thing) or None


def swap_before_after(thing: Object) -> bool:
    """Show the mesh before refining or tweaking instead of the one after, or the other way round; of an object that has
    but one mesh, the materials before a bake.

    Returns whether it is the one before. Raises BadMesh where there is nothing to compare.
    """
    other = other_state(thing)
    if other is None:
        raise BadMesh(f"{thing.name} has no earlier state.", "Refine it, bake onto it, or tweak a result of Slipcast.")
    if isinstance(other, dict):
        own_mesh(thing)
        wear_other_materials(thing)
    else:
        thing[BEFORE_KEY if BEFORE_KEY in thing else ORIGINAL_KEY] = thing.data
        thing.data = other
    thing[BEFORE_SHOWN_KEY] = not thing.get(BEFORE_SHOWN_KEY, False)
    return bool(thing[BEFORE_SHOWN_KEY])
