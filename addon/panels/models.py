"""Panel "Models": what can make a mesh of one picture, its licence and cost, and whether it is on this computer."""
from __future__ import annotations

import bpy

from ...bridge.model_messages import ModelInfo
from .. import pump
from ..models import ModelDesk, ended_words, licence_words, need_words, state_words, task_words
from ..operators.models import OFFLINE, is_online
from .base import FoldedPanel
from .text import draw_text


class SLIPCAST_PT_models(FoldedPanel):
    bl_idname = "SLIPCAST_PT_models"
    bl_label = "Models"
    bl_order = 8

    def draw(self, context: bpy.types.Context) -> None:
        layout, desk = self.layout, pump.session().models
        layout.operator("slipcast.refresh_models", icon="FILE_REFRESH",
                        text="Look Again" if desk.loaded else "Show Models")
        if desk.task is not None:
            _draw_task(layout, desk)
        if desk.loaded and not is_online():
            draw_text(layout, context, f"{OFFLINE}.", "INTERNET_OFFLINE")
        for info in desk.models:
            _draw_model(layout.box(), context, info, desk)
        for name, why in desk.broken:
            draw_text(layout, context, f"The plug-in {name} cannot be used: {why}", "ERROR")
        if desk.error is not None:
            draw_text(layout.box(), context, str(desk.error), "ERROR")
        elif desk.ended is not None:
            draw_text(layout.box(), context, ended_words(desk.ended, _title(desk, desk.ended.model)), "CHECKMARK")


def _title(desk: ModelDesk, model: str) -> str:
    info = desk.find(model)
    return info.title if info is not None else model


def _draw_task(layout: bpy.types.UILayout, desk: ModelDesk) -> None:
    assert desk.task is not None
    column = layout.column()
    total = desk.task.total_bytes
    column.progress(factor=desk.task.done_bytes / total if total else 0.0,
                    text=f"{_title(desk, desk.task.model)}: {task_words(desk.task)}")
    column.operator("slipcast.cancel_fetch", icon="X")


def _draw_model(box: bpy.types.UILayout, context: bpy.types.Context, info: ModelInfo, desk: ModelDesk) -> None:
    draw_text(box, context, info.title, "CHECKMARK" if info.installed else "RADIOBUT_OFF")
    draw_text(box, context, state_words(info))
    draw_text(box, context, licence_words(info), "ERROR" if info.non_commercial else "NONE")
    draw_text(box, context, need_words(info))
    if info.note:
        draw_text(box, context, info.note)
    row = box.row(align=True)
    row.operator("wm.url_open", text="Licence", icon="URL").url = info.licence_url
    if not info.bytes:
        return
    if info.installed:
        row.operator("slipcast.verify_model", icon="VIEWZOOM").model = info.name
        row.operator("slipcast.remove_model", text="", icon="TRASH").model = info.name
    else:
        row.operator("slipcast.fetch_model", icon="IMPORT").model = info.name
        box.operator("slipcast.adopt_model", icon="FILE_FOLDER").model = info.name


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PT_models)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_PT_models)
