"""What is registered with Blender, in order; taken back in the opposite order."""
from __future__ import annotations

from . import cli, history_view, picture_drop, preferences, properties, pump
from .operators import (
    engine,
    errors,
    generate,
    history,
    live,
    masks,
    models,
    picture,
    picture_mask,
    placing,
    rebake,
    refine,
    render_size,
    render_views,
    tweak,
)
from .panels import history as history_panel
from .panels import live as live_panel
from .panels import main, menu
from .panels import masks as masks_panel
from .panels import models as models_panel
from .panels import picture as picture_panel
from .panels import rebake as rebake_panel
from .panels import refine as refine_panel
from .panels import render_views as views_panel
from .panels import tweak as tweak_panel

MODULES = (preferences, properties, history_view, pump, generate, engine, errors, history, models, picture,
           picture_mask, render_size, render_views, tweak, rebake, masks, live, refine, placing, main, picture_panel,
           live_panel, masks_panel, refine_panel, views_panel, tweak_panel, rebake_panel, history_panel, models_panel,
           picture_drop, menu, cli)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
