"""Bake again: colours, normals and occlusion of a detailed mesh onto the active one and its own UVs."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ...bridge.errors import BadFolder, BadSettings, Conflict
from ...bridge.settings import BakeSettings
from ..job import GenerateRequest
from ..properties import knob_properties, path_property, settings_from_properties
from ..scene.busy import busy_words
from ..scene.dressing import BakeTarget
from ..scene.mesh_npz import MESH_LABEL, mesh_npz
from ..scene.originals import kept_original, views_folder_of
from ..scene.rebake import SOLID_TYPES, RebakeSettings, RebakeStep, rebake
from ..scene.results import Placement
from ..scene.undo import push_undo
from ..scene.unwrapping import give_missing_uvs
from .base import SlipcastOperator
from .generate import run_job, why_not_start
from .stepped import SteppedOperator
from .tweak import why_not

SOURCE_ITEMS = (
    ("SELECTED", "Selected", "The other selected objects, or the one that is named below"),
    ("ORIGINAL", "Original", "The mesh as it came from the engine, before it was edited"))
SIZE_ITEMS = tuple((str(side), f"{side} px", f"{side} by {side} pixels") for side in (512, 1024, 2048, 4096, 8192))
BAKE_PROPERTIES = {
    "source": EnumProperty(name="From", items=SOURCE_ITEMS, description="What is baked onto the active mesh"),
    "source_object": StringProperty(
        name="Source", description="Name of the detailed object; empty: all other selected objects"),
    "texture_px": EnumProperty(name="Texture Size", items=SIZE_ITEMS, default="2048",
                               description="Width and height of the new images"),
    "padding_px": IntProperty(name="Padding", default=16, min=0, soft_max=64, max=1024, subtype="PIXEL",
                              description="How far colours reach over the edges of the UV islands"),
    "color": BoolProperty(name="Colour", default=True, description="Bake the base colour, without any light"),
    "normal": BoolProperty(name="Normals", default=True,
                           description="Bake the relief of the source as a tangent space normal map"),
    "occlusion": BoolProperty(name="Occlusion", default=False,
                              description="Bake how much light reaches each place (ambient occlusion)"),
    "distance": FloatProperty(name="Distance", default=0.0, min=0.0, subtype="DISTANCE", unit="LENGTH", precision=4,
                              description="How far the two surfaces are apart at most; 0: found out by measuring"),
    "samples": IntProperty(name="Samples", default=32, min=1, soft_max=256, max=4096,
                           description="Rays a texel of the occlusion: more rays, less noise"),
}


VIEWS_PROPERTIES = {
    "folder": path_property(
        name="Views", options={"SKIP_SAVE"},
        description="Folder with the pictures and their cameras; empty: the one that the mesh was made from"),
    **knob_properties(BakeSettings, options={"SKIP_SAVE"}),
}
PANEL_SOURCE_ITEMS = (*SOURCE_ITEMS, ("VIEWS", "Views", "Pictures with cameras, painted on by the engine"))


class SLIPCAST_PG_rebake(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = {
        **BAKE_PROPERTIES,
        "source": EnumProperty(name="From", items=PANEL_SOURCE_ITEMS, description="What is baked onto the active mesh"),
        "folder": path_property(name="Views", description="Folder with the pictures and their cameras; empty: the "
                                                            "one that the mesh was made from"),
        **{name: made for name, made in knob_properties(BakeSettings).items() if name != "texture_px"},
    }


class SLIPCAST_OT_rebake(SteppedOperator):
    """Bake colours, normals or occlusion of a detailed mesh onto the active mesh and its own UVs, as a new material
    with new images. The mesh stays, and what it wore before is kept"""

    bl_idname = "slipcast.rebake"
    bl_label = "Bake Again"
    bl_options = {"REGISTER", "UNDO"}

    __annotations__ = dict(BAKE_PROPERTIES)

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        busy = busy_words()
        return why_not(context) or (f"Wait for {busy}" if busy else "")

    def start(self, context: bpy.types.Context) -> Iterator[RebakeStep]:
        thing = context.active_object
        sources = [] if self.source == "ORIGINAL" else find_sources(self, context)
        if not sources and kept_original(thing) is None:
            raise BadSettings(*NO_ORIGINAL if self.source == "ORIGINAL" else NO_SOURCE)
        if not sources and self.source != "ORIGINAL":
            raise BadSettings(NO_SOURCE[0], f"{NO_SOURCE[1]} Or bake from its original.")
        return rebake(thing, sources, context, settings_of(self))

    def ending(self, context: bpy.types.Context, last: RebakeStep) -> tuple[set[str], str]:
        assert last.outcome is not None
        told = last.outcome.words()
        names = ", ".join(image.name for image in last.outcome.made.values())
        return {"WARNING" if told else "INFO"}, " ".join([f"Baked {names}.", *told])


class SLIPCAST_OT_rebake_views(SlipcastOperator):
    """Paint the active mesh from pictures with known cameras, at its own UVs. Its shape stays, and what it wore before
    is kept. Blender stays free meanwhile"""

    bl_idname = "slipcast.rebake_views"
    bl_label = "Bake from Views"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own step

    __annotations__ = dict(VIEWS_PROPERTIES)

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        # without a window the engine's words come as an error instead: a script shows no tooltip
        return why_not(context) or ("" if bpy.app.background else why_not_start(context))

    def do(self, context: bpy.types.Context) -> None:
        run_job(views_request(self, context))


def views_request(asked: Any, context: bpy.types.Context) -> GenerateRequest:
    """What the engine is asked for; the mesh gets UVs before, as an undo step of its own, where it has none.

    Raises BadFolder, BadMesh, BadSettings, and Conflict where no job can be started.
    """
    thing = context.active_object
    assert thing is not None
    folder = bpy.path.abspath(asked.folder.strip()) or views_folder_of(thing)
    if not folder:
        raise BadFolder(*NO_VIEWS)
    settings = settings_from_properties(lambda name: getattr(asked, name), BakeSettings)
    why = why_not_start(context)
    if why:
        raise Conflict(f"{why}.")
    content = mesh_npz(thing)
    if give_missing_uvs(thing, UNWRAP_MARGIN):      # only now: what is refused changes nothing
        push_undo(f"Unwrap {thing.name}")
        content = mesh_npz(thing)
    return GenerateRequest(Path(folder).absolute(), settings, Placement(thing.name), context.scene.name, method="bake",
                           inputs={MESH_LABEL: content}, onto=BakeTarget(thing.session_uid, thing.name))


NO_VIEWS = ("No view folder is chosen, and the mesh was not made from one.",
            "Choose the folder that holds the pictures and their cameras.")
UNWRAP_MARGIN = 0.008      # of the texture, between islands: 16 texels of 2048
NO_SOURCE = ("There is nothing to bake from.",
             "Select the detailed mesh, then with Shift the one to bake onto; or name the source.")
NO_ORIGINAL = ("The mesh that the engine made was not kept with this object.",
               "Bake from another object, or get the result again.")


def find_sources(asked: Any, context: bpy.types.Context) -> list[bpy.types.Object]:
    """The named object, else all selected ones but the active. Raises BadSettings for a name that there is not."""
    if not asked.source_object:
        return [thing for thing in context.selected_objects
                if thing != context.active_object and thing.type in SOLID_TYPES]
    found = context.scene.objects.get(asked.source_object)
    if found is None:
        raise BadSettings(f"There is no object {asked.source_object} in this scene.", "Name another source.")
    return [found]


def settings_of(asked: Any) -> RebakeSettings:
    return RebakeSettings(texture_px=int(asked.texture_px), padding_px=asked.padding_px, color=asked.color,
                          normal=asked.normal, occlusion=asked.occlusion, distance=asked.distance,
                          samples=asked.samples)


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_rebake, SLIPCAST_OT_rebake, SLIPCAST_OT_rebake_views)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_rebake = PointerProperty(type=SLIPCAST_PG_rebake)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_rebake  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
