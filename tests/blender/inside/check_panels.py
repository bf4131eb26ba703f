"""Panels hand on what they show, and say what is so."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bpy
from bl_ext.user_default.slipcast.addon.panels import rebake


class Layout:
    """Takes what a panel draws: words, and the operators with what they are given."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.buttons: dict[str, Any] = {}
        self.box = self.row = self.column = lambda **_: self

    def label(self, text: str = "", icon: str = "NONE") -> None:
        self.words.append(text)

    def operator(self, name: str, **_: Any) -> Any:
        self.buttons[name] = SimpleNamespace()
        return self.buttons[name]


def test_bake_from_views_gets_all_that_its_panel_shows():
    asked = bpy.context.scene.slipcast_rebake
    asked.source, asked.folder, asked.quality, asked.texture_px, asked.even_light = "VIEWS", "/v", "high", "8192", False
    layout = Layout()
    rebake.draw_rebake(layout, bpy.context)
    given = vars(layout.buttons["slipcast.rebake_views"])
    assert given == {"folder": "/v", "quality": "high", "texture_px": "4096", "even_light": False}   # its largest
