"""One job on its way: its input read, the engine asked for it and listened to, its result read. No bpy."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..bridge import VERSION
from ..bridge.errors import Cancelled, TimedOut, VersionMismatch
from ..bridge.events import (
    Event,
    Failed,
    Fetching,
    Finished,
    JobChanged,
    Previewed,
    Progressed,
    Result,
    TurnedDown,
    Uploading,
)
from ..bridge.messages import JobInfo
from .background import BackgroundCall
from .job import GenerateRequest, JobState, ask_for_kept, ask_for_new, read_inputs
from .scene.results import PreparedResult, prepare_result
from .seams import Follower

if TYPE_CHECKING:
    from ..bridge.client import Client

CANCEL_TIMEOUT_S = 8.0   # the engine kills a job 1 s after a cancel; beyond this it does not answer at all


class JobRun:
    """Begins at once. `state` is what panels read; `info` and `prepared` are there when the result can be placed."""

    def __init__(self, request: GenerateRequest, live: Follower) -> None:
        """live: shows its mesh."""
        self.state = JobState(request, time.monotonic())
        self.info: JobInfo | None = None
        self.prepared: PreparedResult | None = None
        self._live = live
        self._reading: BackgroundCall[dict[str, Path | bytes]] | None = None
        self._ask: Callable[[Client], str] | None = None   # the job, once the engine answers; its id
        self._preparing: BackgroundCall[PreparedResult] | None = None
        if request.kept:
            self.state.phase, self._ask = "engine", ask_for_kept(request)
        else:
            self._reading = BackgroundCall(lambda: read_inputs(request), "read-folder")

    def take(self, event: Event, engine_version: str) -> None:
        """What the engine says; what is about another job is let go by. Raises what the job ended with."""
        job = self.state
        match event:
            case Uploading(job=job.job, done_bytes=done, total_bytes=total):
                job.phase, job.done_bytes, job.total_bytes = "sending", done, total
            case JobChanged(info=info) if info.job == job.job:
                self._on_info(info)
            case Progressed(progress=progress) if progress.job == job.job:
                job.phase, job.progress = "running", progress
            case Previewed(preview=preview, frames=frames) if preview.job == job.job:
                job.previews += 1
                self._live.take(preview, frames)
            case Fetching(job=job.job, done_bytes=done, total_bytes=total):
                job.phase, job.done_bytes, job.total_bytes = "fetching", done, total
            case Finished(result=result) if result.info.job == job.job:
                self._on_finished(result, engine_version)
            case Failed(job=job.job, error=error):
                raise error
            case TurnedDown(job=job.job) if job.cancelling:
                raise Cancelled("Cancelled.")

    def advance(self, client: Client | None, engine_version: str) -> None:
        """The steps that are ours. client: None while none is connected. Raises what the job ends with."""
        job = self.state
        if self._reading is not None and self._reading.done:
            reading, self._reading = self._reading, None
            self._ask = ask_for_new(job.request, reading.result())
            job.phase = "engine"
        if self._ask is not None and client is not None:
            _check_version(engine_version)
            ask, self._ask = self._ask, None
            job.job = ask(client)
            job.phase = "sending" if not job.request.kept else "queued"
            if not job.request.kept or job.request.changes is not None:
                self._live.begin(job.job, job.request.method, job.request.placement, job.request.scene_name)
        if self._preparing is not None and self._preparing.done:
            preparing, self._preparing = self._preparing, None
            self.prepared = preparing.result()
        if job.cancelling_since_s is not None and time.monotonic() - job.cancelling_since_s > CANCEL_TIMEOUT_S:
            raise TimedOut("The engine did not answer to the cancel.", "Press Stop beside the engine.")

    def _on_info(self, info: JobInfo) -> None:
        job = self.state
        if info.state == "queued":
            job.phase = "queued"
        elif info.state == "running" and job.phase != "running":
            job.phase, job.progress = "running", None
        elif info.state == "done" and job.phase != "placing":
            job.phase, job.done_bytes, job.total_bytes = "fetching", 0, 0

    def _on_finished(self, result: Result, engine_version: str) -> None:
        self.state.phase, self.info = "placing", result.info
        placement = self.state.request.placement
        self._preparing = BackgroundCall(lambda: prepare_result(result, placement, engine_version), "read-result")


def _check_version(engine_version: str) -> None:
    if engine_version != VERSION:
        raise VersionMismatch(f"The engine that runs is of Slipcast {engine_version}; this is {VERSION}.",
                              "Press Stop beside the engine, then Generate again.")
