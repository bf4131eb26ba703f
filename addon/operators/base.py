"""What all operators have in common: a button says why it is grey, and an error becomes a report."""
from __future__ import annotations

import bpy
from bpy.types import Operator

from ...bridge.errors import BridgeError

OBJECT_MODE_FIRST = "Go to Object Mode first"


class SlipcastOperator(Operator):
    """Base: a subclass says why_not() it can be used, and does what it does in do()."""

    bl_options = set()
    by_error = False     # without a window what is missing comes as an error of do(): a script shows no tooltip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        why = "" if cls.by_error and bpy.app.background else cls.why_not(context)
        cls.poll_message_set(why)
        return not why

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        """Why it cannot be used now; "" when it can."""
        return ""

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            words = self.do(context)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if words:
            self.report({"INFO"}, words)
        return {"FINISHED"}

    def do(self, context: bpy.types.Context) -> str | None:
        """Do it; returns what was done, for the status bar, or nothing. Raises BridgeError."""
        raise NotImplementedError
