"""Place a result by a camera."""
from __future__ import annotations

import bpy
from bpy.props import BoolProperty, StringProperty

from ...bridge.errors import BadCameras
from ..scene.originals import CAMERAS_KEY
from ..scene.placing import place_by_camera
from .base import OBJECT_MODE_FIRST, SlipcastOperator


class SLIPCAST_OT_place_by_camera(SlipcastOperator):
    """Put the result where a camera of the scene sees it as its picture does, so that the render lines up with it"""

    bl_idname = "slipcast.place_by_camera"
    bl_label = "Place by Camera"
    bl_options = {"REGISTER", "UNDO"}

    camera: StringProperty(name="Camera", description="The camera to place it before. Empty: the scene's")
    view: StringProperty(name="View", description="The view that the camera stands for. Empty: the one named like the "
                                                  "camera or the picture behind it, or the only one")
    match_lens: BoolProperty(name="Match Lens", default=False,
                             description="Also give the camera the lens of the view, and the render its picture size")
    keep_size: BoolProperty(name="Keep Size", default=True,
                            description="Keep the object as large as it is; it comes nearer or goes farther instead")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_place(context)

    def do(self, context: bpy.types.Context) -> str:
        camera = context.scene.objects.get(self.camera) if self.camera else context.scene.camera
        if camera is None or camera.type != "CAMERA":
            raise BadCameras(f"There is no camera {self.camera}." if self.camera else "The scene has no camera.",
                             "Choose a camera of the scene.")
        placed = place_by_camera(context.active_object, camera, context.scene, self.view, self.match_lens,
                                 self.keep_size)
        hint = "" if placed.exact else ". The lenses differ: Match Lens makes all of it line up"
        return f"Placed as in {placed.view}{hint}"


def why_not_place(context: bpy.types.Context) -> str:
    """Why nothing can be placed now; "" when it can."""
    thing = context.active_object
    if thing is None or CAMERAS_KEY not in thing:
        return "Select a result of Slipcast"
    if context.mode != "OBJECT":
        return OBJECT_MODE_FIRST
    return "" if any(each.type == "CAMERA" for each in context.scene.objects) else "Add a camera to the scene first"


def register() -> None:
    bpy.utils.register_class(SLIPCAST_OT_place_by_camera)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_OT_place_by_camera)
