"""The last error, to paste it into a message to somebody."""
from __future__ import annotations

import bpy
from bpy.types import Operator

from ...bridge import VERSION
from ...bridge.errors import BridgeError
from .. import pump


def error_report(error: BridgeError, engine_version: str, devices: tuple[str, ...]) -> str:
    """The error with what one asks first when one gets it by mail."""
    return (f"{error}\n[{error.code}] Slipcast {VERSION}, engine {engine_version or 'not reached'} on "
            f"{', '.join(devices) or 'no device'}, Blender {bpy.app.version_string}")


class SLIPCAST_OT_copy_error(Operator):
    """Copy the whole error and the versions of Slipcast, engine and Blender, to paste them into a message"""

    bl_idname = "slipcast.copy_error"
    bl_label = "Copy Diagnostics"
    bl_options = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("There is no error")
        return pump.session().error is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        session = pump.session()
        if session.error is None:
            return {"CANCELLED"}
        context.window_manager.clipboard = error_report(session.error, session.engine_version, session.devices)
        self.report({"INFO"}, "Diagnostics copied")
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(SLIPCAST_OT_copy_error)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_OT_copy_error)
