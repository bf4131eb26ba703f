"""Generate and Cancel."""
from __future__ import annotations

import bpy
from bpy.props import BoolProperty
from bpy.types import Operator

from ...bridge.errors import BadFolder
from ...bridge.settings import ViewsSettings
from .. import preferences, pump
from ..job import GenerateRequest, Outcome
from ..landing import refuse_script_in_another_mode
from ..properties import addon_properties, given_or_shown, knob_properties, path_of, settings_from_properties
from ..scene.results import Placement
from ..terminal import ProgressLines
from .base import SlipcastOperator

NO_PYTHON = "The engine has no Python yet: choose it under Preferences > Add-ons > Slipcast"
JOB_RUNS = "A job is under way: wait for it, or cancel it"
NO_JOB = "No job is under way"


class SLIPCAST_OT_generate(SlipcastOperator):
    """Make a textured mesh from the views. Blender stays free; the object appears when it is done"""

    bl_idname = "slipcast.generate"
    bl_label = "Generate"
    bl_options = set()  # not UNDO: starting changes nothing, and the result pushes its own single step

    # what is not given is taken from the panel; never remembered from call to call
    __annotations__ = {**addon_properties(options={"SKIP_SAVE"}),
                       **knob_properties(ViewsSettings, options={"SKIP_SAVE"})}

    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_start(context)

    def do(self, context: bpy.types.Context) -> None:
        run_job(read_request(self, context))


class SLIPCAST_OT_cancel(SlipcastOperator):
    """Stop the job. The scene stays as it is, or keeps the last state of the live mesh"""

    bl_idname = "slipcast.cancel"
    bl_label = "Cancel"
    bl_options = set()   # not UNDO: what is kept comes later, with its own single step

    keep: BoolProperty(name="Keep the Mesh", default=False, options={"SKIP_SAVE"},
                       description="Leave the last state of the live mesh in the scene")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pump.session().job is not None else NO_JOB

    def do(self, context: bpy.types.Context) -> None:
        pump.session().cancel(self.keep)


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
    read = given_or_shown(operator, context.scene.slipcast)  # type: ignore[attr-defined]
    path = path_of(read("folder"))
    if path is None:
        raise BadFolder("No view folder is chosen.", "Choose the folder that holds the pictures and their cameras.")
    scene = context.scene
    placement = Placement(path.name or "Slipcast", tuple(scene.cursor.location), read("target_size"),
                          read("import_cameras"))
    return GenerateRequest(path, settings_from_properties(read), placement, scene.name)


CLASSES = (SLIPCAST_OT_generate, SLIPCAST_OT_cancel)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
