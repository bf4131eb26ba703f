"""Where panels of Slipcast stand."""
from __future__ import annotations

from bpy.types import Panel

CATEGORY = "Slipcast"


class SidebarPanel(Panel):
    """Base: in the tab of the viewport's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class FoldedPanel(SidebarPanel):
    """Base: the same, closed until somebody opens it."""

    bl_options = {"DEFAULT_CLOSED"}


class ImagePanel(Panel):
    """Base: in the tab of the image editor's sidebar."""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = CATEGORY
