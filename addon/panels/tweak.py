"""Panel "Tweak": changes to the selected mesh, and how sound it is."""
from __future__ import annotations

import bpy

from ..operators.tweak import why_not
from ..scene.health import remembered_health
from .base import FoldedPanel
from .text import draw_text


class SLIPCAST_PT_tweak(FoldedPanel):
    bl_idname = "SLIPCAST_PT_tweak"
    bl_label = "Tweak"
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        why = why_not(context)
        if why:
            draw_text(layout, context, f"{why}.", "INFO")
        else:
            layout.label(text=subject_words(context.active_object), icon="MESH_DATA")
        column = layout.column(align=True)
        column.operator("slipcast.face_budget", icon="MOD_DECIM")
        row = column.row(align=True)
        row.operator("slipcast.voxel_remesh", icon="MOD_REMESH")
        row.operator("slipcast.quad_remesh", icon="MESH_GRID")
        column = layout.column(align=True)
        row = column.row(align=True)
        row.operator("slipcast.smooth", icon="MOD_SMOOTH")
        row.operator("slipcast.symmetrise", icon="MOD_MIRROR")
        row = column.row(align=True)
        row.operator("slipcast.flatten_base", icon="TRIA_DOWN_BAR")
        row.operator("slipcast.fill_holes", icon="MESH_CIRCLE")
        column = layout.column(align=True)
        column.operator("slipcast.place_mesh", icon="EMPTY_AXIS")
        column.operator("slipcast.place_by_camera", icon="CAMERA_DATA")
        _draw_health(layout, context)


def subject_words(thing: bpy.types.Object) -> str:
    """For example "Suzanne: 968 triangles"."""
    mesh = thing.data
    assert isinstance(mesh, bpy.types.Mesh)
    # a polygon of n corners is n - 2 triangles; counted so, it costs nothing in every redraw
    return f"{thing.name}: {len(mesh.loops) - 2 * len(mesh.polygons):,} triangles"


def _draw_health(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    thing = context.active_object
    found = remembered_health(thing.data) if thing is not None and thing.type == "MESH" else None
    box = layout.box()
    if found is not None:
        line, words, sound = found
        draw_text(box, context, line, "CHECKMARK" if sound else "ERROR")
        draw_text(box, context, words)
    row = box.row(align=True)
    row.operator("slipcast.check_mesh", icon="VIEWZOOM")
    row.operator("slipcast.repair_mesh", icon="TOOL_SETTINGS")


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PT_tweak)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_PT_tweak)
