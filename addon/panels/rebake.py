"""Panel "Bake": textures for the selected mesh, from a detailed one."""
from __future__ import annotations

import bpy

from ...bridge.errors import BadSettings
from ...bridge.settings import TEXTURE_SIZES_PX
from ..operators.generate import why_not_start
from ..operators.rebake import BAKE_PROPERTIES, NO_ORIGINAL, NO_SOURCE, NO_VIEWS, VIEWS_PROPERTIES, find_sources
from ..operators.tweak import why_not
from ..scene.originals import kept_original, views_folder_of
from .base import FoldedPanel
from .main import draw_ended, draw_running
from .text import draw_text

LARGEST_PAINTED = str(max(TEXTURE_SIZES_PX))     # by the engine


class SLIPCAST_PT_rebake(FoldedPanel):
    bl_idname = "SLIPCAST_PT_rebake"
    bl_label = "Bake"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked = self.layout, context.scene.slipcast_rebake
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(asked, "source")
        if asked.source == "SELECTED":
            column.prop_search(asked, "source_object", context.scene, "objects")
        if asked.source == "VIEWS":
            _draw_views(layout, column, context)
            return
        row = layout.row(align=True)
        row.use_property_split = False      # beside a heading their names would be cut off
        for name in ("color", "normal", "occlusion"):
            row.prop(asked, name, toggle=True)
        column = layout.column()
        for name in ("texture_px", "padding_px", "distance"):
            column.prop(asked, name)
        if asked.occlusion:
            column.prop(asked, "samples")
        why = why_not_yet(context)
        row = layout.row()
        row.scale_y = 1.4
        row.enabled = not why
        draw_rebake(row, context)
        if why:
            draw_text(layout, context, why, "INFO")


def draw_rebake(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The button, with what the panel asks for."""
    asked = context.scene.slipcast_rebake
    if asked.source == "VIEWS":
        button = layout.operator("slipcast.rebake_views", icon="RENDER_STILL")
        given = {name: getattr(asked, name) for name in VIEWS_PROPERTIES}
        given["texture_px"] = min(asked.texture_px, LARGEST_PAINTED, key=int)
        for name, value in given.items():
            setattr(button, name, value)
        return
    button = layout.operator("slipcast.rebake", icon="RENDER_STILL")
    for name in BAKE_PROPERTIES:
        setattr(button, name, getattr(asked, name))


def _draw_views(layout: bpy.types.UILayout, column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    asked = context.scene.slipcast_rebake
    for name in VIEWS_PROPERTIES:
        column.prop(asked, name)
    if draw_running(layout, "bake"):
        return
    why = why_not_views(context)
    row = layout.row()
    row.scale_y = 1.4
    row.enabled = not why
    draw_rebake(row, context)
    if why:
        draw_text(layout, context, why, "INFO")
    draw_ended(layout, context, "bake")


def why_not_views(context: bpy.types.Context) -> str:
    """What the person has to choose first; "" when the engine can be asked."""
    thing = context.active_object
    if why_not(context) or thing is None:
        return f"{why_not(context)}."
    if not context.scene.slipcast_rebake.folder.strip() and not views_folder_of(thing):
        return " ".join(NO_VIEWS)
    return why_not_start(context)


def why_not_yet(context: bpy.types.Context) -> str:
    """What the person has to choose first; "" when it can be baked."""
    asked, why = context.scene.slipcast_rebake, why_not(context)
    if why:
        return f"{why}."
    if not (asked.color or asked.normal or asked.occlusion):
        return "Choose what to bake."
    if asked.source == "ORIGINAL":
        return " ".join(NO_ORIGINAL) if kept_original(context.active_object) is None else ""
    try:
        if find_sources(asked, context):
            return ""
    except BadSettings as error:
        return str(error)
    kept = kept_original(context.active_object) is not None
    return f"{NO_SOURCE[0]} Choose Original above, or a source." if kept else " ".join(NO_SOURCE)


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PT_rebake)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_PT_rebake)
