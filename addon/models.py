"""Models as the add-on knows them: what there is, and the one task that is under way. No bpy."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bridge.errors import BridgeError, Conflict, EngineGone, error_from_code
from ..bridge.events import Event, ModelMoved, ModelsListed, ModelTurnedDown
from ..bridge.messages import ErrorInfo
from ..bridge.model_messages import ModelInfo, ModelProgress
from .job import MEGABYTE

if TYPE_CHECKING:
    from ..bridge.client import Client

GIGABYTE = 1e9
TASK_WORDS = {"fetch": "Downloading", "copy": "Copying", "verify": "Checking", "remove": "Removing"}
DONE_WORDS = {"fetch": "is here", "copy": "is here", "verify": "is as its author published it", "remove": "is removed"}


class ModelDesk:
    """A Desk (seams.py) for models. Panels read `models`, `loaded`, `broken`, `task`, `error` and `ended`."""

    def __init__(self) -> None:
        self.models: tuple[ModelInfo, ...] = ()
        self.loaded = False                              # the list is complete
        self.broken: tuple[tuple[str, ...], ...] = ()    # [name, why] of plug-ins
        self.task: ModelProgress | None = None           # under way
        self.ended: ModelProgress | None = None          # the last one
        self.error: BridgeError | None = None
        self.revision = 0
        self._list_wanted, self._list_asked = False, False
        self._request: Callable[[Client], None] | None = None
        self._awaited = ""                               # model of a request without an answer yet

    # --- asked for by a person ---------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Look what there is."""
        self._list_wanted, self._list_asked, self.error = True, False, None
        self.revision += 1

    def fetch(self, model: str, place: str = "", mirror: str = "", offline: bool = False,
              accept_licence: bool = False) -> None:
        """Download the weights, or copy them from `place`. Raises Conflict while something is under way."""
        self._begin(model, lambda client: client.fetch_model(model, place, mirror, offline, accept_licence))

    def verify(self, model: str) -> None:
        """Compare the weights with what was published. Raises Conflict."""
        self._begin(model, lambda client: client.verify_model(model))

    def remove(self, model: str) -> None:
        """Delete the weights. Raises Conflict."""
        self._begin(model, lambda client: client.remove_model(model))

    def cancel(self) -> None:
        """End the task under way; does nothing without one."""
        if self.task is not None:
            model = self.task.model
            self._request = lambda client: client.cancel_fetch(model)
            self.revision += 1

    def find(self, model: str) -> ModelInfo | None:
        """What is known of a model."""
        return next((info for info in self.models if info.name == model), None)

    def _begin(self, model: str, request: Callable[[Client], None]) -> None:
        if self.task is not None or self._awaited:
            raise Conflict("Something is being done with a model already.", "Wait until it is done, or cancel it.")
        self._request, self._awaited, self.error, self.ended = request, model, None, None
        if not self.loaded:
            self.refresh()      # also makes the engine tell of progress
        self.revision += 1

    # --- a Desk ------------------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return self._list_wanted or self._request is not None or bool(self._awaited) or self.task is not None

    def advance(self, client: Client) -> None:
        if self._list_wanted and not self._list_asked:
            self._list_asked = True
            client.list_models()
        if self._request is not None:
            request, self._request = self._request, None
            request(client)

    def handle(self, event: Event) -> bool:
        match event:
            case ModelsListed(models=found):
                self.models, self.broken = found.models, found.broken
                if found.complete:
                    self.loaded, self._list_wanted = True, False
                if found.error is not None:
                    self.error = _error_of(found.error)
            case ModelMoved(progress=progress):
                self._move(progress)
            case ModelTurnedDown(model=model, error=error):
                self.error = error
                if model == "":
                    self._list_wanted = False
                elif self.task is None:
                    self._awaited = ""
            case _:
                return False
        self.revision += 1
        return True

    def _move(self, progress: ModelProgress) -> None:
        self._awaited = ""
        if progress.state == "running":
            self.task = progress
            return
        self.task, self.ended = None, progress
        if progress.error is not None:
            self.error = _error_of(progress.error)
        self._list_wanted, self._list_asked = True, True    # the engine looks by itself, and tells

    def down(self) -> None:
        self._list_asked = False

    def give_up(self) -> None:
        if self._request is not None or self._awaited or self.task is not None:
            self.error = EngineGone("The engine stopped, and what it did with a model with it.",
                                    "Fetch it again: it goes on where it was.")
        self._list_wanted, self._request, self._awaited, self.task = False, None, "", None
        self.revision += 1


def _error_of(info: ErrorInfo) -> BridgeError:
    return error_from_code(info.code, info.message, info.hint)


def need_words(info: ModelInfo) -> str:
    """What it costs: "1,677 MB to download; needs 6.0 GB on a graphics card, or 4.0 GB of memory"."""
    if not info.bytes:
        return "Nothing to download"
    card = f"{info.vram / GIGABYTE:.1f} GB on a graphics card, or " if info.vram else ""     # else it never runs on one
    return f"{info.bytes / MEGABYTE:,.0f} MB to download; needs {card}{info.ram / GIGABYTE:.1f} GB of memory"


def licence_words(info: ModelInfo) -> str:
    """Its licence; that it forbids commercial use comes first."""
    return f"No commercial use: licence {info.licence}" if info.non_commercial else f"Licence: {info.licence}"


def state_words(info: ModelInfo) -> str:
    """Whether it is here."""
    if not info.bytes:
        return "Always here"
    if info.damaged:
        return "Damaged: fetch it again"
    if info.installed:
        return "Here, and checked" if info.verified else "Here"
    if info.bytes_there:
        return f"{info.bytes_there / MEGABYTE:,.0f} of {info.bytes / MEGABYTE:,.0f} MB are here"
    return "Not on this computer yet"


def task_words(progress: ModelProgress) -> str:
    """For example "Downloading: 12 of 1,677 MB"."""
    words = TASK_WORDS.get(progress.task, progress.task)
    if not progress.total_bytes:
        return words
    return f"{words}: {progress.done_bytes / MEGABYTE:,.0f} of {progress.total_bytes / MEGABYTE:,.0f} MB"


def ended_words(progress: ModelProgress, title: str) -> str:
    """How the last task ended, unless it failed."""
    if progress.state == "cancelled":
        return f"{title}: cancelled. What was downloaded is kept."
    return f"{title} {DONE_WORDS.get(progress.task, 'is done')}."
