"""Render with the size that an imported camera was made for."""
from __future__ import annotations

import bpy
from bpy.types import Operator

from ...bridge.errors import BridgeError
from ..scene.cameras import RENDER_SIZE_KEY, use_render_size


class SLIPCAST_OT_use_camera(Operator):
    """Make the selected camera the scene's and set the render size to that of its picture, so that they match"""

    bl_idname = "slipcast.use_camera"
    bl_label = "Use Camera and Its Size"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("Select a camera that Slipcast has imported")
        return context.object is not None and RENDER_SIZE_KEY in context.object

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            use_render_size(context.scene.render, context.object)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        context.scene.camera = context.object
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(SLIPCAST_OT_use_camera)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_OT_use_camera)
