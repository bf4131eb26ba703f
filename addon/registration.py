"""What is registered with Blender, in order; taken back in the opposite order."""
from __future__ import annotations

from . import cli, preferences, properties, pump
from .operators import engine, errors, generate, rebake, render_size, render_views, tweak
from .panels import main
from .panels import rebake as rebake_panel
from .panels import render_views as views_panel
from .panels import tweak as tweak_panel

MODULES = (preferences, properties, pump, generate, engine, errors, render_size, render_views, tweak, rebake, main,
           views_panel, tweak_panel, rebake_panel, cli)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
