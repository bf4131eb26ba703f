"""Pictures that are dropped onto the viewport, and Slipcast in the menu Add: ways in that need no panel."""
from __future__ import annotations

from typing import Any

import bpy
from bpy.types import FileHandler, Menu

from ..bridge.folders import PICTURE_SUFFIXES


class SLIPCAST_MT_add(Menu):
    """Make a mesh: also found by the search for menu entries (F3)"""

    bl_idname = "SLIPCAST_MT_add"
    bl_label = "Slipcast"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("slipcast.generate_from_picture", text="Mesh from Picture...", icon="IMAGE_DATA")
        layout.operator("slipcast.generate", text="Mesh from Views", icon="MESH_MONKEY")


def draw_in_add_menu(menu: Menu, context: bpy.types.Context) -> None:
    """Slipcast's entry at the end of the viewport's menu Add."""
    if context.mode == "OBJECT":
        menu.layout.separator()
        menu.layout.menu(SLIPCAST_MT_add.bl_idname, icon="MESH_MONKEY")


class SLIPCAST_FH_picture(FileHandler):
    bl_idname = "SLIPCAST_FH_picture"
    bl_label = "Mesh from Picture (Slipcast)"
    bl_import_operator = "slipcast.generate_from_picture"
    bl_file_extensions = ";".join(PICTURE_SUFFIXES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES: tuple[Any, ...] = (SLIPCAST_MT_add, SLIPCAST_FH_picture)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.VIEW3D_MT_add.append(draw_in_add_menu)  # type: ignore[attr-defined]


def unregister() -> None:
    bpy.types.VIEW3D_MT_add.remove(draw_in_add_menu)  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
