"""Menu "Slipcast", under Object in the 3D viewport: everything by keyboard, because F3 searches menus."""
from __future__ import annotations

import bpy
from bpy.types import Menu

from .rebake import draw_rebake
from .render_views import draw_render_views

GENERATE = (("slipcast.generate", "MESH_MONKEY"), ("slipcast.generate_from_picture", "IMAGE_DATA"),
            ("slipcast.generate_from_scene", "MESH_MONKEY"), ("slipcast.generate_with_masks", "MESH_MONKEY"))
RUNNING = (("slipcast.finish_early", "CHECKMARK"), ("slipcast.live_snapshot", "DUPLICATE"), ("slipcast.cancel", "X"))
REFINE = (("slipcast.refine", "MOD_SHRINKWRAP"), ("slipcast.before_after", "ARROW_LEFTRIGHT"))
TWEAK = (("slipcast.face_budget", "MOD_DECIM"), ("slipcast.voxel_remesh", "MOD_REMESH"),
         ("slipcast.quad_remesh", "MESH_GRID"), ("slipcast.smooth", "MOD_SMOOTH"),
         ("slipcast.symmetrise", "MOD_MIRROR"), ("slipcast.flatten_base", "TRIA_DOWN_BAR"),
         ("slipcast.fill_holes", "MESH_CIRCLE"), ("slipcast.place_mesh", "EMPTY_AXIS"),
         ("slipcast.place_by_camera", "CAMERA_DATA"), ("slipcast.check_mesh", "VIEWZOOM"),
         ("slipcast.repair_mesh", "TOOL_SETTINGS"))


class SLIPCAST_MT_slipcast(Menu):
    bl_idname = "SLIPCAST_MT_slipcast"
    bl_label = "Slipcast"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        draw_render_views(layout, context, "Render Views")
        for group in (GENERATE, RUNNING, REFINE):
            _draw_group(layout, group)
        layout.menu(SLIPCAST_MT_tweak.bl_idname)
        draw_rebake(layout, context)
        layout.operator("slipcast.paint_mask", icon="BRUSH_DATA").view = context.scene.slipcast_masks.view
        layout.operator("slipcast.paint_picture_mask", text="Paint Mask of the Picture", icon="BRUSH_DATA")
        layout.operator("slipcast.refresh_history", icon="FILE_REFRESH")


class SLIPCAST_MT_tweak(Menu):
    bl_idname = "SLIPCAST_MT_tweak"
    bl_label = "Tweak"

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.operator_context = "INVOKE_DEFAULT"
        _draw_group(self.layout, TWEAK)


def _draw_group(layout: bpy.types.UILayout, group: tuple[tuple[str, str], ...]) -> None:
    for operator, icon in group:
        layout.operator(operator, icon=icon)
    layout.separator()


def _draw_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(SLIPCAST_MT_slipcast.bl_idname)


CLASSES = (SLIPCAST_MT_slipcast, SLIPCAST_MT_tweak)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.VIEW3D_MT_object.append(_draw_entry)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object.remove(_draw_entry)
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
