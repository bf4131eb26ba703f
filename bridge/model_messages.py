"""The messages about models and their weights, on `ctl`; see messages.py and docs/protocol.md, "Models"."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import ErrorInfo


# --- client -> engine -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Models:
    """Ask which models there are. Reply: ModelList as known now; the sender gets each later one, and ModelProgress, as
    news."""


@dataclass(frozen=True)
class FetchModel:
    """Get the weights of a model: download them, or copy them from `place` (a file or folder on the engine's machine).

    mirror: "https://host[/path]" in place of the author's host; offline: no network may be used; accept_licence: the
    person has read a licence that forbids commercial use. Reply: ModelProgress; the one under way, if it is this one.
    Error(bad_settings: its licence is not accepted; conflict: another task is under way; internal: no process can be
    started). What is found out later, as that there is no such model, is ModelProgress in state failed.
    """

    model: str
    place: str = ""
    mirror: str = ""
    offline: bool = False
    accept_licence: bool = False


@dataclass(frozen=True)
class VerifyModel:
    """Compare the weights of a model with what its author published. Reply: like FetchModel."""

    model: str


@dataclass(frozen=True)
class RemoveModel:
    """Delete the weights of a model, parts too. Reply: like FetchModel; done also when there was nothing."""

    model: str


@dataclass(frozen=True)
class CancelFetch:
    """End the fetching or verifying of a model; what a download has brought is kept. Reply: ModelProgress as it is, or
    Error(unknown_job) when nothing of this model is under way."""

    model: str


# --- engine -> client -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ModelInfo:
    """What a person should know of a model before it is fetched. bytes: of the download; ram, vram: needed on the CPU
    or on a GPU; note: of its results. kind: "shape" (makes meshes) or "cutout" (tells an object from its background).

    installed: all files are here, by their sizes. damaged: one has another size. bytes_there: parts too. verified:
    their bytes were compared with what was published, since the engine started. settings: knobs as plain values: name,
    type, default, tip, label, low, high, choices, unit.
    """

    name: str
    title: str
    licence: str
    licence_url: str
    non_commercial: bool
    bytes: int
    ram: int
    vram: int
    installed: bool
    verified: bool
    damaged: bool = False
    bytes_there: int = 0
    kind: str = "shape"
    note: str = ""
    settings: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ModelList:
    """Reply to Models, and news to its senders at each change. complete: false while the engine still looks. broken:
    [name, why] of plug-ins that cannot be used. error: why the list could not be made. Newest wins."""

    models: tuple[ModelInfo, ...]
    complete: bool
    broken: tuple[tuple[str, ...], ...] = ()
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class ModelProgress:
    """Where the task of a model is. task: "fetch", "copy", "verify" or "remove"; state: "running", "done", "failed"
    (error says why) or "cancelled". Bytes; total 0: not known. Highest seq wins."""

    model: str
    task: str
    state: str
    seq: int
    done_bytes: int = 0
    total_bytes: int = 0
    error: ErrorInfo | None = None
