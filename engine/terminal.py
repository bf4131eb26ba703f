"""What a run looks like in a terminal: one live line a stage; plain lines when the output is not a terminal."""
from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from .pipeline.progress import StageProgress

HEARTBEAT_S = 20.0      # a long stage says on a plain output that it is alive


class _Count(ProgressColumn):
    """Done of total with its unit; nothing while the count is not known."""

    def render(self, task: Task) -> Text:
        if not task.total:
            return Text("")
        return Text(f"{int(task.completed):,} / {int(task.total):,} {task.fields['unit']}", style="dim")


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['seconds'] if task.finished else task.elapsed or 0.0:6.1f} s")


class RunDisplay:
    """Shows StageProgress as it comes. A context manager: what was shown stays on the screen.

    stream: where to write. Only the thread that runs the pipeline may call show().
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live: Progress | None = None
        if self._console.is_terminal:
            self._live = Progress(SpinnerColumn(finished_text="[green]+"), TextColumn("{task.description:<9}"),
                                  BarColumn(bar_width=24), _Seconds(), _Count(), console=self._console)
        self._task: TaskID | None = None
        self._last: StageProgress | None = None
        self._told_s = 0.0

    def __enter__(self) -> RunDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self._end_stage()
        if self._live:
            self._live.stop()

    def show(self, progress: StageProgress) -> None:
        """Take note of where the run is."""
        if self._last is None or progress.stage != self._last.stage:
            self._end_stage()
            self._begin_stage(progress)
        self._last = progress
        if self._live and self._task is not None:
            self._live.update(self._task, completed=progress.done, total=progress.total or None, unit=progress.unit,
                              seconds=progress.stage_seconds)
        elif time.monotonic() - self._told_s > HEARTBEAT_S:
            self._told_s = time.monotonic()
            state = _count(progress) or "working"
            self._console.print(f"    {progress.stage}: {state}, {progress.stage_seconds:.0f} s")

    def say(self, text: str) -> None:
        """One line of plain text."""
        self._console.print(text, markup=False)

    def _begin_stage(self, progress: StageProgress) -> None:
        self._began_s = self._told_s = time.monotonic()
        if self._live:
            self._task = self._live.add_task(progress.stage, total=None, unit=progress.unit, seconds=0.0)
        else:
            self._console.print(f"[{progress.index + 1}/{progress.count}] {progress.stage} ...", markup=False)

    def _end_stage(self) -> None:
        if self._last is None:
            return
        seconds = time.monotonic() - self._began_s
        if self._live and self._task is not None:
            total = max(self._last.total, self._last.done, 1)
            self._live.update(self._task, completed=total, total=total, seconds=seconds)
        else:
            count = f", {_count(self._last)}" if self._last.total else ""
            self._console.print(f"      {self._last.stage} {seconds:.1f} s{count}", markup=False)


def _count(progress: StageProgress) -> str:
    return f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else ""
