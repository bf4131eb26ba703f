"""Fetch, check and remove the weights of models."""
from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from ...bridge.errors import BadSettings, NoNetwork
from ...bridge.model_messages import ModelInfo
from .. import preferences, pump
from ..models import ModelDesk, licence_words, need_words
from ..panels.text import draw_text
from ..properties import path_of
from .base import SlipcastOperator
from .generate import NO_PYTHON

OFFLINE = "Online access is off: allow it under Preferences > System > Network, or give the file yourself"
TASK_RUNS = "Something is being done with a model already: wait for it, or cancel it"
NO_TASK = "Nothing is being done with a model"
_MODEL = StringProperty(name="Model", description="Its short name, for example triposr", options={"SKIP_SAVE"})


class _ModelOperator(SlipcastOperator):
    """Base: asks the desk of the models."""

    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        if not preferences.chosen_python():
            return NO_PYTHON
        return TASK_RUNS if pump.session().models.task is not None else ""

    def do(self, context: bpy.types.Context) -> None:
        pump.session().start_engine()
        self.ask(pump.session().models)
        pump.finish(pump.session().models)

    def ask(self, desk: ModelDesk) -> None:
        raise NotImplementedError


class SLIPCAST_OT_refresh_models(_ModelOperator):
    """Look which models there are and which are on this computer. Starts the engine if need be"""

    bl_idname = "slipcast.refresh_models"
    bl_label = "Show Models"

    def ask(self, desk: ModelDesk) -> None:
        desk.refresh()


class SLIPCAST_OT_fetch_model(_ModelOperator):
    """Download a model from its author. One that broke off goes on; the file is compared with what was published"""

    bl_idname = "slipcast.fetch_model"
    bl_label = "Download"

    model: _MODEL
    accept_licence: BoolProperty(name="I have read the licence and accept it", options={"SKIP_SAVE"},
                                 description="Needed where the licence forbids commercial use")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return super().why_not(context) or ("" if is_online() else OFFLINE)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=420)

    def draw(self, context: bpy.types.Context) -> None:
        info = pump.session().models.find(self.model)
        if info is not None:
            draw_facts(self.layout, context, info)
            if info.non_commercial:
                self.layout.prop(self, "accept_licence")

    def ask(self, desk: ModelDesk) -> None:
        if not is_online():
            raise NoNetwork("Blender's online access is off.",
                            "Allow it under Preferences > System > Network, or give the file yourself.")
        check_licence(desk.find(self.model), self.accept_licence)
        desk.fetch(self.model, mirror=preferences.models_mirror(), accept_licence=self.accept_licence)


class SLIPCAST_OT_adopt_model(_ModelOperator):
    """Take the file of a model that is on this computer already. It is compared with what was published, and copied"""

    bl_idname = "slipcast.adopt_model"
    bl_label = "Use a Local File"

    model: _MODEL
    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"},
                             description="The model's file, or the folder of its files")
    accept_licence: BoolProperty(name="I have read the licence and accept it", options={"SKIP_SAVE"},
                                 description="Needed where the licence forbids commercial use")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        info = pump.session().models.find(self.model)
        if info is not None and info.non_commercial:
            self.layout.label(text=licence_words(info), icon="ERROR")
            self.layout.prop(self, "accept_licence")

    def ask(self, desk: ModelDesk) -> None:
        given = path_of(self.filepath)
        if given is None:
            raise BadSettings("No file is chosen.", "Choose the model's file.")
        check_licence(desk.find(self.model), self.accept_licence)
        desk.fetch(self.model, place=str(given), offline=True,
                   accept_licence=self.accept_licence)


class SLIPCAST_OT_verify_model(_ModelOperator):
    """Read the model's files and compare them with what its author published"""

    bl_idname = "slipcast.verify_model"
    bl_label = "Check"

    model: _MODEL

    def ask(self, desk: ModelDesk) -> None:
        desk.verify(self.model)


class SLIPCAST_OT_remove_model(_ModelOperator):
    """Delete the model's files from this computer. They can be downloaded again"""

    bl_idname = "slipcast.remove_model"
    bl_label = "Remove Model"

    model: _MODEL

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def ask(self, desk: ModelDesk) -> None:
        desk.remove(self.model)


class SLIPCAST_OT_cancel_fetch(SlipcastOperator):
    """Stop what is done with a model. What was downloaded is kept"""

    bl_idname = "slipcast.cancel_fetch"
    bl_label = "Cancel"
    bl_options = set()

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pump.session().models.task is not None else NO_TASK

    def do(self, context: bpy.types.Context) -> None:
        pump.session().models.cancel()
        pump.wake()


def is_online() -> bool:
    """Whether Blender's preferences allow add-ons to go online."""
    return bool(bpy.app.online_access)


def check_licence(info: ModelInfo | None, accepted: bool) -> None:
    """Raises BadSettings where the licence forbids commercial use and nobody has accepted it."""
    if info is not None and info.non_commercial and not accepted:
        raise BadSettings(f"The licence of {info.title} ({info.licence}) forbids commercial use.",
                          f"Read {info.licence_url}, and accept it.")


def draw_facts(layout: bpy.types.UILayout, context: bpy.types.Context, info: ModelInfo) -> None:
    """What a person should know before a download."""
    draw_text(layout, context, info.title, "OUTLINER_DATA_MESH")
    draw_text(layout, context, licence_words(info), "ERROR" if info.non_commercial else "TEXT")
    draw_text(layout, context, need_words(info), "INFO")
    if info.note:
        draw_text(layout, context, info.note)
    layout.operator("wm.url_open", text="Read the Licence", icon="URL").url = info.licence_url


CLASSES: tuple[Any, ...] = (SLIPCAST_OT_refresh_models, SLIPCAST_OT_fetch_model, SLIPCAST_OT_adopt_model,
                            SLIPCAST_OT_verify_model, SLIPCAST_OT_remove_model, SLIPCAST_OT_cancel_fetch)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
