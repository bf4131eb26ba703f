"""Generate and Cancel."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty
from bpy.types import Operator

from ...bridge.errors import BadFolder, BridgeError
from ...bridge.settings import ViewsSettings
from .. import preferences, pump
from ..job import GenerateRequest, Outcome
from ..landing import refuse_script_in_another_mode
from ..properties import addon_properties, knob_properties, path_of, settings_from_properties
from ..scene.results import Placement
from ..terminal import ProgressLines

NO_PYTHON = "The engine has no Python yet: choose it under Preferences > Add-ons > Slipcast"
JOB_RUNS = "A job is under way: wait for it, or cancel it"
NO_JOB = "No job is under way"


class SLIPCAST_OT_generate(Operator):
    """Make a textured mesh from the views. Blender stays free; the object appears when it is done"""

    bl_idname = "slipcast.generate"
    bl_label = "Generate"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own single step

    # what is not given is taken from the panel; never remembered from call to call
    __annotations__ = {**addon_properties(options={"SKIP_SAVE"}),
                       **knob_properties(ViewsSettings, options={"SKIP_SAVE"})}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        # without a window the words come as an error instead: a script shows no tooltip
        why = "" if bpy.app.background else why_not_start(context)
        cls.poll_message_set(why)
        return not why

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            run_job(read_request(self, context))
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class SLIPCAST_OT_cancel(Operator):
    """Stop the job. The scene stays as it is, or keeps the last state of the live mesh"""

    bl_idname = "slipcast.cancel"
    bl_label = "Cancel"
    bl_options = set()   # not UNDO: what is kept comes later, with its own single step

    keep: BoolProperty(name="Keep the Mesh", default=False, options={"SKIP_SAVE"},
                       description="Leave the last state of the live mesh in the scene")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(NO_JOB)
        return pump.session().job is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        pump.session().cancel(self.keep)
        return {"FINISHED"}


def run_job(request: GenerateRequest) -> Outcome | None:
    """Start a job; without a window, wait for its end (None: it goes on). Raises BridgeError."""
    refuse_script_in_another_mode()
    pump.session().generate(request)
    pump.wake()
    if not bpy.app.background:
        return None
    with ProgressLines() as lines:
        return pump.wait_for_job(lines.show)


def why_not_start(context: bpy.types.Context) -> str:
    """Why no job can be started now; "" when one can."""
    if pump.session().job is not None:
        return JOB_RUNS
    return "" if preferences.chosen_python() else NO_PYTHON


def read_request(operator: Operator, context: bpy.types.Context) -> GenerateRequest:
    """What the operator was called with, else what the panel says. Raises BadFolder or BadSettings."""
    read = _reader(operator, context)
    path = path_of(read("folder"))
    if path is None:
        raise BadFolder("No view folder is chosen.", "Choose the folder that holds the pictures and their cameras.")
    scene = context.scene
    placement = Placement(path.name or "Slipcast", tuple(scene.cursor.location), read("target_size"),
                          read("import_cameras"))
    return GenerateRequest(path, settings_from_properties(read), placement, scene.name)


def _reader(operator: Operator, context: bpy.types.Context) -> Callable[[str], Any]:
    given, panel = operator.properties, context.scene.slipcast  # type: ignore[attr-defined]
    return lambda name: getattr(given if given.is_property_set(name) else panel, name)


CLASSES = (SLIPCAST_OT_generate, SLIPCAST_OT_cancel)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
