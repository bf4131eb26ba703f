"""Render with the size that an imported camera was made for."""
from __future__ import annotations

import bpy

from ..scene.cameras import RENDER_SIZE_KEY, use_render_size
from .base import SlipcastOperator


class SLIPCAST_OT_use_camera(SlipcastOperator):
    """Make the selected camera the scene's and set the render size to that of its picture, so that they match"""

    bl_idname = "slipcast.use_camera"
    bl_label = "Use Camera and Its Size"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        imported = context.object is not None and RENDER_SIZE_KEY in context.object
        return "" if imported else "Select a camera that Slipcast has imported"

    def do(self, context: bpy.types.Context) -> None:
        use_render_size(context.scene.render, context.object)
        context.scene.camera = context.object


def register() -> None:
    bpy.utils.register_class(SLIPCAST_OT_use_camera)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_OT_use_camera)
