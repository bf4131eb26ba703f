"""The last error, to paste it into a message to somebody."""
from __future__ import annotations

import bpy

from ...bridge import VERSION
from ...bridge.errors import BridgeError
from .. import pump
from .base import SlipcastOperator


def error_report(error: BridgeError, engine_version: str, devices: tuple[str, ...]) -> str:
    """The error with what one asks first when one gets it by mail."""
    return (f"{error}\n[{error.code}] Slipcast {VERSION}, engine {engine_version or 'not reached'} on "
            f"{', '.join(devices) or 'no device'}, Blender {bpy.app.version_string}")


class SLIPCAST_OT_copy_error(SlipcastOperator):
    """Copy the whole error and the versions of Slipcast, engine and Blender, to paste them into a message"""

    bl_idname = "slipcast.copy_error"
    bl_label = "Copy Diagnostics"

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pump.session().error is not None else "There is no error"

    def do(self, context: bpy.types.Context) -> str:
        session = pump.session()
        assert session.error is not None     # why_not()
        context.window_manager.clipboard = error_report(session.error, session.engine_version, session.devices)
        return "Diagnostics copied"


def register() -> None:
    bpy.utils.register_class(SLIPCAST_OT_copy_error)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_OT_copy_error)
