"""How a stage says where it is, and how it learns that it should stop."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...bridge.errors import Cancelled
from .types import Mesh, StageTime


@dataclass(frozen=True)
class StageProgress:
    """done of total, in `unit` ("views", "slices", "faces"...); total 0: the count is not known.

    loss: what an optimisation has still to explain, smaller is better; None where nothing is optimised.
    """

    stage: str
    index: int
    count: int
    done: int
    total: int
    unit: str
    stage_seconds: float
    loss: float | None = None


class Stage:
    """One running stage. `advance` after each piece of work; `check` inside long loops."""

    def __init__(self, run: Run, name: str, index: int, total: int, unit: str) -> None:
        self._run, self.name, self._index, self.total, self._unit = run, name, index, total, unit
        self.done = 0
        self.loss: float | None = None
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def check(self) -> None:
        """Raises Cancelled as soon as the person has asked for it."""
        if self._run.is_cancelled():
            raise Cancelled(f"Cancelled during {self.name}.")

    def advance(self, pieces: int = 1) -> None:
        self.check()
        self.done += pieces
        self.report()

    def warn(self, text: str) -> None:
        """Tell the person something that does not stop the run; it comes with the result."""
        self._run.warn(text)

    def report(self) -> None:
        self._run.report(StageProgress(self.name, self._index, len(self._run.stage_names), self.done, self.total,
                                       self._unit, self.seconds, self.loss))


class Run:
    """One run of a pipeline: its table of stages, and the four ways in which it talks to the outside.

    report: called with a StageProgress, often; must be cheap. preview: called with a Mesh now and then.
    is_cancelled: asked often. Warnings are collected and come with the result.
    """

    def __init__(self, stage_names: tuple[str, ...],
                 report: Callable[[StageProgress], None] = lambda progress: None,
                 is_cancelled: Callable[[], bool] = lambda: False,
                 preview: Callable[[Mesh], None] = lambda mesh: None) -> None:
        self.stage_names = stage_names
        self.report, self.is_cancelled, self.preview = report, is_cancelled, preview
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

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Something that is to come with the result, beside what every result has."""
        self.extras[name] = media_type, data
