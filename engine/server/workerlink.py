"""What frontend and worker say to each other, inside one engine. Same codec as the bridge, other messages.

A worker gets its WorkerConfig as one line of JSON on stdin (never argv: other users can read that), connects to
`endpoint`, and says Ready when it has found its device. From then on it does what Start and Abort say. Progress and
Preview are the bridge's own messages. Every message of a job names its attempt, and an old attempt is ignored.
The worker ends itself when its stdin closes: then its engine is gone.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...bridge.codec import registry
from ...bridge.messages import Artefact, Limits, Preview, Progress

# A job of 4096 inputs and their paths fits; both ends are ours.
LINK_LIMITS = Limits(header_bytes=8 * 1024**2)


@dataclass(frozen=True)
class WorkerConfig:
    """First and only line on a worker's stdin. Keys are Z85; times are seconds."""

    endpoint: str
    server_public: str
    public: str
    secret: str
    device: str                      # "auto", "cpu" or "cuda:0"
    threads: int                     # CPU threads of this worker's share
    heartbeat_s: float
    progress_interval_s: float
    preview_interval_s: float
    preview_bytes: int
    models_folder: str               # where weights are kept; "": beside the person's other Slipcast data
    log_file: str                    # where the engine writes what the worker prints; for messages to a person


@dataclass(frozen=True)
class Ready:
    """Worker -> frontend, once: the device works. device: what a person calls it, e.g. "cuda:0 NVIDIA RTX 4090"."""

    device: str


@dataclass(frozen=True)
class Unusable:
    """Worker -> frontend instead of Ready: why there is no device. The worker ends."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Beat:
    """Worker -> frontend, every heartbeat_s."""


@dataclass(frozen=True)
class File:
    """One input of a job, in the store. size in bytes."""

    label: str
    path: str


@dataclass(frozen=True)
class Start:
    """Frontend -> worker, only while it has no job. Answer: Done or Broken. spool: where it puts artefacts."""

    job: str
    attempt: int
    method: str
    settings: Mapping[str, Any]
    files: tuple[File, ...]
    spool: str


@dataclass(frozen=True)
class Abort:
    """Frontend -> worker: end this job soon. Ignored when it is not the one that runs."""

    job: str
    attempt: int


@dataclass(frozen=True)
class Settle:
    """Frontend -> worker: better this job's mesh no more, and go on. Ignored when it is not the one that runs."""

    job: str
    attempt: int


@dataclass(frozen=True)
class Done:
    """Worker -> frontend: the artefacts lie in the spool folder, each under its sha256, synced."""

    job: str
    attempt: int
    artefacts: tuple[Artefact, ...]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Broken:
    """Worker -> frontend: the job ended badly; code "cancelled" after an Abort. recycle: start a fresh worker."""

    job: str
    attempt: int
    code: str
    message: str
    hint: str
    recycle: bool


FROM_WORKER = registry((Ready, Unusable, Beat, Progress, Preview, Done, Broken))
TO_WORKER = registry((Start, Abort, Settle))
