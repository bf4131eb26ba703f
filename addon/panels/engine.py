"""The engine line: state in words, start and stop."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .. import preferences, pump
from ..session import Session

if TYPE_CHECKING:
    import bpy

ICONS = {"off": "RADIOBUT_OFF", "starting": "SORTTIME", "ready": "CHECKMARK", "stopping": "SORTTIME", "failed": "ERROR"}


def engine_words(session: Session, has_python: bool) -> str:
    """For example "Engine: ready on cuda:0 NVIDIA RTX 4090"."""
    if not session.answers:
        return "Engine: does not answer, trying again"
    if session.engine == "ready":
        return f"Engine: ready on {', '.join(session.devices) or 'no device'}"
    if session.engine == "off":
        return "Engine: not running" if has_python else "Engine: no Python chosen"
    return {"starting": "Engine: starting", "stopping": "Engine: stopping", "failed": "Engine: failed"}[session.engine]


def draw_engine(layout: bpy.types.UILayout) -> None:
    """One row. Where it failed, the panel's error box says why."""
    session, has_python = pump.session(), bool(preferences.chosen_python())
    row = layout.row(align=True)
    icon = ICONS[session.engine] if has_python or session.engine != "off" else "ERROR"
    row.label(text=engine_words(session, has_python), icon=icon)
    if session.engine in ("starting", "ready"):
        row.operator("slipcast.stop_engine", text="", icon="SNAP_FACE")
    elif session.engine in ("off", "failed"):
        row.operator("slipcast.start_engine", text="", icon="PLAY")
