"""Generate from one picture: by button, menu, drag and drop, or script."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, FloatProperty, PointerProperty, StringProperty
from bpy.types import Operator, PropertyGroup

from ...bridge.errors import BadImage, BadMasks, BridgeError
from ...bridge.model_messages import ModelInfo
from ...bridge.settings import ImageSettings
from .. import pump
from ..job import GenerateRequest
from ..properties import given_or_shown, knob_properties, path_of, path_property, settings_from_properties
from ..scene.results import Placement
from .base import SlipcastOperator
from .generate import run_job, why_not_start

AUTO, BEST, ALWAYS_THERE = "auto", "triposr", "silhouette"
DIALOG_PX = 380
IN_DIALOG = ("filepath", "mask", "model", "background", "face_budget", "texture_px", "target_size", "import_cameras")
_HIDDEN = {"HIDDEN", "SKIP_SAVE"}


def search_models(owner: Any, context: bpy.types.Context, typed: str) -> Iterable[str]:
    """Names of models, for the text field: those that are known, best first."""
    known = [info.name for info in pump.session().models.models if info.kind == "shape"]
    return [name for name in dict.fromkeys((AUTO, BEST, *known, ALWAYS_THERE)) if typed.lower() in name]


def picture_changed(asked: Any, context: bpy.types.Context) -> None:
    """Another picture: the mask belongs to the one before. And what makes it will be asked next."""
    asked.mask = ""
    session = pump.session()
    if session.engine == "ready" and not session.models.loaded and not session.models.busy:
        session.models.refresh()
        pump.wake()


def picture_properties(changed: Callable[[Any, bpy.types.Context], None] | None = None, **extra: Any) -> dict[str, Any]:
    """Annotations: the picture, its mask, where the result goes, and the knobs of the method. extra: for each of them
    (`options`)."""
    tip = next(knob.metadata["tip"] for knob in dataclasses.fields(ImageSettings) if knob.name == "model")
    return {
        "filepath": path_property(
            "FILE_PATH", name="Picture", update=changed, **extra,
            description="Picture of one object: best whole, a little from above, with nothing in front of it"),
        "mask": path_property(
            "FILE_PATH", name="Mask", **extra,
            description="Picture that is white where the object is. Empty: the object is found by Background"),
        **knob_properties(ImageSettings, **extra),
        "model": StringProperty(name="Model", default=AUTO, description=tip, search=search_models,
                                search_options={"SUGGESTION"}, **extra),
        "target_size": FloatProperty(
            name="Target Size", default=0.0, min=0.0, soft_max=100.0, unit="LENGTH", **extra,
            description="Longest side of the object in the scene. 0: as large as the model makes it, about 1"),
        "import_cameras": BoolProperty(
            name="Import Camera", default=False, **extra,
            description="Also make the camera that is taken for the picture's, with the picture behind it"),
    }


class SLIPCAST_PG_picture(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = picture_properties(picture_changed)


class SLIPCAST_OT_generate_from_picture(SlipcastOperator):
    """Make a textured mesh from one picture. Blender stays free; the object appears when it is done"""

    bl_idname = "slipcast.generate_from_picture"
    bl_label = "Generate from Picture"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own single step

    # what is not given is taken from the panel; never remembered from call to call
    __annotations__ = {
        **picture_properties(options={"SKIP_SAVE"}),
        "directory": StringProperty(subtype="DIR_PATH", options=_HIDDEN, description="Folder of the dropped files"),
        "files": CollectionProperty(type=bpy.types.OperatorFileListElement, options=_HIDDEN,
                                    description="Names of the dropped files; one picture makes one mesh"),
        "filter_image": BoolProperty(default=True, options=_HIDDEN, description="Show images only"),
        "filter_folder": BoolProperty(default=True, options=_HIDDEN, description="Show folders, too")}

    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_start(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            dropped = chosen_file(self.filepath, self.directory, [entry.name for entry in self.files])
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if dropped:
            show_in_panel(self, context, dropped)
            return context.window_manager.invoke_props_dialog(self, width=DIALOG_PX)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        browsing = context.area is not None and context.area.type == "FILE_BROWSER"
        names = IN_DIALOG[2:] if browsing else IN_DIALOG    # what is browsed for is a new picture, without a mask
        draw_choices(self.layout, context.scene.slipcast_picture, names)

    def do(self, context: bpy.types.Context) -> None:
        run_job(read_picture_request(self, context))


def show_in_panel(operator: Operator, context: bpy.types.Context, dropped: str) -> None:
    """From here on the panel says what is asked: a person may choose another picture in the dialog, which shows it."""
    context.scene.slipcast_picture.filepath = dropped  # type: ignore[attr-defined]
    operator.files.clear()  # type: ignore[attr-defined]
    for name in ("filepath", "directory"):
        operator.properties.property_unset(name)  # type: ignore[attr-defined]


def chosen_file(filepath: str, directory: str, names: Sequence[str]) -> str:
    """The one file that was browsed for or dropped; "" without one. Raises BadImage for several."""
    given = [name for name in names if name]
    if len(given) > 1:
        raise BadImage(f"{len(given)} pictures were chosen; one picture makes one mesh.",
                       "Take them one by one. To make one mesh of all of them their cameras are needed: put them into "
                       "a folder with a transforms.json or a COLMAP model, and choose it under Views.")
    if filepath.strip() and Path(filepath).name:
        return filepath
    return str(Path(directory) / given[0]) if given else ""


def draw_choices(layout: bpy.types.UILayout, asked: Any, names: Iterable[str]) -> None:
    """Fields of the picture's settings, in order."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    column = layout.column()
    for name in names:
        column.prop(asked, name)


def chosen_model(asked: Any) -> ModelInfo | None:
    """What is known of the model that the settings name; of "auto", of the one that it prefers."""
    return pump.session().models.find(BEST if asked.model == AUTO else asked.model)


def picture_of(context: bpy.types.Context) -> Path | None:
    """The picture that the panel names; None without one."""
    return path_of(context.scene.slipcast_picture.filepath)  # type: ignore[attr-defined]


def read_picture_request(operator: Operator, context: bpy.types.Context) -> GenerateRequest:
    """What the operator was called with, else what the panel says. Raises BadImage, BadMasks or BadSettings."""
    read = given_or_shown(operator, context.scene.slipcast_picture)  # type: ignore[attr-defined]
    _take_browsed(operator, context)
    picture = path_of(read("filepath"))
    if picture is None:
        raise BadImage("No picture is chosen.", "Choose a PNG, JPEG or WebP file that shows one object.")
    mask = path_of(read("mask"))
    for path, kind in ((picture, BadImage), (mask, BadMasks)):
        if path is not None and not path.is_file():
            raise kind(f"There is no file {path}.", "Choose another one.")
    scene = context.scene
    placement = Placement(picture.stem, tuple(scene.cursor.location), read("target_size"), read("import_cameras"))
    files = {"image": picture} if mask is None else {"image": picture, "mask": mask}
    return GenerateRequest(picture, settings_from_properties(read, ImageSettings), placement, scene.name,
                           method="image", files=files)


def _take_browsed(operator: Any, context: bpy.types.Context) -> None:
    """What a person browsed for is shown in the panel, too, so that its mask can be painted there."""
    browsed = chosen_file(operator.filepath, operator.directory, [entry.name for entry in operator.files])
    asked: Any = context.scene.slipcast_picture  # type: ignore[attr-defined]
    if browsed and operator.options.is_invoke and asked.filepath != browsed:
        asked.filepath = browsed


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_picture, SLIPCAST_OT_generate_from_picture)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_picture = PointerProperty(type=SLIPCAST_PG_picture)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_picture  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
