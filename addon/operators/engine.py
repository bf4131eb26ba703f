"""Start and stop the engine by hand."""
from __future__ import annotations

import bpy
from bpy.types import Operator

from ...bridge.errors import BridgeError
from .. import preferences, pump
from .generate import NO_PYTHON


class SLIPCAST_OT_start_engine(Operator):
    """Start the engine now, so that the first job need not wait for it. Generate starts it, too"""

    bl_idname = "slipcast.start_engine"
    bl_label = "Start"
    bl_options = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(NO_PYTHON)
        return bpy.app.background or bool(preferences.chosen_python())

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            pump.session().start_engine()
            pump.wake()
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class SLIPCAST_OT_stop_engine(Operator):
    """End the engine, which frees its memory. A job under way is cancelled"""

    bl_idname = "slipcast.stop_engine"
    bl_label = "Stop"
    bl_options = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("The engine is not running")
        return pump.session().engine in ("starting", "ready")

    def execute(self, context: bpy.types.Context) -> set[str]:
        pump.session().stop_engine()
        pump.wake()
        return {"FINISHED"}


CLASSES = (SLIPCAST_OT_start_engine, SLIPCAST_OT_stop_engine)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
