"""Panel "Refine": what the active mesh is fitted to, what may move, and how well."""
from __future__ import annotations

import dataclasses

import bpy

from ...bridge.settings import RefineMeshSettings
from ..operators.refine import REPLACED, why_not_refine
from ..operators.scene_targets import RENDERED
from .base import FoldedPanel
from .main import draw_ended, draw_running
from .text import draw_text

SHOWN_FIRST = ("quality", "keep_topology")
FREE_ONLY, KEPT_ONLY = ("face_budget",), ("material",)
ORBIT_ONLY = ("count", "lens_mm", "lowest_deg", "highest_deg")
RENDER_KNOBS = ("resolution", "engine", "samples", "lighting")


class SLIPCAST_PT_refine(FoldedPanel):
    bl_idname = "SLIPCAST_PT_refine"
    bl_label = "Refine"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked = self.layout, context.scene.slipcast_refine
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(asked, "targets")
        if asked.targets in RENDERED:
            column.prop_search(asked, "subject", bpy.data, "objects")
            column.prop_search(asked, "collection", bpy.data, "collections")
            if asked.targets == "ORBIT":
                column.prop(asked, "count")
        elif asked.targets == "FOLDER":
            column.prop(asked, "folder")
        for name in SHOWN_FIRST:
            column.prop(asked, name)
        lacks = why_no_targets(context)
        why = why_not_refine(context) or lacks
        if draw_running(layout, "refine"):
            return
        row = layout.row()
        row.scale_y = 1.4
        row.enabled = not why
        thing = context.active_object
        row.operator("slipcast.refine", icon="MOD_SHRINKWRAP",
                     text=f"Refine {thing.name}" if thing is not None and thing.type == "MESH" else "Refine Mesh")
        if why:
            draw_text(layout, context, f"{why}.", "INFO")
        draw_ended(layout, context, "refine")
        layout.operator("slipcast.before_after", icon="ARROW_LEFTRIGHT")
        row = layout.row()
        row.enabled = not lacks
        row.operator("slipcast.generate_from_scene", icon="MESH_MONKEY")
        if lacks and lacks != why:     # else it is told above
            draw_text(layout, context, f"{lacks}.", "INFO")


class SLIPCAST_PT_refine_advanced(FoldedPanel):
    bl_idname = "SLIPCAST_PT_refine_advanced"
    bl_parent_id = "SLIPCAST_PT_refine"
    bl_label = "Advanced"

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked = self.layout, context.scene.slipcast_refine
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(asked, "weights")
        if asked.weights == "GROUP" and context.active_object is not None:
            column.prop_search(asked, "vertex_group", context.active_object, "vertex_groups")
        for name in ("symmetry", "modifiers", *(KEPT_ONLY if asked.keep_topology else ())):
            column.prop(asked, name)
        for knob in dataclasses.fields(RefineMeshSettings):
            if knob.name in (*SHOWN_FIRST, *REPLACED) or asked.keep_topology and knob.name in FREE_ONLY:
                continue
            column.prop(asked, knob.name)
        if asked.targets in RENDERED:
            column.separator()
            for name in (*RENDER_KNOBS, *(ORBIT_ONLY[1:] if asked.targets == "ORBIT" else ())):
                column.prop(asked, name)


def why_no_targets(context: bpy.types.Context) -> str:
    """What of the pictures is still to be chosen; "" when nothing."""
    asked = context.scene.slipcast_refine
    if asked.targets in RENDERED and not (asked.collection or asked.subject):
        return "Choose the object or collection to match"
    if asked.targets == "FOLDER" and not asked.folder.strip():
        return "Choose the view folder to match"
    return ""


CLASSES = (SLIPCAST_PT_refine, SLIPCAST_PT_refine_advanced)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
