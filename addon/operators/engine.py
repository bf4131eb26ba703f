"""Start and stop the engine by hand."""
from __future__ import annotations

import bpy
from bpy.types import Operator

from ...bridge.errors import BridgeError, EngineFailed
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
            start_engine()
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
        stop_engine()
        return {"FINISHED"}


def start_engine() -> None:
    """Without a window, wait until it is ready. Raises EngineNotFound, EngineFailed."""
    session = pump.session()
    session.start_engine()
    pump.wake()
    if bpy.app.background:
        pump.wait_until(lambda: session.engine != "starting")
        if session.engine == "failed":
            raise session.error or EngineFailed(f"The engine could not start: {session.engine_why}.")


def stop_engine() -> None:
    """Without a window, wait until it has ended."""
    pump.session().stop_engine()
    pump.wake()
    if bpy.app.background:
        pump.wait_until(lambda: pump.session().engine in ("off", "failed"))


CLASSES = (SLIPCAST_OT_start_engine, SLIPCAST_OT_stop_engine)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
