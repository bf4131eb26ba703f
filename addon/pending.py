"""The job under way, noted in its scene: a file that is saved meanwhile knows it when it is opened again."""
from __future__ import annotations

from typing import Any

import bpy

from .scene.scenes import pending_job, scene_of
from .session import Session


def note(session: Session) -> None:
    """Write the job of `session` into its scene, or take it out again when it has ended. Main thread."""
    job = session.job
    under_way = job.job if job is not None else ""
    for scene in _noted_here():
        if pending_job(scene) in session.ended_jobs:
            forget(scene)
    if job is None or not under_way:
        return
    scene = scene_of(under_way, job.request.scene_name)
    asked: Any = scene.slipcast  # type: ignore[attr-defined]
    if asked.pending_job != under_way:
        asked.pending_job, asked.pending_label = under_way, job.request.placement.name


def forget(scene: bpy.types.Scene) -> None:
    """Nothing of this scene is under way."""
    asked: Any = scene.slipcast  # type: ignore[attr-defined]
    asked.pending_job = asked.pending_label = ""


def offered(scene: bpy.types.Scene, session: Session) -> str:
    """The job whose result is offered; "" when there is none, or it is the one that this Blender waits for."""
    job: str = scene.slipcast.pending_job  # type: ignore[attr-defined]
    return "" if session.job is not None and session.job.job in ("", job) else job


def offer_words(scene: bpy.types.Scene, session: Session) -> str:
    """What is known of the job that is offered, for example "skull was under way when this file was saved: done."."""
    asked: Any = scene.slipcast  # type: ignore[attr-defined]
    info = session.history.find(asked.pending_job)
    if info is None:
        known = "the engine forgot it" if session.history.loaded and not session.history.more else ""
    else:
        known = {"done": "it is done", "failed": "it failed", "cancelled": "it was cancelled"}.get(info.state,
                                                                                                    "it still runs")
    return f"{asked.pending_label} was under way when this file was saved{f': {known}' if known else ''}."


def _noted_here() -> list[Any]:
    return [scene for scene in bpy.data.scenes if pending_job(scene)]
