"""What is registered with Blender, in order; taken back in the opposite order."""
from __future__ import annotations

from . import cli, preferences, properties, pump
from .operators import engine, errors, generate, live, placing, refine, render_size, render_views, tweak
from .panels import live as live_panel
from .panels import main
from .panels import refine as refine_panel
from .panels import render_views as views_panel
from .panels import tweak as tweak_panel

MODULES = (preferences, properties, pump, generate, engine, errors, render_size, render_views, tweak, live, refine,
           placing, main, live_panel, refine_panel, views_panel, tweak_panel, cli)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
