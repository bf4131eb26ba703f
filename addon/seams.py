"""What the session is given, and what it serves beside its job: where results go, who shows a job's mesh while it runs,
and what else is asked of the engine. No bpy."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..bridge.errors import BridgeError
from ..bridge.events import Event
from ..bridge.messages import Preview
from .job import GenerateRequest
from .scene.results import Placement, PreparedResult

if TYPE_CHECKING:
    from ..bridge.client import Client


class Landing(Protocol):
    """The scene's side of a finished job (landing.py; tests bring their own). notes: what a person should know of the
    last landing."""

    notes: tuple[str, ...]

    def why_not_now(self) -> str:
        """Why nothing can be put into the scene at this moment; empty when it can."""
        ...

    def land(self, prepared: PreparedResult, request: GenerateRequest) -> str:
        """Put it there, as one undo step; the object's name. Raises BridgeError and leaves the scene as it was."""
        ...


class Desk(Protocol):
    """What else is asked of the engine beside the one job (history.py, models.py). Main thread; nothing waits.
    error: how the last thing that was asked went wrong."""

    error: BridgeError | None

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


class Follower(Protocol):
    """Who shows the mesh of a running job (scene/live.py). Nothing here raises for what comes from the engine."""

    def begin(self, job: str, method: str, placement: Placement, scene_name: str) -> None:
        """A job was submitted: its previews are to come."""
        ...

    def take(self, preview: Preview, frames: Sequence[memoryview]) -> None:
        """The newest preview of that job."""
        ...

    @property
    def busy(self) -> bool:
        """Whether an end waits for Blender: pump on."""
        ...

    def pump(self) -> str:
        """Called again and again: the place for work. The name of what an end that had to wait has left, or ""."""
        ...

    def end(self, keep: bool = False) -> str:
        """The job has ended, or none was followed. keep: leave its last state; the name of the object that is left, ""
        also where that has to wait."""
        ...


class Nobody:
    """A Follower for a Blender, or a test, in which nothing is to be seen."""

    def begin(self, job: str, method: str, placement: Placement, scene_name: str) -> None:
        return

    def take(self, preview: Preview, frames: Sequence[memoryview]) -> None:
        return

    busy = False

    def pump(self) -> str:
        return ""

    def end(self, keep: bool = False) -> str:
        return ""
