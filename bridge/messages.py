"""Every message of protocol version 3: one frozen dataclass each. docs/protocol.md is the prose to it.

Two sockets: `ctl` for everything small, `blob` for bytes in bulk. A client talks on both; each request has an id
that its reply carries back (the envelope's `id` and `re`, see codec.py). Unless a docstring says otherwise a request
is answered by exactly one reply or one Error, and a reply to a request that nobody waits for is dropped.
All times are seconds; `*_s` of a day are Unix time. Hashes are lower-case hex sha256.
The messages about models are in model_messages.py.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JOB_STATES = ("queued", "running", "cancelling", "done", "failed", "cancelled")
TERMINAL_STATES = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Limits:
    """Announced in Welcome; the client checks them before it sends, the engine when it receives."""

    header_bytes: int = 1024 * 1024        # room for inputs_per_job InputRefs with labels of usual length
    chunk_bytes: int = 1024 * 1024
    credits: int = 4                       # chunks in flight per transfer
    blob_bytes: int = 2 * 1024**3
    inputs_per_job: int = 4096
    job_bytes: int = 8 * 1024**3           # sum of one job's inputs
    queued_jobs: int = 256


@dataclass(frozen=True)
class BufferSpec:
    """What a raw frame holds. dtype: "u1", "i4", "f4" or "f8" (little-endian); C order."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class InputRef:
    """One input file of a job. label: what the view folder calls it ("transforms.json", "images/03.jpg"); never used
    as a path."""

    label: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Artefact:
    """One output of a job, fetched as a blob by its hash. dtype and shape are set for media_type "array" only."""

    name: str
    media_type: str                        # "array", "image/png", "application/json", "application/zip" or "video/mp4"
    size: int
    sha256: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class ErrorInfo:
    """A BridgeError on the wire: errors.error_from_code turns it back."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class JobInfo:
    """Engine -> client: all there is to know of a job. Reply to Submit, Get, Subscribe and Cancel, and sent to
    subscribers at every change of state. Newest per job wins: `revision` only grows.

    summary (when done): method, device, seconds, stages [[name, seconds], ...], vertices, faces, warnings [text, ...],
    finished_early (true where FinishEarly cut a stage short).
    label: what a person calls the input. licence: of the model that made the result; "" where no model did.
    seed: None where the method has none. bytes: of inputs and artefacts together.
    """

    job: str
    method: str
    state: str
    revision: int
    attempt: int
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: ErrorInfo | None = None
    label: str | None = None
    licence: str = ""
    seed: int | None = None
    bytes: int = 0


# --- client -> engine, on ctl ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Hello:
    """First message of a client. Reply: Welcome, or Error(version_mismatch)."""

    protocol: int
    version: str
    name: str


@dataclass(frozen=True)
class Submit:
    """Ask for a job. `job` is made by the client (32 hex digits), so that sending again is safe. Reply: JobInfo (the
    job is on disk and will not be lost; the sender is subscribed), NeedBlobs (upload those, then send Submit again), or
    Error. label: what a person calls the input, for lists; not part of the content."""

    job: str
    method: str
    settings: Mapping[str, Any]
    inputs: tuple[InputRef, ...]
    label: str | None = None


@dataclass(frozen=True)
class Rerun:
    """Ask for a new `job` with method, label and inputs of `source`; nothing is uploaded. settings: changes to those of
    `source`. Like Submit it may be sent again. Reply: JobInfo (the sender is subscribed), or Error(unknown_job,
    unknown_blob, or what Submit gives)."""

    job: str
    source: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Subscribe:
    """Ask for a job's JobInfo now and at every change, and for its Progress and Previews. Reply: JobInfo."""

    job: str


@dataclass(frozen=True)
class Get:
    """Reply: JobInfo."""

    job: str


@dataclass(frozen=True)
class ListJobs:
    """Reply: JobList, newest first. before: a job; the list goes on with those submitted before it."""

    limit: int = 100
    before: str | None = None


@dataclass(frozen=True)
class Cancel:
    """Stop this job and no other. Reply at once: JobInfo in state cancelling, cancelled, or, if it had ended,
    unchanged."""

    job: str


@dataclass(frozen=True)
class FinishEarly:
    """The mesh is good enough: the running attempt of this job shall better it no more, but texture it and end as
    usual; the fit of the texture to its views is cut short, too. Reply at once: JobInfo, as the job is now. A job that
    does not run is left as it is."""

    job: str


@dataclass(frozen=True)
class Forget:
    """Delete a job that has ended, with its files. Reply: JobList without it; Error(conflict) while it runs."""

    job: str


@dataclass(frozen=True)
class Ping:
    """Reply: Pong."""


@dataclass(frozen=True)
class Shutdown:
    """End the engine. Reply: Goodbye, then the sockets close. Unfinished jobs start again with the next engine."""


# --- engine -> client, on ctl ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Welcome:
    """Reply to Hello. epoch changes when the engine restarts: what a client knew of transfers is void, jobs are not."""

    protocol: int
    version: str
    epoch: str
    limits: Limits
    methods: tuple[str, ...]


@dataclass(frozen=True)
class NeedBlobs:
    """Reply to Submit: these inputs are not stored yet. Nothing was accepted."""

    job: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class JobList:
    """Reply to ListJobs and Forget. before: as asked for. more: there are older ones than the last of these."""

    jobs: tuple[JobInfo, ...]
    before: str | None = None
    more: bool = False


@dataclass(frozen=True)
class EngineState:
    """Sent after Welcome and whenever it changes. state: "starting", "ready" or "failed" (detail says why).
    devices: one label a worker, e.g. "cpu" or "cuda:0 NVIDIA RTX 4090". Newest wins."""

    state: str
    devices: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """Where a running job is. total 0: count not known. loss: what an optimisation has still to explain, smaller is
    better. seconds_left: of the clock, until this stage ends. Both None where not known. Latest only: the engine drops
    older ones for a slow reader, the client keeps the newest per job (attempt, seq)."""

    job: str
    attempt: int
    seq: int
    stage: str
    stage_index: int
    stage_count: int
    done: int
    total: int
    unit: str
    stage_seconds: float
    seconds: float
    loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Preview:
    """The mesh so far. Raw frames, in order: positions f4 (V, 3) world, faces i4 (F, 3), and, if has_colors, u1 (V, 3)
    sRGB, one a vertex. iteration (of iterations), loss and seconds_left are those of this state; 0 and None where
    nothing is counted. Latest only, like Progress."""

    job: str
    attempt: int
    seq: int
    stage: str
    has_colors: bool
    buffers: tuple[BufferSpec, ...]
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Error:
    """Reply to any request that is turned down, on either socket; without `re` when the header could not be read."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Pong:
    """Reply to Ping."""


@dataclass(frozen=True)
class Goodbye:
    """Reply to Shutdown."""


# --- both ways, on blob ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Put:
    """Client -> engine: I will send this blob. Reply: PutReady, Stored (have it already), or Error(too_large, quota,
    no_space)."""

    sha256: str
    size: int


@dataclass(frozen=True)
class PutReady:
    """Engine -> client: send up to `credits` chunks, beginning at `offset` (0; more when an upload is resumed)."""

    sha256: str
    offset: int
    credits: int


@dataclass(frozen=True)
class Chunk:
    """Sender of a blob -> its receiver; one raw frame of at most limits.chunk_bytes, in order. No reply but Credit."""

    sha256: str
    offset: int


@dataclass(frozen=True)
class Credit:
    """Receiver of a blob -> its sender: `credits` more chunks may be sent. No reply."""

    sha256: str
    credits: int


@dataclass(frozen=True)
class Stored:
    """Engine -> client: the blob is complete, its hash is right, and it is on disk (fsync)."""

    sha256: str


@dataclass(frozen=True)
class Fetch:
    """Client -> engine: send me this blob; I have room for `credits` chunks. Reply: FetchReady then Chunks, or
    Error(unknown_blob)."""

    sha256: str
    credits: int


@dataclass(frozen=True)
class FetchReady:
    """Engine -> client: Chunks follow, `size` bytes in all."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Stop:
    """Either side: this transfer ends here. No reply; Chunks already on their way are dropped."""

    sha256: str
