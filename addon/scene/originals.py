"""What an object was before it was edited: the mesh it came from the engine with, the materials it wore, its job.

All of it is held by the object itself (custom properties that point to data), so it is saved with the file, copied
with the object, undone with it, and gone with it.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from bpy.types import Material, Mesh, Object
    from mathutils import Matrix

JOB_KEY = "slipcast_job"
METHOD_KEY = "slipcast_method"
SETTINGS_KEY = "slipcast_settings"             # of the job, as JSON
ENGINE_KEY = "slipcast_engine"                 # its version
DEVICE_KEY = "slipcast_device"
SECONDS_KEY = "slipcast_seconds"
VIEWS_KEY = "slipcast_views"                   # folder of the views it was made from
PICTURE_KEY = "slipcast_picture"               # the one picture it was made from
MASKS_KEY = "slipcast_views_job"               # the job that was given them; a refining since then had others
CAMERAS_KEY = "slipcast_cameras"               # those of its views, in their world, as JSON
SPACE_KEY = "slipcast_views_from_local"        # 16 numbers, row by row: its own space -> the world of its views
ORIGINAL_KEY = "slipcast_original"             # the mesh that came from the engine, before tweaks
BEFORE_KEY = "slipcast_before"                 # the mesh it had before it was refined
BEFORE_SHOWN_KEY = "slipcast_before_is_shown"  # the two have changed places
TEXTURE_KEY = "slipcast_base_color"            # the image that was painted, whether a material uses it or not
MATERIALS_KEY = "slipcast_materials_before"    # slot number as text -> material
# what is true of a mesh that was baked from another one, too; where it lies in the views is told by SPACE_KEY
_OF_THE_JOB = (JOB_KEY, METHOD_KEY, SETTINGS_KEY, ENGINE_KEY, DEVICE_KEY, SECONDS_KEY, VIEWS_KEY, PICTURE_KEY,
               MASKS_KEY, CAMERAS_KEY)


def keep_original(thing: Object) -> None:
    """Keep a copy of the mesh as it is now. Costs no memory until one of the two is changed (Blender shares them)."""
    copy = thing.data.copy()  # type: ignore[union-attr]
    copy.name = f"{thing.name} Original"
    thing[ORIGINAL_KEY] = copy


def kept_original(thing: Object) -> Mesh | None:
    """The mesh that `thing` came with, in the object's own space; None where it was not kept."""
    return _kept_mesh(thing, ORIGINAL_KEY)


def _kept_mesh(thing: Object, key: str) -> Mesh | None:
    found = thing.get(key)
    return found if hasattr(found, "polygons") else None


def keep_source(thing: Object, path: Path, of_picture: bool) -> None:
    """Keep what `thing` was made from: a view folder, or one picture. path: absolute."""
    thing[PICTURE_KEY if of_picture else VIEWS_KEY], thing[MASKS_KEY] = str(path), str(thing[JOB_KEY])


def views_folder_of(thing: Object) -> str:
    """The view folder that `thing` was made from; "" where it was made from something else, or nobody knows from what.
    """
    return str(thing.get(VIEWS_KEY, ""))


def was_made_from(thing: Object, path: str) -> bool:
    """path: of a view folder or a picture, absolute."""
    return path in (thing.get(VIEWS_KEY), thing.get(PICTURE_KEY))


def views_from_local(thing: Object, matrix_world: np.ndarray | None = None) -> np.ndarray:
    """(4, 4) float64: from the object's own space to the world of the views it was made from; to Blender's world for
    an object that was made from none. It holds wherever the object is moved to. matrix_world: that of the object, where
    Blender may not have brought its own up to date (solid.py)."""
    kept = thing.get(SPACE_KEY)
    if kept is None or len(kept) != 16:
        return np.array(thing.matrix_world if matrix_world is None else matrix_world, dtype=np.float64)
    return np.array(kept, dtype=np.float64).reshape(4, 4)


def keep_views(thing: Object, world_from_views: np.ndarray) -> None:
    """Keep where `thing`, which stands where it was placed, lies in the world of its views."""
    _keep_space(thing, np.linalg.inv(world_from_views) @ np.array(thing.matrix_basis, dtype=np.float64))


def space_changed(thing: Object, matrix: Matrix) -> None:
    """The object's own space was changed: what had the place p has now the place matrix @ p in it."""
    if SPACE_KEY in thing:
        _keep_space(thing, views_from_local(thing) @ np.linalg.inv(np.array(matrix, dtype=np.float64)))
    for key in (ORIGINAL_KEY, BEFORE_KEY):
        mesh = _kept_mesh(thing, key)
        if mesh is None:
            continue
        if mesh.users > 1:     # a copy of the object has it, too
            mesh = thing[key] = mesh.copy()
        mesh.transform(matrix, shape_keys=True)
        if matrix.is_negative:
            mesh.flip_normals()


def other_mesh(thing: Object) -> Mesh | None:
    """The mesh before refining or, for a result, before tweaks; the one after them while the one before is shown."""
    return _kept_mesh(thing, BEFORE_KEY) or _kept_mesh(thing, ORIGINAL_KEY)


def kept_materials(thing: Object) -> dict[str, Material]:
    """Slot number as text -> what was worn before a bake; while that is shown, what is worn since. {} without."""
    return {} if MATERIALS_KEY not in thing else {
        number: each for number, each in thing[MATERIALS_KEY].items() if each is not None}


def wear_other_materials(thing: Object) -> None:
    """Change what is worn for `kept_materials`, and keep that instead."""
    others = kept_materials(thing)
    thing[MATERIALS_KEY] = _worn(thing)
    for number, slot in enumerate(thing.material_slots):
        slot.material = others.get(str(number))


def remember_materials(thing: Object) -> None:
    """Keep what the object wears now, in place of what was kept before."""
    worn = _worn(thing)
    if worn:
        thing[MATERIALS_KEY] = worn
    elif MATERIALS_KEY in thing:
        del thing[MATERIALS_KEY]
    if BEFORE_SHOWN_KEY in thing and other_mesh(thing) is None:
        del thing[BEFORE_SHOWN_KEY]


def _worn(thing: Object) -> dict[str, Material]:
    return {str(number): slot.material for number, slot in enumerate(thing.material_slots) if slot.material is not None}


def carry_origin(thing: Object, sources: Sequence[Object]) -> None:
    """An object without a job takes on the job of what was baked onto it."""
    source = next((each for each in sources if JOB_KEY in each), None)
    if JOB_KEY in thing or source is None:
        return
    for key in _OF_THE_JOB:
        if key in source:
            thing[key] = source[key]
    if SPACE_KEY in source:
        local = np.array(source.matrix_world.inverted() @ thing.matrix_world, dtype=np.float64)
        _keep_space(thing, views_from_local(source) @ local)


def _keep_space(thing: Object, matrix: np.ndarray) -> None:
    thing[SPACE_KEY] = matrix.ravel().tolist()
