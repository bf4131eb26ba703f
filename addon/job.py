"""What is asked of a job and what is known of it while it runs. No bpy."""
from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bridge.folders import collect_view_folder
from ..bridge.messages import JobInfo, Progress
from .scene.results import Placement, PreparedResult

if TYPE_CHECKING:
    from ..bridge.client import Client
    from .scene.dressing import BakeTarget
    from .scene.refine_source import RefineSource

# The phases in the order they are gone through. In all but "idle" something is under way.
PHASE_LABELS = {
    "idle": "",
    "reading": "Reading the pictures",
    "engine": "Starting the engine",
    "sending": "Sending images",
    "queued": "Waiting in the engine's queue",
    "running": "Starting",
    "fetching": "Receiving the result",
    "placing": "Ready to be placed",
}
# The pipeline's stages in an artist's words; one that is not here is called by its own name.
STAGE_LABELS = {
    "load": "Loading views",
    "image": "Reading the picture",
    "foreground": "Finding the object",
    "model": "Loading the model",
    "picture": "Looking at the picture",
    "shape": "Making the shape",
    "masks": "Finding the object",
    "volume": "Finding its place",
    "hull": "Carving",
    "surface": "Making the surface",
    "simplify": "Simplifying",
    "outlines": "Fitting the outlines",
    "refine": "Refining",
    "unwrap": "Unwrapping",
    "bake": "Baking the texture",
    "texture": "Painting",
    "padding": "Filling the seams",
}
LAST_STAGES = ("unwrap", "bake", "score", "turntable")   # in which the mesh is not bettered any more
MEGABYTE = 1e6


@dataclass(frozen=True)
class GenerateRequest:
    """folder: absolute; the picture itself for method "image". settings: the dataclass of the method. scene_name: where
    the result goes (if the scene is still there). files: label -> file, of what is sent in place of the files of a
    folder. inputs: label -> content of what is sent beside them. onto: an object that takes on the colours, for
    method "bake"; then no object is made. refined: the mesh that the result is given back to, for method "refine";
    None: the result becomes an object of its own. kept: a job that the engine has already; then folder and settings
    are not looked at: its result is fetched, or, with `changes` of its settings, run again.
    """

    folder: Path
    settings: Any
    placement: Placement
    scene_name: str = ""
    _: KW_ONLY                 # each kind of job has fields of its own: by position they are mixed up
    method: str = "views"
    files: Mapping[str, Path] = field(default_factory=dict)
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    onto: BakeTarget | None = None
    refined: RefineSource | None = None
    kept: str = ""
    changes: Mapping[str, Any] | None = None


def read_inputs(request: GenerateRequest) -> dict[str, Path | bytes]:
    """Label -> file or content, of what is uploaded. Raises BadFolder."""
    return {**(request.files or collect_view_folder(request.folder)), **request.inputs}


@dataclass
class JobState:
    """The one job of this Blender. Panels and terminals read it; only the session writes it."""

    request: GenerateRequest
    started_s: float                       # of time.monotonic
    phase: str = "reading"
    job: str = ""                          # the engine's id, once submitted
    progress: Progress | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    cancelling_since_s: float | None = None
    waiting_for: str = ""                  # why a result is not placed yet
    previews: int = 0
    finishing: bool = False                # the mesh was found good enough
    keep: bool = False                     # of a cancelled job: its last state stays in the scene

    @property
    def cancelling(self) -> bool:
        return self.cancelling_since_s is not None

    @property
    def why_not_finish_early(self) -> str:
        """Why "good enough" cannot be said at this moment, in words; "" when it can."""
        if self.phase != "running" or not self.previews:
            return "There is no mesh yet that could be good enough"
        if self.cancelling:
            return "The job is being cancelled"
        if self.finishing or self.progress is not None and self.progress.stage in LAST_STAGES:
            return "The mesh is being finished already"
        return ""

    @property
    def may_finish_early(self) -> bool:
        return not self.why_not_finish_early


@dataclass(frozen=True)
class Outcome:
    """How the last job ended. object_name is empty unless it ended well."""

    name: str
    object_name: str = ""
    seconds: float = 0.0
    vertices: int = 0
    faces: int = 0
    device: str = ""
    stages: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = field(default=())


def outcome_of(info: JobInfo, prepared: PreparedResult, job: JobState, object_name: str,
               notes: tuple[str, ...] = ()) -> Outcome:
    """What is told of a job that ended well; seconds are the artist's, from the press of the button. notes: of its
    landing in the scene."""
    summary = info.summary
    return Outcome(
        name=job.request.placement.name, object_name=object_name, seconds=time.monotonic() - job.started_s,
        vertices=len(prepared.vertices), faces=len(prepared.faces), device=str(summary.get("device", "")),
        stages=tuple((str(name), float(seconds)) for name, seconds in summary.get("stages", ())),
        warnings=(*map(str, summary.get("warnings", ())), *notes))


def stage_label(progress: Progress) -> str:
    """For example "Carving (4/9): 12 of 24 views"; without a count when the engine knows none."""
    where = f"{STAGE_LABELS.get(progress.stage, progress.stage)} ({progress.stage_index + 1}/{progress.stage_count})"
    return f"{where}: {progress.done} of {progress.total} {progress.unit}" if progress.total else where


def stage_seconds_left(progress: Progress) -> float | None:
    """Seconds left of this stage: as the engine forecasts, else at the pace it had so far; None where neither is known.
    """
    if progress.seconds_left is not None:
        return progress.seconds_left
    if not 0 < progress.done <= progress.total:
        return None
    return progress.stage_seconds / progress.done * (progress.total - progress.done)


def describe(job: JobState) -> tuple[float | None, str]:
    """(fraction of what is being counted, or None; what is being done, with true counts)."""
    if job.cancelling:
        return None, "Cancelling"
    if job.phase == "running" and job.progress is not None:
        total = job.progress.total
        words = f"Finishing: {stage_label(job.progress)}" if job.finishing else stage_label(job.progress)
        return (job.progress.done / total if total else None), words
    if job.phase in ("sending", "fetching") and job.total_bytes:
        counts = f"{job.done_bytes / MEGABYTE:.1f} of {job.total_bytes / MEGABYTE:.1f} MB"
        return job.done_bytes / job.total_bytes, f"{PHASE_LABELS[job.phase]}: {counts}"
    return None, job.waiting_for or PHASE_LABELS[job.phase]


def ask_for_new(request: GenerateRequest, inputs: Mapping[str, Path]) -> Callable[[Client], str]:
    """What submits it, to a client that is connected; it returns the job's id."""
    return lambda client: client.submit(request.method, dataclasses.asdict(request.settings), inputs,
                                        label=request.placement.name or None)


def ask_for_kept(request: GenerateRequest) -> Callable[[Client], str]:
    """What fetches the result of a job that there is, or runs that once more; it returns the job's id."""
    def ask(client: Client) -> str:
        if request.changes is not None:
            return client.rerun(request.kept, request.changes)
        client.fetch(request.kept)
        return request.kept

    return ask
