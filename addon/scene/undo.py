"""Undo steps from where there is no operator that would push them: timers, and Blender without a window."""
from __future__ import annotations

import bpy


def push_undo(message: str) -> None:
    """One step named `message`."""
    windows = bpy.context.window_manager.windows
    if bpy.context.window is None and len(windows):  # as in a timer
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=message)
    else:
        bpy.ops.ed.undo_push(message=message)
