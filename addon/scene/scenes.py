"""Which scene and object a job belongs to, whatever people have renamed since it was begun."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy

if TYPE_CHECKING:
    from bpy.types import Object, Scene


def scene_of(job: str, name: str) -> Scene:
    """The scene that `job` is noted in (see pending.py), else the one called `name`, else the open one."""
    noted = [scene for scene in bpy.data.scenes if job and pending_job(scene) == job]
    called = bpy.data.scenes.get(name)
    if called is not None and (called in noted or not noted):   # a copy of a scene has its note, too
        return called
    return noted[0] if noted else bpy.context.scene


def pending_job(scene: Scene) -> str:
    """The job that is noted in a scene, "" when there is none."""
    asked: Any = scene.slipcast  # type: ignore[attr-defined]
    return str(asked.pending_job)


def find_object(uid: int) -> Object | None:
    """The object with this `session_uid`, which stays when it is renamed, and is not used again in another file."""
    return next((thing for thing in bpy.data.objects if thing.session_uid == uid), None)
