"""Panel "Results": what the engine has made so far."""
from __future__ import annotations

import bpy
from bpy.types import UIList

from ...bridge.messages import JobInfo
from .. import history_view, pump
from ..history import HistoryDesk
from ..job import MEGABYTE
from ..operators.history import SLIPCAST_OT_import_result, why_not_state
from .base import FoldedPanel
from .text import draw_text

STATE_ICONS = {"queued": "SORTTIME", "running": "PLAY", "cancelling": "CANCEL", "failed": "ERROR",
               "cancelled": "CANCEL"}
NO_PICTURE = "FILE_3D"


class SLIPCAST_UL_history(UIList):
    bl_idname = "SLIPCAST_UL_history"

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0) -> None:
        split = layout.split(factor=0.55)
        split.label(text=item.label, **_picture(item.state, item.icon))
        row = split.row(align=True)
        row.active = item.state == "done"
        row.label(text=item.kind)
        row.prop(item, "marked", text="", icon="CHECKBOX_HLT" if item.marked else "CHECKBOX_DEHLT", emboss=False)


class SLIPCAST_PT_history(FoldedPanel):
    bl_idname = "SLIPCAST_PT_history"
    bl_label = "Results"
    bl_order = 7

    def draw(self, context: bpy.types.Context) -> None:
        layout, desk = self.layout, pump.session().history
        if not desk.loaded:
            layout.operator("slipcast.refresh_history", icon="FILE_REFRESH")
        elif not desk.jobs:
            draw_text(layout, context, "Nothing has been made yet.", "INFO")
        else:
            _draw_list(layout, context, desk)
        if desk.errand is not None:
            draw_text(layout, context, f"{desk.errand.waiting_for or desk.errand.words}.", "SORTTIME")
        if desk.error is not None:
            draw_text(layout.box(), context, str(desk.error), "ERROR")


def _draw_list(layout: bpy.types.UILayout, context: bpy.types.Context, desk: HistoryDesk) -> None:
    shown = context.window_manager.slipcast_history
    row = layout.row()
    row.template_list(SLIPCAST_UL_history.bl_idname, "", shown, "jobs", shown, "index", rows=4)
    column = row.column(align=True)
    column.operator("slipcast.refresh_history", text="", icon="FILE_REFRESH")
    column.operator("slipcast.compare_results", text="", icon="UV_SYNC_SELECT")
    column.separator()
    column.operator("slipcast.delete_result", text="", icon="TRASH")
    if desk.more:
        layout.operator("slipcast.refresh_history", text="Show Older", icon="TRIA_DOWN").older = True
    info = desk.find(history_view.active_job(context))
    if info is not None:
        _draw_job(layout, context, info, shown.jobs[shown.index].icon)


def _draw_job(layout: bpy.types.UILayout, context: bpy.types.Context, info: JobInfo, icon: int) -> None:
    box = layout.box()
    if icon:
        box.template_icon(icon_value=icon, scale=6.0)
    for line in job_lines(info):
        draw_text(box, context, line)
    if info.error is not None:
        draw_text(box, context, f"{info.error.message} {info.error.hint}".strip(), "ERROR")
    row = layout.row(align=True)
    part = row.row(align=True)
    part.enabled = not why_not_state(info, SLIPCAST_OT_import_result.states)
    part.operator("slipcast.import_result", icon="IMPORT")
    row.operator("slipcast.run_again", icon="FILE_REFRESH")
    layout.operator("slipcast.reveal_result", icon="FILE_FOLDER")


def job_lines(info: JobInfo) -> list[str]:
    """What there is to know of a job: label, method and time, size, seed and licence."""
    lines = [info.label or info.method, history_view.line_words(info)]
    faces = info.summary.get("faces")
    facts = [f"{int(faces):,} faces" if isinstance(faces, (int, float)) else "",
             f"{info.bytes / MEGABYTE:.1f} MB", f"seed {info.seed}" if info.seed is not None else ""]
    lines.append(", ".join(filter(None, facts)))
    return [*lines, f"Licence of the model: {info.licence}"] if info.licence else lines


def _picture(state: str, icon: int) -> dict[str, object]:
    if state in STATE_ICONS:
        return {"icon": STATE_ICONS[state]}
    return {"icon_value": icon} if icon else {"icon": NO_PICTURE}


CLASSES = (SLIPCAST_UL_history, SLIPCAST_PT_history)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
