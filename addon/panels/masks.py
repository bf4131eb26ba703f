"""Masks: which views to look at, in the viewport; painting them, in the image editor."""
from __future__ import annotations

from pathlib import Path

import bpy

from ..operators.masks import BRUSH_BLENDS, WAY_ITEMS, folder_of, open_masks, shown_mask, views_to_look_at
from ..scene.masks import FOLDER_KEY, VIEW_KEY
from .base import FoldedPanel, ImagePanel
from .text import draw_text

MOST_LISTED = 6


class SLIPCAST_PT_masks(FoldedPanel):
    bl_idname = "SLIPCAST_PT_masks"
    bl_label = "Masks"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        folder = folder_of(context)
        if folder is None:
            draw_text(layout, context, "Choose a folder of views first.", "INFO")
            return
        _draw_doubtful(layout, context, folder)
        asked = context.scene.slipcast_masks
        column = layout.column()
        column.prop(asked, "view", icon="IMAGE_DATA")
        row = column.row(align=True)
        row.enabled = bool(asked.view)
        row.operator("slipcast.paint_mask", icon="BRUSH_DATA").view = asked.view
        row.operator("slipcast.replace_mask", text="", icon="FILE_FOLDER").view = asked.view
        row.operator("slipcast.drop_mask", text="", icon="LOOP_BACK").view = asked.view
        if not asked.view:
            draw_text(layout, context, "Choose a view to see and paint its mask.", "INFO")
        _draw_generate(layout, context, folder)


def _draw_doubtful(layout: bpy.types.UILayout, context: bpy.types.Context, folder: Path) -> None:
    found = views_to_look_at(context, folder)
    if not found:
        return
    box = layout.box()
    count = "1 view to look at" if len(found) == 1 else f"{len(found)} views to look at"
    box.label(text=count, icon="ERROR")
    for view, why in found[:MOST_LISTED]:
        row = box.row(align=True)
        row.operator("slipcast.paint_mask", text=Path(view).name, icon="BRUSH_DATA").view = view
        draw_text(box, context, why)
    if len(found) > MOST_LISTED:
        draw_text(box, context, f"And {len(found) - MOST_LISTED} more.")


def _draw_generate(layout: bpy.types.UILayout, context: bpy.types.Context, folder: Path) -> None:
    changed = sum(image.is_dirty for image in open_masks(folder))
    if changed:
        draw_text(layout, context, f"{changed} painted, not saved yet.", "INFO")
    layout.operator("slipcast.generate_with_masks", icon="MESH_MONKEY").folder = str(folder)


class SLIPCAST_PT_paint_mask(ImagePanel):
    bl_idname = "SLIPCAST_PT_paint_mask"
    bl_label = "Mask"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return shown_mask(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, image = self.layout, shown_mask(context)
        assert image is not None
        view, folder = str(image[VIEW_KEY]), Path(str(image[FOLDER_KEY]))     # the panel may name another folder
        layout.label(text=view, icon="IMAGE_DATA")
        draw_text(layout, context, "Solid is object, faint is background.", "INFO")
        why = dict(views_to_look_at(context, folder)).get(view)
        if why:
            draw_text(layout, context, why, "ERROR")
        draw_brush(layout, context)
        row = layout.row(align=True)
        for button in (row.operator("slipcast.save_mask", icon="FILE_TICK"),
                       row.operator("slipcast.replace_mask", text="", icon="FILE_FOLDER"),
                       row.operator("slipcast.drop_mask", text="", icon="LOOP_BACK")):
            button.view, button.folder = view, str(folder)
        _draw_generate(layout, context, folder)


def draw_brush(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What the brush paints: object or background."""
    brush = context.tool_settings.image_paint.brush
    row = layout.row(align=True)
    for way, label, _ in WAY_ITEMS:
        pressed = brush is not None and brush.blend == BRUSH_BLENDS[way]
        row.operator("slipcast.mask_brush", text=label, depress=pressed).way = way


CLASSES = (SLIPCAST_PT_masks, SLIPCAST_PT_paint_mask)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
