"""Start and stop the engine by hand."""
from __future__ import annotations

import bpy

from ...bridge.errors import EngineFailed
from .. import preferences, pump
from .base import SlipcastOperator
from .generate import NO_PYTHON


class SLIPCAST_OT_start_engine(SlipcastOperator):
    """Start the engine now, so that the first job need not wait for it. Generate starts it, too"""

    bl_idname = "slipcast.start_engine"
    bl_label = "Start"
    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if preferences.chosen_python() else NO_PYTHON

    def do(self, context: bpy.types.Context) -> None:
        start_engine()


class SLIPCAST_OT_stop_engine(SlipcastOperator):
    """End the engine, which frees its memory. A job under way is cancelled"""

    bl_idname = "slipcast.stop_engine"
    bl_label = "Stop"

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pump.session().engine in ("starting", "ready") else "The engine is not running"

    def do(self, context: bpy.types.Context) -> None:
        stop_engine()


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
