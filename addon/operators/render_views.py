"""Render a part of the scene into a folder of views."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ...bridge.errors import BadOutput, BadSettings
from ..properties import path_of, path_property
from ..scene.busy import busy_words
from ..scene.orbit import FEWEST_VIEWS, HIGHEST_DEG, LOWEST_DEG, MOST_VIEWS
from ..scene.targets import LARGEST_PX, TargetProgress, TargetSettings, render_targets
from .base import OBJECT_MODE_FIRST
from .stepped import SteppedOperator

NOTHING_CHOSEN = "Select an object, or name a collection, to render"

ENGINE_ITEMS = (("CYCLES", "Cycles", "As in a final render"), ("EEVEE", "EEVEE", "Fast with a graphics card"),
                ("WORKBENCH", "Workbench", "The solid view: no materials' light"))
SOURCE_ITEMS = (("ORBIT", "Orbit", "Cameras placed all around it, evenly"),
                ("CAMERAS", "Scene Cameras", "Every perspective camera of the scene"))
LIGHTING_ITEMS = (("SCENE", "Scene", "The scene's lights and world"),
                  ("EVEN", "Even", "White light from everywhere, so that colours hold no shadows of lamps"))


def render_properties(count: int, samples: int, lighting: str, **extra: Any) -> dict[str, Any]:
    """Annotations for all of TargetSettings but its source. count, samples, lighting: defaults. extra: for each of
    them (`options`)."""
    return {
        "count": IntProperty(name="Views", default=count, min=FEWEST_VIEWS, max=MOST_VIEWS,
                             description="Views of the orbit", **extra),
        "resolution": IntProperty(name="Resolution", default=512, min=0, max=LARGEST_PX, subtype="PIXEL",
                                  description="Longer side of a picture; 0: as the scene renders", **extra),
        "engine": EnumProperty(name="Engine", items=ENGINE_ITEMS, description="What renders the colour", **extra),
        "samples": IntProperty(name="Samples", default=samples, min=0,
                               description="Rays a pixel; 0: as the scene renders", **extra),
        "lighting": EnumProperty(name="Light", items=LIGHTING_ITEMS, default=lighting,
                                 description="What it is lit by; Even keeps lamps out of the colours", **extra),
        "lens_mm": FloatProperty(name="Lens", default=50.0, min=5.0, max=500.0, subtype="DISTANCE_CAMERA",
                                 unit="CAMERA", description="Focal length of the orbit's cameras", **extra),
        "lowest_deg": FloatProperty(name="Lowest", default=LOWEST_DEG, min=-89.0, max=89.0,
                                    description="Degrees above the horizon of the lowest camera of the orbit",
                                    **extra),
        "highest_deg": FloatProperty(name="Highest", default=HIGHEST_DEG, min=-89.0, max=89.0,
                                     description="Degrees above the horizon of the highest camera of the orbit",
                                     **extra),
    }


def read_target_settings(read: Callable[[str], Any], source: str) -> TargetSettings:
    """What the render properties say."""
    knobs = (knob.name for knob in dataclasses.fields(TargetSettings) if knob.name != "source")
    return TargetSettings(source=source, **{name: read(name) for name in knobs})


VIEW_PROPERTIES = {
    "folder": path_property(name="Folder", description="Where the views are written"),
    "collection": StringProperty(
        name="Collection", description="What is rendered; empty: the active object and what is parented to it"),
    "source": EnumProperty(name="Cameras", items=SOURCE_ITEMS, description="Where the views are taken from"),
    **render_properties(count=24, samples=0, lighting="SCENE"),
}


class SLIPCAST_PG_views(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = dict(VIEW_PROPERTIES)


class SLIPCAST_OT_render_views(SteppedOperator):
    """Render an object or a collection from all sides into a folder of views: colour, alpha, depth and normals.
    Everything else is left out, and the scene stays as it is"""

    bl_idname = "slipcast.render_views"
    bl_label = "Render Views"
    bl_options = {"REGISTER"}   # nothing in the file changes, so there is nothing to undo

    __annotations__ = dict(VIEW_PROPERTIES)

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        busy = busy_words()
        return OBJECT_MODE_FIRST if context.mode != "OBJECT" else f"Wait for {busy}" if busy else ""

    def start(self, context: bpy.types.Context) -> Iterator[TargetProgress]:
        return start_views(self, context)

    def ending(self, context: bpy.types.Context, last: TargetProgress) -> tuple[set[str], str]:
        return {"INFO"}, f"{last.total} views written to {self.folder}"


def start_views(operator: SLIPCAST_OT_render_views, context: bpy.types.Context) -> Iterator[TargetProgress]:
    """The renders that the operator asks for, one a step. Raises BadSettings, BadOutput."""
    folder = path_of(operator.folder)
    if folder is None:
        raise BadOutput("No folder is chosen.", "Choose the folder that the views are written to.")
    subject = bpy.data.collections.get(operator.collection) if operator.collection else context.active_object
    if subject is None:
        raise BadSettings(f"There is no collection {operator.collection}." if operator.collection
                          else "No object is active.", f"{NOTHING_CHOSEN}.")
    settings = read_target_settings(lambda name: getattr(operator, name), operator.source)
    return render_targets(context.scene, context.view_layer, subject, folder, settings)


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_views, SLIPCAST_OT_render_views)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_views = PointerProperty(type=SLIPCAST_PG_views)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_views  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
