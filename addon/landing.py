"""Where a finished job meets the open file: when it may be touched, and the one undo step."""
from __future__ import annotations

import logging

import bpy

from ..bridge.errors import BadMesh, Conflict, InternalError
from .job import GenerateRequest
from .mask_store import keep_masks
from .scene.busy import busy_words
from .scene.dressing import dress
from .scene.originals import JOB_KEY, keep_source
from .scene.photo_behind import show_behind_cameras
from .scene.refined import land_refined
from .scene.results import PreparedResult, place_result
from .scene.scenes import scene_of
from .scene.undo import push_undo

log = logging.getLogger(__name__)


class SceneLanding:
    """The session's Landing in the real Blender. Main thread only."""

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()

    def why_not_now(self) -> str:
        """See busy_words; and in a mode Blender's undo steps hold that mode only."""
        busy = busy_words()
        if busy:
            return f"Done; waits for {busy}"
        if bpy.context.mode != "OBJECT":
            return "Done; waits for Object Mode"
        return ""

    def land(self, prepared: PreparedResult, request: GenerateRequest) -> str:
        """Place it in the scene it was asked for (the open one, if that is gone), and push one undo step."""
        scene, view_layer = scene_for(request.scene_name, str(prepared.properties.get(JOB_KEY, "")))
        try:
            made = self._place(prepared, request, scene, view_layer)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            log.exception("placing the result of %s", request.folder)
            raise InternalError(f"Blender could not take the result: {error}.",
                                "Blender's terminal says more. The scene is as it was.") from error
        push_undo(f"Slipcast {made.name}")
        if prepared.masks:
            keep_masks(str(prepared.properties[JOB_KEY]), prepared.masks, prepared.warnings)
        return made.name

    def _place(self, prepared: PreparedResult, request: GenerateRequest, scene: bpy.types.Scene,
               view_layer: bpy.types.ViewLayer) -> bpy.types.Object:
        self.notes = ()
        if request.onto is not None:
            return dress(prepared, request.onto, scene)
        if request.refined is None:
            made = place_result(prepared, bpy.data, scene, view_layer)
            if not request.kept:     # else nobody has told what it was made from
                keep_source(made, request.folder, of_picture=request.method == "image")
            if request.method == "image" and prepared.placement.import_cameras:
                self.notes = show_behind_cameras(made, request.folder)
            return made
        try:
            made, self.notes = land_refined(request.refined, prepared)
        except BadMesh as error:   # the work must not be lost because the scene has moved on
            made = place_result(prepared, bpy.data, scene, view_layer)
            self.notes = (f"{error.message} The result is an object of its own, {made.name}.",)
        return made


def refuse_script_in_another_mode() -> None:
    """Raises Conflict: without a window nobody can leave that mode while a script waits for its result."""
    if bpy.app.background and bpy.context.mode != "OBJECT":
        raise Conflict("A result can be put into the scene in Object Mode only.", "Go to Object Mode first.")


def scene_for(name: str, job: str = "") -> tuple[bpy.types.Scene, bpy.types.ViewLayer]:
    """The scene that the job was begun in, else the one of that name, else the open one; the view layer to select in.
    """
    context = bpy.context
    scene = scene_of(job, name)
    if scene == context.scene:
        return scene, context.view_layer
    return scene, scene.view_layers[0]
