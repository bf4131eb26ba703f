"""What Client puts on its queue: one frozen dataclass an event. Read them from one thread, in order."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BridgeError
from .messages import Artefact, EngineState, JobInfo, JobList, Preview, Progress, Welcome
from .model_messages import ModelList, ModelProgress


@dataclass(frozen=True)
class Connected:
    """The engine answered Hello. Comes again after a reconnect; `new_epoch` says that the engine was restarted."""

    welcome: Welcome
    new_epoch: bool


@dataclass(frozen=True)
class Disconnected:
    """The engine does not answer (it is tried again), or `final`: it will not be tried again."""

    error: BridgeError
    final: bool


@dataclass(frozen=True)
class EngineChanged:
    state: EngineState


@dataclass(frozen=True)
class Uploading:
    """Latest only. Counts over all inputs of the job that the engine did not have."""

    job: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class JobChanged:
    """A job's state changed, or this is the answer to subscribe/get/cancel."""

    info: JobInfo


@dataclass(frozen=True)
class JobsListed:
    jobs: JobList


@dataclass(frozen=True)
class Progressed:
    """Latest only, per job."""

    progress: Progress


@dataclass(frozen=True)
class Previewed:
    """Latest only, per job. frames: one buffer a BufferSpec of preview.buffers, already checked."""

    preview: Preview
    frames: tuple[memoryview, ...]


@dataclass(frozen=True)
class Fetching:
    """Latest only: how much of a finished job's artefacts is here."""

    job: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Finished:
    """A job ended well and all its artefacts are here."""

    result: Result


@dataclass(frozen=True)
class Fetched:
    """Answer to Client.fetch with names: those of the artefacts asked for that the job has, in data and artefacts."""

    result: Result


@dataclass(frozen=True)
class Failed:
    """A job, or the attempt to submit or fetch it, ended badly. error is typed (Cancelled, WorkerDied, BadMasks...)."""

    job: str
    error: BridgeError


@dataclass(frozen=True)
class TurnedDown:
    """A request (cancel, get, forget, fetch by names; job "" for list_jobs) came to nothing. The job is as it was."""

    job: str
    error: BridgeError


@dataclass(frozen=True)
class ModelsListed:
    """Answer to Client.list_models, and again at each change until the client is closed."""

    models: ModelList


@dataclass(frozen=True)
class ModelMoved:
    """Where the task of a model is; in state running the latest only, per model."""

    progress: ModelProgress


@dataclass(frozen=True)
class ModelTurnedDown:
    """A request about a model came to nothing (model "": list_models)."""

    model: str
    error: BridgeError


@dataclass(frozen=True)
class Result:
    """A finished job: `data[name]` holds the bytes of artefact `name`; arrays are little-endian, C order (Artefact).

    Method "views": vertices f4 (V, 3), faces i4 (F, 3), corner_uvs f4 (F, 3, 2), base_color image/png,
    normal_map image/png where simplifying took relief away (tangent space, green along +v, linear),
    cameras application/json: [{name, width, height, fx, fy, cx, cy,
    world_from_camera: 4 rows of 4 (OpenCV axes)}, ...], masks application/zip (what was taken for the object in each
    view). Methods "refine" and "bake": these. Method "image": these but masks, and mask image/png and cutout image/png.
    With the setting turntable also turntable_000 to turntable_029 image/png, and turntable_mp4 video/mp4 where a film
    could be encoded. All methods: thumbnail and input_thumbnail image/png, where they could be made.
    """

    info: JobInfo
    artefacts: Mapping[str, Artefact]
    data: Mapping[str, memoryview]


Event = (Connected | Disconnected | EngineChanged | Uploading | JobChanged | JobsListed | Progressed | Previewed
         | Fetching | Fetched | Finished | Failed | TurnedDown | ModelsListed | ModelMoved | ModelTurnedDown)
