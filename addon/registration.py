"""What is registered with Blender, in order; taken back in the opposite order."""
from __future__ import annotations

from . import cli, preferences, properties, pump
from .operators import engine, errors, generate, masks, rebake, render_size, render_views, tweak
from .panels import main
from .panels import masks as masks_panel
from .panels import rebake as rebake_panel
from .panels import render_views as views_panel
from .panels import tweak as tweak_panel

MODULES = (preferences, properties, pump, generate, engine, errors, render_size, render_views, tweak, rebake, masks,
           main, masks_panel, views_panel, tweak_panel, rebake_panel, cli)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
