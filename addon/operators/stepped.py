"""Operators whose work comes in steps: in a window one step a tick, with a count and Esc; in a script all at once."""
from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol

import bpy

from ...bridge.errors import BridgeError
from .base import SlipcastOperator

TICK_S = 0.05


class Step(Protocol):
    """done of total steps are over; words: what is being done."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def words(self) -> str: ...


class SteppedOperator(SlipcastOperator):
    """Base. A person can do nothing else in Blender meanwhile; what comes from timers waits (scene/busy.py)."""

    _steps: Generator[Any, None, None] | None = None
    _timer: bpy.types.Timer | None = None
    _last: Any = None

    def start(self, context: bpy.types.Context) -> Iterator[Any]:
        """The steps; there may be none. Closing them early must leave everything as it was. Raises BridgeError."""
        raise NotImplementedError

    def ending(self, context: bpy.types.Context, last: Any) -> tuple[set[str], str]:
        """All is done, `last` was the last step (None: there was none): go on. Returns level and words of the report.
        Raises BridgeError."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        last = None
        try:
            for step in self.start(context):
                last = step
            told = self.ending(context, last)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(*told)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._steps = _closable(self.start(context))
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(TICK_S, window=context.window)
        manager.progress_begin(0, 1)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._steps is None:     # Blender calls again after an error that is none of ours
            return {"CANCELLED"}
        if event.type == "ESC":
            return self._end(context, {"WARNING"}, "Cancelled. Everything is as it was.", {"CANCELLED"})
        if event.type != "TIMER":
            return {"RUNNING_MODAL"}
        try:
            step = next(self._steps, None)
            told = self.ending(context, self._last) if step is None else None
        except BridgeError as error:
            return self._end(context, {"ERROR"}, str(error), {"CANCELLED"})
        except BaseException:
            self._leave(context)
            raise
        if told is not None:
            return self._end(context, *told, {"FINISHED"})
        self._last = step
        self._show(context)
        return {"RUNNING_MODAL"}

    def _show(self, context: bpy.types.Context) -> None:
        step: Step = self._last
        context.window_manager.progress_update(step.done / max(1, step.total))
        context.workspace.status_text_set(f"{step.words} ({min(step.done + 1, step.total)} of {step.total})"
                                          "   [Esc] Cancel")

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file is loaded, or the window is closed."""
        self._leave(context)

    def _end(self, context: bpy.types.Context, level: set[str], words: str, result: set[str]) -> set[str]:
        self._leave(context)
        self.report(level, words)
        return result

    def _leave(self, context: bpy.types.Context) -> None:
        if self._steps is not None:
            self._steps.close()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        self._steps = self._timer = None
        context.window_manager.progress_end()
        if context.workspace is not None:
            context.workspace.status_text_set(None)


def _closable(steps: Iterator[Any]) -> Generator[Any, None, None]:
    """The same steps; closing them closes those given, where they can be."""
    yield from steps
