"""Operators that render views one by one: in a window between two looks at the mouse, without one in a row."""
from __future__ import annotations

from collections.abc import Iterator

import bpy
from bpy.types import Operator

from ...bridge.errors import BridgeError
from ..scene.targets import TargetProgress

TICK_S = 0.05


class ViewSteps(Operator):
    """Base: `start` says what is rendered, `done` what becomes of it."""

    _views: Iterator[TargetProgress] | None = None
    _timer: bpy.types.Timer | None = None
    _count = 0

    def start(self, context: bpy.types.Context) -> Iterator[TargetProgress]:
        """The renders, one a step. Raises BridgeError when they cannot begin."""
        raise NotImplementedError

    def done(self, context: bpy.types.Context, views: int) -> str:
        """All are rendered: go on; returns what is told. Raises BridgeError."""
        raise NotImplementedError

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._views = self.start(context)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(TICK_S, window=context.window)
        context.window_manager.progress_begin(0, 1)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC":
            return self._end(context, {"WARNING"}, "Cancelled. No views were written.", {"CANCELLED"})
        if event.type != "TIMER" or self._views is None:
            return {"RUNNING_MODAL"}
        try:
            at = next(self._views, None)
            if at is None:
                return self._end(context, {"INFO"}, self.done(context, self._count), {"FINISHED"})
        except (BridgeError, RuntimeError) as error:   # RuntimeError: Blender's own render said no
            return self._end(context, {"ERROR"}, str(error), {"CANCELLED"})
        self._count = at.total
        context.window_manager.progress_update(at.done / at.total)
        context.workspace.status_text_set(f"View {at.done} of {at.total} rendered   [Esc] Cancel")
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            words = self.done(context, sum(1 for _ in self.start(context)))
        except (BridgeError, RuntimeError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, words)
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file is loaded, or the window is closed."""
        self._leave(context)

    def _end(self, context: bpy.types.Context, level: set[str], words: str, result: set[str]) -> set[str]:
        self._leave(context)
        self.report(level, words)
        return result

    def _leave(self, context: bpy.types.Context) -> None:
        if self._views is not None:
            self._views.close()  # type: ignore[attr-defined]
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        self._views = self._timer = None
        context.window_manager.progress_end()
        if context.workspace is not None:
            context.workspace.status_text_set(None)
