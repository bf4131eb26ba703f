"""Generate from one picture: by button, by drag and drop, by script."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, PointerProperty, StringProperty
from bpy.types import Operator, PropertyGroup

from ...bridge.errors import BadImage, BadMasks, BridgeError
from ...bridge.model_messages import ModelInfo
from ...bridge.settings import ImageSettings
from .. import preferences, pump
from ..job import GenerateRequest
from ..properties import knob_properties, settings_from_properties
from ..scene.results import Placement
from ..terminal import ProgressLines
from .generate import JOB_RUNS, NO_PYTHON

AUTO, ALWAYS_THERE = "auto", "silhouette"
NO_PICTURE = "Choose a picture first"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def search_models(owner: Any, context: bpy.types.Context, typed: str) -> Iterable[str]:
    """Names of models, for the text field: those that are known, best first."""
    known = [info.name for info in pump.session().models.models if info.kind == "shape"]
    return [name for name in dict.fromkeys((AUTO, *known, ALWAYS_THERE)) if typed.lower() in name]


def picture_properties(**extra: Any) -> dict[str, Any]:
    """Annotations: the picture, its mask, where the result goes, and the knobs of the method."""
    options = extra.get("options", set())
    knobs = knob_properties(ImageSettings, **extra)
    tip = next(knob.metadata["tip"] for knob in dataclasses.fields(ImageSettings) if knob.name == "model")
    return {
        "filepath": StringProperty(name="Picture", subtype="FILE_PATH", description="Picture of one object; best whole, "
                                   "seen a little from above, with nothing in front of it", options=options),
        "mask": StringProperty(name="Mask", subtype="FILE_PATH", options=options,
                               description="Picture that is white where the object is; empty: the object is found"),
        **knobs,
        "model": StringProperty(name="Model", default=AUTO, description=tip, search=search_models, options=options,
                                search_options={"SUGGESTION"}),
        "target_size": FloatProperty(name="Target Size", default=0.0, min=0.0, soft_max=100.0, unit="LENGTH",
                                     description="Longest side of the object in the scene. 0: as large as it comes",
                                     options=options),
        "import_cameras": BoolProperty(name="Import Camera", default=False, options=options,
                                       description="Also make the camera that the model believes took the picture"),
    }


class SLIPCAST_PG_picture(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = picture_properties()


class SLIPCAST_OT_generate_from_picture(Operator):
    """Make a textured mesh from one picture. Blender stays free; the object appears when it is done"""

    bl_idname = "slipcast.generate_from_picture"
    bl_label = "Generate from Picture"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own single step

    # what is not given is taken from the panel; never remembered from call to call
    __annotations__ = picture_properties(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        # without a window the words come as an error instead: a script shows no tooltip
        why = "" if bpy.app.background else why_not_now()
        cls.poll_message_set(why)
        return not why

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.properties.is_property_set("filepath"):     # dropped onto the viewport
            context.scene.slipcast_picture.filepath = self.filepath
        return context.window_manager.invoke_props_dialog(self, width=360)

    def draw(self, context: bpy.types.Context) -> None:
        draw_choices(self.layout, context.scene.slipcast_picture, ("filepath", "model", "face_budget"))

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            pump.session().generate(read_picture_request(self, context))
            pump.wake()
            if bpy.app.background:
                with ProgressLines() as lines:
                    pump.wait_for_job(lines.show)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def why_not_now() -> str:
    """Why no job can be started; "" when one can."""
    if pump.session().job is not None:
        return JOB_RUNS
    return "" if preferences.chosen_python() else NO_PYTHON


def draw_choices(layout: bpy.types.UILayout, asked: Any, names: Iterable[str]) -> None:
    """Fields of the picture's settings, in order."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    column = layout.column()
    for name in names:
        column.prop(asked, name)


def chosen_model(asked: Any) -> ModelInfo | None:
    """What is known of the model that the settings name; of "auto", of the one that it prefers."""
    return pump.session().models.find("triposr" if asked.model == AUTO else asked.model)


def read_picture_request(operator: Operator, context: bpy.types.Context) -> GenerateRequest:
    """What the operator was called with, else what the panel says. Raises BadImage, BadMasks or BadSettings."""
    read = _reader(operator, context)
    picture = _file(read("filepath"))
    if picture is None:
        raise BadImage("No picture is chosen.", "Choose a PNG, JPEG or WebP file that shows one object.")
    mask = _file(read("mask"))
    for path, kind in ((picture, BadImage), (mask, BadMasks)):
        if path is not None and not path.is_file():
            raise kind(f"There is no file {path}.", "Choose another one.")
    scene = context.scene
    placement = Placement(picture.stem or "Picture", tuple(scene.cursor.location), read("target_size"),
                          read("import_cameras"))
    files = {"image": picture} if mask is None else {"image": picture, "mask": mask}
    return GenerateRequest(picture, settings_from_properties(read, ImageSettings), placement, scene.name, "image",
                           files=files)


def _file(text: str) -> Path | None:
    return Path(bpy.path.abspath(text.strip())).absolute() if text.strip() else None


def _reader(operator: Operator, context: bpy.types.Context) -> Callable[[str], Any]:
    given, panel = operator.properties, context.scene.slipcast_picture  # type: ignore[attr-defined]
    return lambda name: getattr(given if given.is_property_set(name) else panel, name)


def _drop_handler() -> tuple[type, ...]:
    """What takes pictures that are dropped onto the viewport; none where Blender has no such thing (before 4.1)."""
    if not hasattr(bpy.types, "FileHandler"):
        return ()

    class SLIPCAST_FH_picture(bpy.types.FileHandler):
        bl_idname = "SLIPCAST_FH_picture"
        bl_label = "Slipcast: Generate from Picture"
        bl_import_operator = "slipcast.generate_from_picture"
        bl_file_extensions = ";".join(PICTURE_SUFFIXES)

        @classmethod
        def poll_drop(cls, context: bpy.types.Context) -> bool:
            return context.area is not None and context.area.type == "VIEW_3D"

    return (SLIPCAST_FH_picture,)


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_picture, SLIPCAST_OT_generate_from_picture, *_drop_handler())


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_picture = PointerProperty(type=SLIPCAST_PG_picture)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_picture  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
