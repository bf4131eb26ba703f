"""Where a finished job meets the open file: when it may be touched, and the one undo step."""
from __future__ import annotations

import logging

import bpy

from ..bridge.errors import BridgeError, InternalError
from .job import GenerateRequest
from .mask_store import keep_masks
from .scene.dressing import dress
from .scene.originals import JOB_KEY, VIEWS_KEY
from .scene.results import PreparedResult, place_result

log = logging.getLogger(__name__)


class SceneLanding:
    """The session's Landing in the real Blender. Main thread only."""

    def why_not_now(self) -> str:
        """Blender must not be given new data while it renders, and in a mode its undo steps hold that mode only."""
        if bpy.app.is_job_running("RENDER") or bpy.app.is_job_running("OBJECT_BAKE"):
            return "Done; waits for the render to end"
        if bpy.context.mode != "OBJECT":
            return "Done; waits for Object Mode"
        return ""

    def land(self, prepared: PreparedResult, request: GenerateRequest) -> str:
        """Place it in the scene it was asked for (the open one, if that is gone), and push one undo step."""
        scene, view_layer = _scene_for(request.scene_name)
        try:
            if request.onto:
                made = dress(prepared, request.onto, scene)
            else:
                made = place_result(prepared, bpy.data, scene, view_layer)
                made[VIEWS_KEY] = str(request.folder)
            if prepared.masks:
                keep_masks(str(prepared.properties[JOB_KEY]), prepared.masks, prepared.warnings)
        except BridgeError:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            log.exception("placing the result of %s", request.folder)
            raise InternalError(f"Blender could not take the result: {error}.",
                                "Blender's terminal says more. The scene is as it was.") from error
        push_undo(f"Slipcast {made.name}")
        return made.name


def _scene_for(name: str) -> tuple[bpy.types.Scene, bpy.types.ViewLayer]:
    context = bpy.context
    scene = bpy.data.scenes.get(name) or context.scene
    if scene == context.scene:
        return scene, context.view_layer
    return scene, scene.view_layers[0]


def push_undo(message: str) -> None:
    """One undo step, also from a timer."""
    windows = bpy.context.window_manager.windows
    if bpy.context.window is None and len(windows):  # as in a timer
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=message)
    else:
        bpy.ops.ed.undo_push(message=message)
