"""Refine the active mesh against pictures, or make a mesh from nothing from the same ones; compare before and after."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ...bridge.errors import BadMesh, BadSettings, Conflict
from ...bridge.settings import RefineMeshSettings, ViewsSettings
from .. import preferences, pump
from ..job import GenerateRequest
from ..properties import given_or_shown, knob_properties, settings_from_properties
from ..scene.busy import busy_words
from ..scene.mesh_npz import MESH_LABEL
from ..scene.refine_source import RefineSource, SourceWishes, read_source, symmetry_of
from ..scene.refined import other_state, swap_before_after
from ..scene.results import Placement
from ..scene.scenes import find_object
from ..scene.targets import TargetProgress
from .base import OBJECT_MODE_FIRST, SlipcastOperator
from .generate import JOB_RUNS, NO_PYTHON, run_job
from .scene_targets import RENDERED, chosen_subject, start_targets, target_properties
from .stepped import SteppedOperator

NEEDS_MESH = "Select the mesh that is to be refined"
MODIFIER_ITEMS = (("APPLY", "Apply", "The mesh as its modifiers show it is refined; they are gone afterwards"),
                  ("KEEP", "Keep", "They stay: at work where the faces are kept, else switched off"))
MATERIAL_ITEMS = (("KEEP", "Keep", "Slots stay as they are; the new colours are in an image of the file"),
                  ("NEW", "New", "One material with the new colours"))
WEIGHT_ITEMS = (("NONE", "Everything", "All of the mesh may move"),
                ("GROUP", "Vertex Group", "As far as the group weighs a vertex: 0 stays, 1 is free"),
                ("MASK", "Sculpt Mask", "What is masked in Sculpt Mode stays"))
SYMMETRY_ITEMS = (("MESH", "As the Mesh", "The mesh's own symmetry setting, as in Sculpt Mode"),
                  ("NONE", "None", "Both sides on their own"),
                  *((axis, axis, f"Both sides of the object's {axis} axis stay alike") for axis in "XYZ"))
REPLACED = ("weights", "symmetry")     # settings of the engine that Blender knows better how to ask for


def refine_properties(**extra: Any) -> dict[str, Any]:
    """Annotations for all that Refine can be asked for."""
    knobs = {name: made for name, made in knob_properties(RefineMeshSettings, **extra).items() if name not in REPLACED}
    return {
        **target_properties(**extra), **knobs,
        "modifiers": EnumProperty(name="Modifiers", items=MODIFIER_ITEMS, description="What becomes of them", **extra),
        "material": EnumProperty(name="Materials", items=MATERIAL_ITEMS,
                                 description="What becomes of the materials where the faces are kept", **extra),
        "weights": EnumProperty(name="May Move", items=WEIGHT_ITEMS, description="What of the mesh may move", **extra),
        "vertex_group": StringProperty(name="Vertex Group", description="Empty: the active one", **extra),
        "symmetry": EnumProperty(name="Symmetry", items=SYMMETRY_ITEMS, description="What stays alike", **extra)}


class SLIPCAST_PG_refine(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = refine_properties()


def _why_not(context: bpy.types.Context) -> str:
    if pump.session().job is not None:
        return JOB_RUNS
    if context.mode != "OBJECT":
        return OBJECT_MODE_FIRST
    busy = busy_words()
    if busy:
        return f"Wait for {busy}"
    return "" if preferences.chosen_python() else NO_PYTHON


def why_not_refine(context: bpy.types.Context) -> str:
    """Why nothing can be refined now; "" when it can."""
    thing = context.active_object
    if thing is None or thing.type != "MESH":
        return NEEDS_MESH
    if thing.library is not None or thing.data.library is not None:  # type: ignore[union-attr]
        return "This mesh comes from another file: make it local first"
    return _why_not(context)


class _TargetJob(SteppedOperator):
    """Base: views first, then a job of the engine on them."""

    _begin: Callable[[], GenerateRequest] | None = None

    def ending(self, context: bpy.types.Context, last: TargetProgress | None) -> tuple[set[str], str]:
        if pump.session().job is not None:
            raise Conflict("A job was begun while the views were rendered.", "Wait for it, or cancel it.")
        assert self._begin is not None
        request = self._begin()
        run_job(request)
        return {"INFO"}, f"{request.placement.name}: sent to the engine"


class SLIPCAST_OT_refine(_TargetJob):
    """Fit the active mesh to pictures: renders of anything in the scene, photos behind cameras, or a view folder.
    Blender stays free; the mesh changes when it is done, as one undo step"""

    bl_idname = "slipcast.refine"
    bl_label = "Refine Mesh"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own single step

    __annotations__ = refine_properties(options={"SKIP_SAVE"})

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_refine(context)

    def start(self, context: bpy.types.Context) -> Iterator[TargetProgress]:
        read, thing = given_or_shown(self, context.scene.slipcast_refine), context.active_object
        if read("targets") in RENDERED and chosen_subject(read) == thing:
            raise BadSettings(f"{thing.name} would be matched with itself.", "Choose another object to match.")
        settings = refine_settings(read, thing.data)
        wishes = SourceWishes(settings.keep_topology, read("modifiers"), read("weights"), read("vertex_group"),
                              read("material"), in_views=read("targets") == "FOLDER")
        source, content = read_source(thing, wishes)
        folder, views = start_targets(read, context)
        scene_name = context.scene.name
        self._begin = lambda: refine_request(folder, settings, source, content, scene_name)
        return views


class SLIPCAST_OT_generate_from_scene(_TargetJob):
    """Make a textured mesh from nothing that looks like something in the scene: a sculpt, hair, a volume, instances.
    It stands where that stands"""

    bl_idname = "slipcast.generate_from_scene"
    bl_label = "Make a Mesh of It"
    bl_options = set()

    __annotations__ = {**target_properties(options={"SKIP_SAVE"}),
                       **knob_properties(ViewsSettings, options={"SKIP_SAVE"})}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return _why_not(context)

    def start(self, context: bpy.types.Context) -> Iterator[TargetProgress]:
        read = given_or_shown(self, context.scene.slipcast_refine)
        settings = settings_from_properties(given_or_shown(self, context.scene.slipcast))
        name = chosen_subject(read).name if read("targets") in RENDERED else context.scene.name
        folder, views = start_targets(read, context)
        scene_name = context.scene.name
        placement = Placement(f"{name} Slipcast", in_place=True)
        self._begin = lambda: GenerateRequest(folder, settings, placement, scene_name)
        return views


class SLIPCAST_OT_before_after(SlipcastOperator):
    """Show the mesh as it was before it was refined or tweaked, or looked before a bake, and again as it is now"""

    bl_idname = "slipcast.before_after"
    bl_label = "Before / After"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return (OBJECT_MODE_FIRST if context.mode != "OBJECT" else
               "" if other_state(context.active_object) is not None else
               "Select a mesh that was refined or baked onto, or a result that was tweaked")

    def do(self, context: bpy.types.Context) -> str:
        before = swap_before_after(context.active_object)
        return f"{context.active_object.name}: {'before' if before else 'after'}"


def refine_settings(read: Callable[[str], Any], mesh: bpy.types.Mesh) -> RefineMeshSettings:
    """Raises BadSettings."""
    symmetry = read("symmetry")
    ours = {"weights": RefineMeshSettings.weights,
            "symmetry": symmetry_of(mesh) if symmetry == "MESH" else symmetry.lower()}
    return settings_from_properties(lambda name: ours[name] if name in ours else read(name), RefineMeshSettings)


def refine_request(folder: Path, settings: RefineMeshSettings, source: RefineSource, content: bytes,
                   scene_name: str) -> GenerateRequest:
    """The job. Raises BadMesh when the object has gone meanwhile."""
    if find_object(source.object_uid) is None:
        raise BadMesh(f"{source.object_name} is not there any more.", "Refine another mesh.")
    return GenerateRequest(folder, settings, Placement(source.object_name, in_place=True), scene_name, method="refine",
                           inputs={MESH_LABEL: content}, refined=source)


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_refine, SLIPCAST_OT_refine, SLIPCAST_OT_generate_from_scene,
                            SLIPCAST_OT_before_after)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_refine = PointerProperty(type=SLIPCAST_PG_refine)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_refine  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
