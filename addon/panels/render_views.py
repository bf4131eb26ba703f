"""Panel "Views from the Scene": renders of an object or a collection, to generate or refine from."""
from __future__ import annotations

import bpy

from ..operators.render_views import NOTHING_CHOSEN, VIEW_PROPERTIES
from .base import FoldedPanel
from .text import draw_text

IN_FRONT = ("folder", "collection", "source", "count", "resolution", "engine", "lighting")
FOLDED = ("samples", "lens_mm", "lowest_deg", "highest_deg")
ORBIT_ONLY = ("count", "lens_mm", "lowest_deg", "highest_deg")


class SLIPCAST_PT_render_views(FoldedPanel):
    bl_idname = "SLIPCAST_PT_render_views"
    bl_label = "Views from the Scene"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        _draw_knobs(layout, context, IN_FRONT)
        why = why_not_yet(context)
        row = layout.row()
        row.scale_y = 1.4
        row.enabled = not why
        subject = context.scene.slipcast_views.collection or getattr(context.active_object, "name", "")
        draw_render_views(row, context, f"Render Views of {subject}" if subject else "Render Views")
        if why:
            draw_text(layout, context, why, "INFO")


class SLIPCAST_PT_render_views_advanced(FoldedPanel):
    bl_idname = "SLIPCAST_PT_render_views_advanced"
    bl_parent_id = "SLIPCAST_PT_render_views"
    bl_label = "Advanced"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_knobs(self.layout, context, FOLDED)


def draw_render_views(layout: bpy.types.UILayout, context: bpy.types.Context, text: str) -> None:
    """The button, with what the panel asks for."""
    asked = context.scene.slipcast_views
    button = layout.operator("slipcast.render_views", text=text, icon="RENDER_STILL")
    for name in VIEW_PROPERTIES:
        setattr(button, name, getattr(asked, name))


def _draw_knobs(layout: bpy.types.UILayout, context: bpy.types.Context, names: tuple[str, ...]) -> None:
    asked = context.scene.slipcast_views
    layout.use_property_split = True
    layout.use_property_decorate = False
    column = layout.column()
    for name in names:
        if name == "collection":
            column.prop_search(asked, name, bpy.data, "collections")
        elif name not in ORBIT_ONLY or asked.source == "ORBIT":
            column.prop(asked, name)


def why_not_yet(context: bpy.types.Context) -> str:
    """What the person has to choose first; "" when the views can be rendered."""
    asked = context.scene.slipcast_views
    if not asked.folder.strip():
        return "Choose the folder that the views are written to."
    if not asked.collection and context.active_object is None:
        return f"{NOTHING_CHOSEN}."
    return ""


CLASSES = (SLIPCAST_PT_render_views, SLIPCAST_PT_render_views_advanced)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
