"""The tab "Slipcast" in the sidebar of the 3D viewport."""
from __future__ import annotations

import dataclasses
import time

import bpy

from ...bridge.errors import Cancelled
from ...bridge.settings import ViewsSettings
from .. import pending, preferences, pump
from ..job import JobState, Outcome, describe, stage_seconds_left
from ..scene.cameras import RENDER_SIZE_KEY
from ..session import Session
from .base import FoldedPanel, SidebarPanel
from .engine import draw_engine
from .text import draw_text

HIDDEN_KNOBS = ("even_light", "seed", "turntable")    # in the Advanced panel


class SLIPCAST_PT_main(SidebarPanel):
    bl_idname = "SLIPCAST_PT_main"
    bl_label = "Slipcast"

    def draw(self, context: bpy.types.Context) -> None:
        layout, session, asked = self.layout, pump.session(), context.scene.slipcast
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.enabled = session.job is None
        column.prop(asked, "folder")
        for knob in dataclasses.fields(ViewsSettings):
            if knob.name not in HIDDEN_KNOBS:
                column.prop(asked, knob.name)
        column.prop(asked, "target_size")
        layout.separator()
        if session.job is not None:
            draw_job(layout, session.job)
        else:
            _draw_generate(layout, context, asked.folder)
        draw_ending(layout, context, session)
        _draw_offer(layout, context, session)
        layout.separator()
        draw_engine(layout)


class SLIPCAST_PT_advanced(FoldedPanel):
    bl_idname = "SLIPCAST_PT_advanced"
    bl_parent_id = "SLIPCAST_PT_main"
    bl_label = "Advanced"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.enabled = pump.session().job is None
        for name in ("import_cameras", *HIDDEN_KNOBS):
            column.prop(context.scene.slipcast, name)
        if context.object is not None and RENDER_SIZE_KEY in context.object:
            layout.operator("slipcast.use_camera", icon="OUTLINER_OB_CAMERA")


def _draw_generate(layout: bpy.types.UILayout, context: bpy.types.Context, folder: str) -> None:
    row = layout.row()
    row.scale_y = 1.6
    row.enabled = bool(folder.strip())
    row.operator("slipcast.generate", icon="MESH_MONKEY")
    if not folder.strip():
        draw_text(layout, context, "Choose a folder of views first.", "INFO")
    elif not preferences.chosen_python():
        draw_text(layout, context, "Choose the engine's Python under Preferences > Add-ons > Slipcast.", "INFO")


def draw_job(layout: bpy.types.UILayout, job: JobState) -> None:
    fraction, words = describe(job)
    column = layout.column()
    column.progress(factor=fraction or 0.0, text=words)
    left = stage_seconds_left(job.progress) if job.phase == "running" and job.progress is not None else None
    seconds = f"{job.request.placement.name}: {time.monotonic() - job.started_s:.0f} s"
    column.label(text=seconds if left is None else f"{seconds}, about {left:.0f} s left of this stage", icon="TIME")
    row = layout.row()
    row.scale_y = 1.6
    row.enabled = not job.cancelling
    row.operator("slipcast.cancel", icon="X")


def draw_running(layout: bpy.types.UILayout, method: str) -> bool:
    """In the panel of one method: its running job, in place of the button. Returns whether there is one."""
    session = pump.session()
    if session.job is None or session.method != method:
        return False
    draw_job(layout, session.job)
    return True


def draw_ended(layout: bpy.types.UILayout, context: bpy.types.Context, method: str) -> None:
    """In the panel of one method: how its last job ended, when nothing else was begun since."""
    session = pump.session()
    if session.job is None and session.method == method:
        draw_ending(layout, context, session)


def draw_ending(layout: bpy.types.UILayout, context: bpy.types.Context, session: Session) -> None:
    """How the last job ended, until the next one is begun."""
    if isinstance(session.error, Cancelled):
        left = f"Its mesh was kept as {session.kept}." if session.kept else "The scene is as it was."
        draw_text(layout, context, f"Cancelled. {left}", "INFO")
    elif session.error is not None:
        box = layout.box()
        draw_text(box, context, session.error.message, "ERROR")
        if session.error.hint:
            draw_text(box, context, session.error.hint, "INFO")
        box.operator("slipcast.copy_error", icon="COPYDOWN")
    elif session.outcome is not None:
        box = layout.box()
        draw_text(box, context, outcome_words(session.outcome), "CHECKMARK")
        for warning in session.outcome.warnings:
            draw_text(box, context, warning, "ERROR")


def _draw_offer(layout: bpy.types.UILayout, context: bpy.types.Context, session: Session) -> None:
    """A job that was under way when this file was saved."""
    job = pending.offered(context.scene, session)
    if not job:
        return
    box = layout.box()
    draw_text(box, context, pending.offer_words(context.scene, session), "INFO")
    row = box.row(align=True)
    row.operator("slipcast.import_result", text="Get Result", icon="IMPORT").job = job
    row.operator("slipcast.dismiss_result", text="", icon="X")


def outcome_words(outcome: Outcome) -> str:
    """For example "skull: 20,000 faces in 74 s on cpu."."""
    device = outcome.device or "the engine"
    return f"{outcome.object_name}: {outcome.faces:,} faces in {outcome.seconds:.0f} s on {device}."


CLASSES = (SLIPCAST_PT_main, SLIPCAST_PT_advanced)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
