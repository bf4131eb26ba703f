"""Sentences in a layout that has no line breaks of its own. No bpy."""
from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import bpy

PX_PER_CHARACTER = 6.6   # of Blender's interface font at scale 1
MARGIN_PX = 46           # the panel's own, and the icon
MIN_CHARACTERS = 20
MAX_LINES = 12


def wrap(text: str, width_px: float, ui_scale: float) -> list[str]:
    """Lines that fit a region `width_px` wide; the last one tells when there was more."""
    characters = max(MIN_CHARACTERS, int((width_px / ui_scale - MARGIN_PX) / PX_PER_CHARACTER))
    lines = textwrap.wrap(text, characters, break_long_words=True)
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES - 1], "..."]


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """`text` as labels below each other, `icon` before the first."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = wrap(text, context.region.width, context.preferences.system.ui_scale)
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else ("NONE" if icon == "NONE" else "BLANK1"))
