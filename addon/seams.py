"""What the session is given, and what it serves beside its job: two protocols. No bpy."""
from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..bridge.events import Event
from .job import GenerateRequest
from .scene.results import PreparedResult

if TYPE_CHECKING:
    from ..bridge.client import Client


class Landing(Protocol):
    """The scene's side of a finished job (landing.py; tests bring their own)."""

    def why_not_now(self) -> str:
        """Why nothing can be put into the scene at this moment; empty when it can."""
        ...

    def land(self, prepared: PreparedResult, request: GenerateRequest) -> str:
        """Put it there, as one undo step; the object's name. Raises BridgeError and leaves the scene as it was."""
        ...


class Desk(Protocol):
    """What else is asked of the engine beside the one job (history.py). Main thread; nothing waits."""

    @property
    def busy(self) -> bool:
        """Whether it waits for the engine."""
        ...

    def advance(self, client: Client) -> None:
        """Ask for what is wanted; called at each pump while connected."""
        ...

    def handle(self, event: Event) -> bool:
        """Look at an event; whether it was the answer to a request of this desk."""
        ...

    def down(self) -> None:
        """The connection is gone: what was asked must be asked again."""
        ...

    def give_up(self) -> None:
        """There is no engine any more, and none is starting."""
        ...
