"""Panel "Views from the Scene": renders of an object or a collection, to generate or refine from."""
from __future__ import annotations

import bpy
from bpy.types import Panel

from ..operators.render_views import NOTHING_CHOSEN, VIEW_PROPERTIES
from .text import draw_text

CATEGORY = "Slipcast"
ORBIT_ONLY = ("count", "lens_mm", "lowest_deg", "highest_deg")


class SLIPCAST_PT_render_views(Panel):
    bl_idname = "SLIPCAST_PT_render_views"
    bl_label = "Views from the Scene"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 9

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked = self.layout, context.scene.slipcast_views
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        for name in VIEW_PROPERTIES:
            if name == "collection":
                column.prop_search(asked, name, bpy.data, "collections")
            elif name not in ORBIT_ONLY or asked.source == "ORBIT":
                column.prop(asked, name)
        why = why_not_yet(context)
        row = layout.row()
        row.scale_y = 1.4
        row.enabled = not why
        button = row.operator("slipcast.render_views", icon="RENDER_STILL")
        for name in VIEW_PROPERTIES:
            setattr(button, name, getattr(asked, name))
        if why:
            draw_text(layout, context, why, "INFO")


def why_not_yet(context: bpy.types.Context) -> str:
    """What the person has to choose first; "" when the views can be rendered."""
    asked = context.scene.slipcast_views
    if not asked.folder.strip():
        return "Choose a folder first."
    if not asked.collection and context.active_object is None:
        return f"{NOTHING_CHOSEN}."
    return ""


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PT_render_views)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_PT_render_views)
