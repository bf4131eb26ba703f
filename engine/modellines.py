"""`models ... --lines`: what the command tells a program (server/models.py), one JSON object a line.

    {"done": 12, "total": 1677}                    megabytes, while it goes on
    {"error": {"code": "...", "message": "...", "hint": "..."}}     the last line of one that failed

It is cancelled by closing its standard input, so it does not outlive the engine.
"""
from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..bridge.errors import BridgeError
from .pipeline.progress import Run, Stage, StageProgress


def run_in_lines(name: str, work: Callable[[Stage], None]) -> None:
    """Run `work` as one stage, with a line for each megabyte. Raises what it raises, Cancelled when stdin closes."""
    closed = threading.Event()
    threading.Thread(target=_watch_stdin, args=(closed,), name="stdin", daemon=True).start()
    told: list[tuple[int, int]] = []

    def report(progress: StageProgress) -> None:
        if told != [(progress.done, progress.total)]:
            told[:] = [(progress.done, progress.total)]
            _write({"done": progress.done, "total": progress.total})

    run = Run((name,), report=report, is_cancelled=closed.is_set)
    with run.stage(name, unit="MB") as stage:
        work(stage)


def tell_error(error: BridgeError) -> int:
    """The last line of one that failed; returns the exit code 1."""
    _write({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    return 1


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _watch_stdin(closed: threading.Event) -> None:
    # the descriptor, not sys.stdin: its lock would block the interpreter's end while this thread reads
    while os.read(0, 4096):
        pass
    closed.set()
