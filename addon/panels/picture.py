"""Panel "From a Picture": one picture to a mesh, in one click."""
from __future__ import annotations

import dataclasses
from typing import Any

import bpy

from ...bridge.model_messages import ModelInfo
from ...bridge.settings import ImageSettings
from .. import preferences, pump
from ..job import MEGABYTE
from ..models import licence_words, task_words
from ..operators.picture import ALWAYS_THERE, AUTO, chosen_model, draw_choices, picture_of
from ..operators.picture_mask import NO_PICTURE, mask_of_last_job
from ..scene.masks import LOW_CONFIDENCE
from ..scene.picture_mask import PICTURE_KEY, painted_image
from .base import FoldedPanel, ImagePanel
from .main import draw_ended, draw_running
from .masks import draw_brush
from .text import draw_text

IN_FRONT = ("filepath", "mask", "model", "background", "target_size", "import_cameras")
FOLDED = tuple(knob.name for knob in dataclasses.fields(ImageSettings) if knob.name not in IN_FRONT)
ROUGH = "Without it a rough base is inflated from the outline: something to sculpt on or to refine"
NETWORK, BEST_NETWORK = "rembg:", "u2net"


class SLIPCAST_PT_picture(FoldedPanel):
    bl_idname = "SLIPCAST_PT_picture"
    bl_label = "From a Picture"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked, job = self.layout, context.scene.slipcast_picture, pump.session().job
        column = layout.column()
        column.enabled = job is None
        draw_choices(column, asked, IN_FRONT[:2])
        _draw_mask(column, context, asked)
        draw_choices(column, asked, IN_FRONT[2:])
        _draw_model(layout, context, asked)
        _draw_cutter(layout, context, asked)
        if draw_running(layout, "image"):
            return
        why = why_not_yet(asked.filepath)
        row = layout.row()
        row.scale_y = 1.6
        row.enabled = not why
        row.operator_context = "EXEC_DEFAULT"      # what is asked is in the panel: no dialog
        _draw_generate(row, context)
        if why:
            draw_text(layout, context, f"{why}.", "INFO")
        draw_ended(layout, context, "image")


class SLIPCAST_PT_picture_advanced(FoldedPanel):
    bl_idname = "SLIPCAST_PT_picture_advanced"
    bl_parent_id = "SLIPCAST_PT_picture"
    bl_label = "Advanced"

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.enabled = pump.session().job is None
        draw_choices(column, context.scene.slipcast_picture, FOLDED)


def why_not_yet(filepath: str) -> str:
    """What the person has to do first; "" when a job can be started."""
    if not filepath.strip():
        return NO_PICTURE
    return "" if preferences.chosen_python() else "Choose the engine's Python under Preferences > Add-ons > Slipcast"


def model_notes(asked: Any) -> list[tuple[str, str]]:
    """(words, icon) that a person should read before starting: what the chosen model is, as far as it is known."""
    model, desk = asked.model, pump.session().models
    if model == ALWAYS_THERE:
        return [("A rough base, inflated from the outline: something to sculpt on or to refine.", "INFO")]
    info = chosen_model(asked)
    if info is None:
        if desk.loaded and model != AUTO:
            return [(f"There is no model called {model}.", "ERROR")]
        return [(f"Auto: TripoSR (licence MIT), when it has been fetched. {ROUGH}.", "INFO")] if model == AUTO else []
    if info.installed:
        return [(f"{info.title} is here. {licence_words(info)}.", "ERROR" if info.non_commercial else "CHECKMARK")]
    notes = [(f"{info.title} is not on this computer yet. {licence_words(info)}.",
              "INFO" if model == AUTO and not info.non_commercial else "ERROR")]
    return [*notes, (f"{ROUGH}.", "INFO")] if model == AUTO else notes


def missing_cutter(asked: Any) -> ModelInfo | None:
    """The network that would tell the object from its background, were it here; None when nothing is missing."""
    if asked.mask.strip() or not (asked.background == AUTO or asked.background.startswith(NETWORK)):
        return None
    wanted = BEST_NETWORK if asked.background == AUTO else asked.background.removeprefix(NETWORK)
    info = pump.session().models.find(wanted)
    return info if info is not None and not info.installed else None


def mask_words(context: bpy.types.Context) -> tuple[str, str]:
    """(words, icon) of the mask of the newest result of this picture; ("", "NONE") without one."""
    drawn = mask_of_last_job(context)
    if drawn is None:
        return "", "NONE"
    if drawn.confidence < LOW_CONFIDENCE:
        return f"Look at the mask of the last result: {drawn.words}.", "ERROR"
    return f"Mask of the last result: {drawn.words}.", "NONE"


def _draw_mask(column: bpy.types.UILayout, context: bpy.types.Context, asked: Any) -> None:
    if not asked.filepath.strip():
        return
    words, icon = mask_words(context)
    if words:
        draw_text(column, context, words, icon)
    row = column.row(align=True)
    row.operator("slipcast.paint_picture_mask", icon="BRUSH_DATA")
    row.operator("slipcast.drop_picture_mask", text="", icon="X")


def _draw_generate(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """With the mask, where one was painted and is not saved yet: nobody paints one in order not to use it."""
    painted = painted_image(picture_of(context))
    if painted is not None and painted.is_dirty:
        layout.operator("slipcast.generate_with_picture_mask", icon="IMAGE_DATA")
    else:
        layout.operator("slipcast.generate_from_picture", text="Generate", icon="IMAGE_DATA")


def _draw_model(layout: bpy.types.UILayout, context: bpy.types.Context, asked: Any) -> None:
    for words, icon in model_notes(asked):
        draw_text(layout, context, words, icon)
    info = chosen_model(asked)
    if asked.model == ALWAYS_THERE:
        return
    if info is None and not pump.session().models.loaded:
        layout.operator("slipcast.refresh_models", text="See What Is Installed", icon="VIEWZOOM")
    elif info is not None and not info.installed:
        _draw_fetch(layout, info)


def _draw_cutter(layout: bpy.types.UILayout, context: bpy.types.Context, asked: Any) -> None:
    info = missing_cutter(asked)
    if info is None:
        return
    if asked.background == AUTO:
        draw_text(layout, context, "The object is found by the picture's alpha, else by colours. "
                  f"{info.title} finds it on any background.", "INFO")
    else:
        draw_text(layout, context, f"{info.title} is not on this computer yet. {licence_words(info)}.", "ERROR")
    _draw_fetch(layout, info)


def _draw_fetch(layout: bpy.types.UILayout, info: ModelInfo) -> None:
    task = pump.session().models.task
    if task is not None and task.model == info.name:
        share = task.done_bytes / task.total_bytes if task.total_bytes else 0.0
        layout.progress(factor=share, text=task_words(task))
        return
    words = f"Download {info.title} ({info.bytes / MEGABYTE:,.0f} MB)"
    layout.operator("slipcast.fetch_model", text=words, icon="IMPORT").model = info.name


class SLIPCAST_PT_paint_picture_mask(ImagePanel):
    bl_idname = "SLIPCAST_PT_paint_picture_mask"
    bl_label = "Mask of the Picture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        image = getattr(context.space_data, "image", None)
        return image is not None and PICTURE_KEY in image

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        draw_text(layout, context, "Solid is object, faint is background.", "INFO")
        draw_brush(layout, context)
        row = layout.row(align=True)
        row.operator("slipcast.save_picture_mask", icon="FILE_TICK")
        row.operator("slipcast.drop_picture_mask", text="", icon="X")
        row = layout.row()
        row.operator_context = "EXEC_DEFAULT"
        row.operator("slipcast.generate_with_picture_mask", icon="IMAGE_DATA")


CLASSES = (SLIPCAST_PT_picture, SLIPCAST_PT_picture_advanced, SLIPCAST_PT_paint_picture_mask)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
