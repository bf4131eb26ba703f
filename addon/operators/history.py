"""What can be done with the results that the engine keeps."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ...bridge.errors import BadOutput, BadSettings, Conflict, UnknownJob
from ...bridge.events import Result
from ...bridge.messages import JobInfo
from ...bridge.settings import METHODS
from .. import history_view, pending, preferences, pump
from ..history import FILE_NAMES, MESH_NAMES, Errand, differing_settings
from ..job import GenerateRequest
from ..landing import SceneLanding, refuse_script_in_another_mode, scene_for
from ..properties import knob_properties, path_of, settings_from_properties
from ..scene.compare import place_side_by_side
from ..scene.files import write_result
from ..scene.results import Placement, PreparedResult, prepare_result
from ..scene.undo import push_undo
from .base import SlipcastOperator
from .generate import JOB_RUNS, NO_PYTHON, run_job

NOTHING_SELECTED = "Select a result in the list"
_JOB = StringProperty(name="Job", options={"SKIP_SAVE"}, description="Id of the job; empty: the one that is selected")


class _HistoryOperator(SlipcastOperator):
    """Base: for a job of the list."""

    by_error = True
    states: tuple[str, ...] = ()      # of the job; empty: any

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        info = pump.session().history.find(history_view.active_job(context))
        if not preferences.chosen_python():
            return NO_PYTHON
        return NOTHING_SELECTED if info is None else why_not_state(info, cls.states)


def why_not_state(info: JobInfo, states: tuple[str, ...]) -> str:
    """Why nothing of it can be had; "" when its state is one of `states`, or these are empty."""
    if not states or info.state in states:
        return ""
    return f"This job is {history_view.STATE_WORDS.get(info.state, info.state)}: choose another one"


class SLIPCAST_OT_refresh_history(_HistoryOperator):
    """Show the results that the engine keeps. Starts the engine if need be"""

    bl_idname = "slipcast.refresh_history"
    bl_label = "Show Results"

    older: BoolProperty(name="Older", description="Go on after the last one that is shown", options={"SKIP_SAVE"})

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if preferences.chosen_python() else NO_PYTHON

    def do(self, context: bpy.types.Context) -> None:
        pump.session().start_engine()
        pump.session().history.refresh(self.older)
        pump.finish(pump.session().history)


class SLIPCAST_OT_import_result(_HistoryOperator):
    """Put this result into the scene, at the 3D cursor. A job that is still under way is waited for"""

    bl_idname = "slipcast.import_result"
    bl_label = "Import"
    states = ("queued", "running", "done")

    job: _JOB
    target_size: FloatProperty(name="Target Size", min=0.0, unit="LENGTH", options={"SKIP_SAVE"},
                               description="Longest side in the scene. 0 keeps the size that the cameras give it")
    import_cameras: BoolProperty(name="Import Cameras", options={"SKIP_SAVE"},
                                 description="Also make a Blender camera for each view")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        if pump.session().job is not None:
            return JOB_RUNS
        if pending.offered(context.scene, pump.session()):     # its button says which job: do() looks at that
            return "" if preferences.chosen_python() else NO_PYTHON
        return super().why_not(context)

    def do(self, context: bpy.types.Context) -> None:
        job = self.job or chosen_job(context)
        info = pump.session().history.find(job)
        if info is not None and why_not_state(info, self.states):
            raise Conflict(f"{why_not_state(info, self.states)}.")
        start_kept(context, job, None, self.target_size, self.import_cameras)


class SLIPCAST_OT_run_again(_HistoryOperator):
    """Make it once more from the same input, with other settings. Nothing is uploaded"""

    bl_idname = "slipcast.run_again"
    bl_label = "Run Again"

    job: _JOB
    changes: StringProperty(name="Changes", options={"SKIP_SAVE"},
                            description='Settings that are to differ, as JSON: {"quality": "high"}')

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return JOB_RUNS if pump.session().job is not None else super().why_not(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        info = pump.session().history.find(self.job or history_view.active_job(context))
        if info is None or info.method not in METHODS:
            return self.execute(context)
        show_settings(again_settings(context, info.method), info)
        return context.window_manager.invoke_props_dialog(self, width=360)

    def draw(self, context: bpy.types.Context) -> None:
        info = pump.session().history.find(self.job or history_view.active_job(context))
        if info is None:
            return
        self.layout.use_property_split = True
        given = again_settings(context, info.method)
        for knob in dataclasses.fields(METHODS[info.method]):
            self.layout.prop(given, knob.name)

    def do(self, context: bpy.types.Context) -> None:
        job = self.job or chosen_job(context)
        start_kept(context, job, read_changes(context, job, self.changes))


class SLIPCAST_OT_compare_results(_HistoryOperator):
    """Put two results beside each other, equally large, with their settings below. Mark two in the list"""

    bl_idname = "slipcast.compare_results"
    bl_label = "Compare"

    job: _JOB
    other: StringProperty(name="Other", options={"SKIP_SAVE"},
                          description="Id of the other job; empty: the two that are marked")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        if pump.session().history.errand is not None:
            return "Results are being fetched: wait for that"
        return "" if len(history_view.marked_jobs(context)) == 2 else "Mark two results in the list"

    def do(self, context: bpy.types.Context) -> None:
        pair = (self.job, self.other) if self.other else tuple(history_view.marked_jobs(context))
        if len(pair) != 2 or not all(pair):
            raise UnknownJob("Two results are compared.", "Mark two in the list, or give job and other.")
        refuse_script_in_another_mode()
        scene, base = context.scene.name, tuple(context.scene.cursor.location)
        begin_errand(Errand("Fetching two results", pair, (*MESH_NAMES, "normal_map"),
                            lambda results: prepare_pair(results, base),
                            lambda prepared: land_pair(prepared, scene), SceneLanding().why_not_now))


class SLIPCAST_OT_reveal_result(_HistoryOperator):
    """Write mesh, textures and settings of this result into a folder, and show that folder"""

    bl_idname = "slipcast.reveal_result"
    bl_label = "Reveal Files"
    states = ("done",)

    job: _JOB
    folder: StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE"},
                           description="Where the result's own folder is made; empty: beside the engine's jobs")

    def do(self, context: bpy.types.Context) -> None:
        job = self.job or chosen_job(context)
        folder = path_of(self.folder) or preferences.data_folder() / "results"
        begin_errand(Errand("Fetching the files", (job,), FILE_NAMES,
                            lambda results: write_result(folder, results[0]), show_folder))


class SLIPCAST_OT_delete_result(_HistoryOperator):
    """Delete this job, its input and its result from the engine. Objects in the scene stay. It cannot be undone"""

    bl_idname = "slipcast.delete_result"
    bl_label = "Delete Result"
    states = ("done", "failed", "cancelled")

    job: _JOB

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def do(self, context: bpy.types.Context) -> None:
        job = self.job or chosen_job(context)
        pump.session().start_engine()
        pump.session().history.delete(job)
        pump.finish(pump.session().history)


class SLIPCAST_OT_dismiss_result(SlipcastOperator):
    """Do not offer the result of this file's job any more. The engine keeps it"""

    bl_idname = "slipcast.dismiss_result"
    bl_label = "Dismiss"
    bl_options = {"UNDO", "INTERNAL"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if pending.offered(context.scene, pump.session()) else "No result is offered"

    def do(self, context: bpy.types.Context) -> None:
        pending.forget(context.scene)


def chosen_job(context: bpy.types.Context) -> str:
    """The selected job, else the one that the file offers. Raises UnknownJob."""
    job = history_view.active_job(context) or pending.offered(context.scene, pump.session())
    if not job:
        raise UnknownJob("No result is selected.", "Show the results and select one, or give its job.")
    return job


def start_kept(context: bpy.types.Context, job: str, changes: dict[str, Any] | None, target_size: float = 0.0,
               import_cameras: bool = False) -> None:
    """Fetch a result, or run its job again with `changes`; without a window wait for it. Raises BridgeError."""
    info = pump.session().history.find(job)
    name = (info.label if info is not None else None) or _pending_label(context, job) or f"Slipcast {job[:8]}"
    placement = Placement(name, tuple(context.scene.cursor.location), target_size, import_cameras)
    method = info.method if info is not None else ""
    run_job(GenerateRequest(Path(), None, placement, context.scene.name, method=method, kept=job, changes=changes))


def _pending_label(context: bpy.types.Context, job: str) -> str:
    asked = context.scene.slipcast
    return asked.pending_label if asked.pending_job == job else ""


def begin_errand(errand: Errand) -> None:
    """Start the engine if need be and let the history do it. Raises BridgeError."""
    pump.session().start_engine()
    pump.session().history.begin(errand)
    pump.finish(pump.session().history)


def prepare_pair(results: Sequence[Result], base: tuple[float, float, float]) -> tuple[Any, Any]:
    """Both results read, and the captions of both. Raises BadFrame or BadMesh."""
    infos = [result.info for result in results]
    prepared = tuple(prepare_result(result, Placement(result.info.label or result.info.method, base))
                     for result in results)
    differing = differing_settings(infos[0], infos[1])
    return prepared, tuple(_caption(info, made, text) for info, made, text in zip(infos, prepared, differing))


def _caption(info: JobInfo, prepared: PreparedResult, differing: str) -> str:
    seconds = float(info.summary.get("seconds", 0.0))
    lines = [info.label or info.method, differing, f"{len(prepared.faces):,} faces, {seconds:.0f} s"]
    return "\n".join(line for line in lines if line)


def land_pair(prepared: tuple[Any, Any], scene_name: str) -> None:
    """Both into the scene as one undo step. Raises BridgeError, and what bpy raises."""
    pair, captions = prepared
    scene, view_layer = scene_for(scene_name)
    first, second = place_side_by_side(pair, captions, bpy.data, scene, view_layer)
    push_undo(f"Slipcast Compare {first.name} and {second.name}")


def show_folder(folder: Path) -> None:
    """Open it in the system's file browser; without a window nothing is opened."""
    if not bpy.app.background:
        try:
            bpy.ops.wm.path_open(filepath=str(folder))
        except RuntimeError as error:
            raise BadOutput(f"The files are in {folder}, which this system cannot show ({error}).") from error


def read_changes(context: bpy.types.Context, job: str, text: str) -> dict[str, Any]:
    """Settings that are to differ: as given, else those of the dialog. Raises BadSettings."""
    if text.strip():
        try:
            changes = json.loads(text)
        except ValueError as error:
            raise BadSettings(f"Changes are no JSON: {error}.", 'Write them like {"quality": "high"}.') from error
        if not isinstance(changes, dict):
            raise BadSettings("Changes are no JSON object.", 'Write them like {"quality": "high"}.')
        return changes
    info = pump.session().history.find(job)
    if bpy.app.background or info is None or info.method not in METHODS:
        return {}
    given = again_settings(context, info.method)
    return dataclasses.asdict(settings_from_properties(lambda name: getattr(given, name), METHODS[info.method]))


def show_settings(given: Any, info: JobInfo) -> None:
    """Fill the dialog with the settings that the job had; with the default in place of one that is not known any more.
    """
    for knob in dataclasses.fields(METHODS[info.method]):
        as_shown = str if "choices" in knob.metadata else type(knob.default)
        try:
            setattr(given, knob.name, as_shown(info.settings.get(knob.name, knob.default)))
        except (TypeError, ValueError):
            setattr(given, knob.name, as_shown(knob.default))


def again_settings(context: bpy.types.Context, method: str) -> Any:
    """The dialog's settings of a method."""
    return getattr(context.window_manager.slipcast_again, method)  # type: ignore[attr-defined]


def _settings_group(method: str, kind: type) -> type:
    """A property group for the settings dataclass of a method."""
    return type(f"SLIPCAST_PG_again_{method}", (PropertyGroup,), {"__annotations__": knob_properties(kind)})


AGAIN = {method: _settings_group(method, kind) for method, kind in METHODS.items()}


class SLIPCAST_PG_again(PropertyGroup):
    """The settings of the dialog of Run Again, of each method."""

    __annotations__ = {method: PointerProperty(type=group) for method, group in AGAIN.items()}


CLASSES: tuple[Callable[..., Any], ...] = (
    *AGAIN.values(), SLIPCAST_PG_again, SLIPCAST_OT_refresh_history, SLIPCAST_OT_import_result, SLIPCAST_OT_run_again,
    SLIPCAST_OT_compare_results, SLIPCAST_OT_reveal_result, SLIPCAST_OT_delete_result, SLIPCAST_OT_dismiss_result)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.WindowManager.slipcast_again = PointerProperty(  # type: ignore[attr-defined]
        type=SLIPCAST_PG_again, options={"SKIP_SAVE"})


def unregister() -> None:
    del bpy.types.WindowManager.slipcast_again  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
