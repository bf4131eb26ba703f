"""How a stage says where it is, and how it learns that it should stop."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...bridge.errors import Cancelled
from .snapshots import recoloured
from .types import Mesh, Snapshot, StageTime


@dataclass(frozen=True)
class StageProgress:
    """done of total, in `unit` ("views", "slices", "faces"...); total 0: the count is not known.

    loss: what an optimisation has still to explain, smaller is better; None where nothing is optimised.
    seconds_left: of the clock, until the stage ends, from what was measured; None: not known.
    """

    stage: str
    index: int
    count: int
    done: int
    total: int
    unit: str
    stage_seconds: float
    loss: float | None = None
    seconds_left: float | None = None


class Stage:
    """One running stage. `advance` after each piece of work; `check` inside long loops."""

    def __init__(self, run: Run, name: str, index: int, total: int, unit: str) -> None:
        self._run, self.name, self._index, self.total, self._unit = run, name, index, total, unit
        self.done = 0
        self.loss: float | None = None
        self.seconds_left: float | None = None
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def check(self) -> None:
        """Raises Cancelled as soon as the person has asked for it."""
        if self._run.is_cancelled():
            raise Cancelled(f"Cancelled during {self.name}.")

    def ends_early(self) -> bool:
        """Whether the person finds the mesh good enough: a stage that only betters it then ends with what it has.

        Ask where something is left to do: the result tells that it was not done.
        """
        enough = self._run.is_enough()
        self._run.finished_early |= enough
        return enough

    @property
    def ended_early(self) -> bool:
        """Whether this stage or one before it did."""
        return self._run.finished_early

    def advance(self, pieces: int = 1) -> None:
        self.check()
        self.done += pieces
        self.report()

    def warn(self, text: str) -> None:
        """Tell the person something that does not stop the run; it comes with the result."""
        self._run.warn(text)

    def report(self) -> None:
        self._run.report(StageProgress(self.name, self._index, len(self._run.stage_names), self.done, self.total,
                                       self._unit, self.seconds, self.loss, self.seconds_left))


class Run:
    """One run of a pipeline: its table of stages, and the five ways in which it talks to the outside.

    report: called with a StageProgress, often; must be cheap. preview: called with a Mesh, or a Snapshot, now and then.
    is_cancelled, is_enough: asked often. Warnings are collected and come with the result.
    """

    def __init__(self, stage_names: tuple[str, ...],
                 report: Callable[[StageProgress], None] = lambda progress: None,
                 is_cancelled: Callable[[], bool] = lambda: False,
                 preview: Callable[[Mesh], None] = lambda mesh: None,
                 is_enough: Callable[[], bool] = lambda: False) -> None:
        self.stage_names = stage_names
        self.report, self.is_cancelled, self._preview, self.is_enough = report, is_cancelled, preview, is_enough
        self._coloured: Snapshot | None = None
        self.finished_early = False
        self.times: list[StageTime] = []
        self.warnings: list[str] = []
        self.extras: dict[str, tuple[str, bytes]] = {}

    @contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "steps") -> Iterator[Stage]:
        """Run a stage: progress is reported at its start, its seconds are kept at its end."""
        stage = Stage(self, name, self.stage_names.index(name), total, unit)
        stage.check()
        stage.report()
        yield stage
        self.times.append(StageTime(name, stage.seconds))

    def preview(self, mesh: Mesh) -> None:
        """Show a mesh or a Snapshot. Once colours were shown, a mesh without any gets those of the nearest vertex."""
        if isinstance(mesh, Snapshot) and mesh.colours is not None:
            self._coloured = mesh
        elif self._coloured is not None:
            mesh = recoloured(mesh, self._coloured)
        self._preview(mesh)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Something that is to come with the result, beside what every result has."""
        self.extras[name] = media_type, data
