"""Progress on the terminal that Blender was started from. No bpy."""
from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from .job import JobState, describe, stage_seconds_left
from .session import Session

LINE_INTERVAL_S = 5.0     # where lines cannot be overwritten (a log file)
REWRITE_INTERVAL_S = 0.1


class ProgressLines:
    """One line that is written over on a terminal; elsewhere a line a stage, and one every few seconds."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self._rewrites = self._out.isatty()
        self._shown, self._shown_s, self._phase = "", 0.0, ""

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._rewrites and self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def show(self, session: Session) -> None:
        """Call it as often as you like."""
        if session.job is not None:
            self._write(*_line(session.job))

    def _write(self, phase: str, line: str) -> None:
        now = time.monotonic()
        due = now - self._shown_s >= (REWRITE_INTERVAL_S if self._rewrites else LINE_INTERVAL_S)
        if not due and (phase == self._phase or self._rewrites):
            return
        self._shown, self._shown_s, self._phase = line, now, phase
        self._out.write(f"\r\x1b[K{line}" if self._rewrites else f"{line}\n")
        self._out.flush()


def _line(job: JobState) -> tuple[str, str]:
    """(what the line is about: another one is worth a new line; the line)."""
    stage = job.progress.stage if job.progress is not None and job.phase == "running" else ""
    _, text = describe(job)
    seconds = time.monotonic() - job.started_s
    line = f"slipcast: {job.request.placement.name}: {text}, {seconds:.0f} s"
    left = stage_seconds_left(job.progress) if stage and job.progress is not None else None
    if left is not None:
        line += f", about {left:.0f} s left of this stage"
    return f"{job.phase} {stage} {job.cancelling}", line
