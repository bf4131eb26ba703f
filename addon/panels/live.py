"""The running job: what can be done with its mesh, below the tab's own panel; how far it is, in the status bar."""
from __future__ import annotations

import time

import bpy

from .. import pump
from ..job import JobState, describe, stage_seconds_left
from ..operators.live import why_not_show_colors
from ..scene.live import LiveMesh
from .base import SidebarPanel
from .text import draw_text


class SLIPCAST_PT_live(SidebarPanel):
    bl_idname = "SLIPCAST_PT_live"
    bl_parent_id = "SLIPCAST_PT_main"
    bl_label = "Live Mesh"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return pump.session().job is not None or bool(pump.session().kept)

    def draw(self, context: bpy.types.Context) -> None:
        layout, session, live = self.layout, pump.session(), pump.live_mesh()
        if session.job is None:
            draw_text(layout, context, f"The last state of the mesh was kept as {session.kept}.", "INFO")
            return
        draw_text(layout, context, live_words(live), "MESH_DATA")
        row = layout.row(align=True)
        shown = live.visible and not live.deleted
        toggle = row.operator("slipcast.live_visibility", text="Hide" if shown else "Show",
                              icon="HIDE_OFF" if shown else "HIDE_ON")
        toggle.visible = not shown
        row.operator("slipcast.live_snapshot", icon="DUPLICATE")
        if live.has_colours and not why_not_show_colors(context.space_data):
            coloured = context.space_data.shading.color_type == "VERTEX"
            toggle = layout.operator("slipcast.live_colors", text="Hide Colors" if coloured else "Show Colors",
                                     icon="COLOR")
            toggle.shown = not coloured
        layout.operator("slipcast.finish_early", icon="CHECKMARK")
        layout.operator("slipcast.cancel", text="Cancel and Keep the Mesh", icon="X").keep = True


def live_words(live: LiveMesh) -> str:
    """Where the live mesh is, for the panel."""
    if not live.has_mesh:
        return "It appears when the engine has a first mesh."
    if live.deleted:
        return "The live mesh was deleted. The job goes on."
    if not live.visible:
        return "The live mesh is hidden. The job goes on."
    return f"{live.faces:,} faces, work in progress."


def status_words(job: JobState) -> str:
    """What the status bar says, for example "Slipcast skull: Carving (4/9): 12 of 24 views, about 5 s left"."""
    _, words = describe(job)
    left = stage_seconds_left(job.progress) if job.phase == "running" and job.progress is not None else None
    ending = f", about {left:.0f} s left of this stage" if left is not None else ""
    return f"Slipcast {job.request.placement.name}: {words}{ending} ({time.monotonic() - job.started_s:.0f} s)"


def _draw_status(self: bpy.types.Header, context: bpy.types.Context) -> None:
    job = pump.session().job
    if job is None:
        return
    row = self.layout.row()
    fraction, _ = describe(job)
    row.label(text=status_words(job), icon="SORTTIME")
    if fraction is not None:
        bar = row.row()
        bar.ui_units_x = 4
        bar.progress(factor=fraction, text=f"{fraction:.0%}")


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PT_live)
    bpy.types.STATUSBAR_HT_header.append(_draw_status)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(_draw_status)
    bpy.utils.unregister_class(SLIPCAST_PT_live)
