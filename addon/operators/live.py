"""What people do with the live mesh: hide it, keep a state of it, or find it good enough."""
from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent
from bpy.props import BoolProperty

from .. import pending, pump
from ..scene.busy import busy_words
from .base import SlipcastOperator
from .generate import NO_JOB

NO_MESH = "No mesh has come yet: wait until the live mesh appears"


class SLIPCAST_OT_live_visibility(SlipcastOperator):
    """Show or hide the mesh of the running job. A hidden one costs no work; one that was deleted comes back"""

    bl_idname = "slipcast.live_visibility"
    bl_label = "Show Live Mesh"
    bl_options = set()   # not UNDO: it goes on changing whatever an undo would bring back

    visible: BoolProperty(name="Visible", default=True, options={"SKIP_SAVE"},
                          description="Whether the live mesh is seen")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pump.live_mesh().job else NO_JOB

    def do(self, context: bpy.types.Context) -> None:
        pump.live_mesh().show(self.visible)


class SLIPCAST_OT_live_snapshot(SlipcastOperator):
    """Keep the mesh of the running job as it is now, as an object of its own. The job goes on"""

    bl_idname = "slipcast.live_snapshot"
    bl_label = "Keep Snapshot"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        live, busy = pump.live_mesh(), busy_words()
        return NO_JOB if not live.job else NO_MESH if not live.has_mesh else f"Wait for {busy}" if busy else ""

    def do(self, context: bpy.types.Context) -> str:
        made = pump.live_mesh().snapshot()
        return f"Kept as {made.name}"


class SLIPCAST_OT_live_colors(SlipcastOperator):
    """Show colors of vertices, as those of the live mesh, in this viewport's Solid shading; or its own choice again"""

    bl_idname = "slipcast.live_colors"
    bl_label = "Show Colors"
    bl_options = set()   # not UNDO: how a viewport shows things is none of undo's business

    shown: BoolProperty(name="Shown", default=True, options={"SKIP_SAVE"}, description="Whether colors are shown")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_show_colors(context.space_data)

    def do(self, context: bpy.types.Context) -> None:
        context.space_data.shading.color_type = "VERTEX" if self.shown else "MATERIAL"


def why_not_show_colors(space: bpy.types.Space | None) -> str:
    """Why a viewport cannot be told to show colours of vertices; "" when it can."""
    if not isinstance(space, bpy.types.SpaceView3D):
        return "Use it in a 3D viewport"
    if space.shading.type in ("WIREFRAME", "RENDERED"):
        return "The viewport must be in Solid shading"
    return "Material Preview shows them already" if space.shading.type == "MATERIAL" else ""


class SLIPCAST_OT_finish_early(SlipcastOperator):
    """The live mesh is good enough: stop bettering it, and go on to its texture"""

    bl_idname = "slipcast.finish_early"
    bl_label = "Good Enough: Finish from Here"
    bl_options = set()

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        job = pump.session().job
        return NO_JOB if job is None else job.why_not_finish_early

    def do(self, context: bpy.types.Context) -> None:
        pump.session().finish_early()


@persistent
def _after_undo(*_: Any) -> None:
    pending.note(pump.session())     # the step of a landing was pushed while its job was still noted
    live = pump.live_mesh()
    live.after_undo()
    if live.has_stale and not bpy.app.background and not bpy.app.timers.is_registered(_tidy):
        bpy.app.timers.register(_tidy, first_interval=0.0)   # once, when the undo is through


def _tidy() -> None:
    pump.live_mesh().tidy()


CLASSES = (SLIPCAST_OT_live_visibility, SLIPCAST_OT_live_snapshot, SLIPCAST_OT_live_colors,
           SLIPCAST_OT_finish_early)
HANDLERS = (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    for handlers in HANDLERS:
        handlers.append(_after_undo)


def unregister() -> None:
    if bpy.app.timers.is_registered(_tidy):
        bpy.app.timers.unregister(_tidy)
    for handlers in HANDLERS:
        handlers.remove(_after_undo)
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
