"""Child processes of the engine, of this very copy of the code: started, read, watched, killed. They know nothing of
jobs: a worker is one of them, what is asked of models (models.py) another."""
from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ...bridge.codec import to_plain
from ...bridge.strict_json import dump_json
from .workerlink import WorkerConfig

log = logging.getLogger(__name__)
_LINE_BYTES = 2000
_DRAIN_S = 0.3      # a grandchild may hold a worker's pipe open; its owner's last words are here by then


def engine_command(name: str) -> tuple[str, ...]:
    """A command of the engine: this Python, this very copy of the code. -P: the script's folder does not become
    importable."""
    return (sys.executable, "-P", str(Path(__file__).resolve().parents[1] / "start.py"), name)


class ChildProcess:
    """A child in a process group of its own, whose stdin is a pipe that ends with the engine.

    on_line is called with each line of its output, without its end; on_exit once, after them, with the return code.
    Both come from threads of this class.
    """

    def __init__(self, command: Sequence[str], on_line: Callable[[bytes], None], on_exit: Callable[[int], None],
                 line_bytes: int = _LINE_BYTES, drain_s: float = _DRAIN_S) -> None:
        """line_bytes: what is longer comes as several. drain_s: how long its output is read on when it has ended.

        Raises OSError when the command cannot be started.
        """
        self._on_line, self._on_exit = on_line, on_exit
        self._line_bytes, self._drain_s = line_bytes, drain_s
        # A session of its own: Ctrl-C in the terminal is for the engine to answer, and kill() reaches grandchildren.
        posix = os.name == "posix"
        flags = 0 if posix else subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
        self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, start_new_session=posix, creationflags=flags)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read_output, name=f"child {self.pid} output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name=f"child {self.pid} exit", daemon=True).start()

    def write(self, data: bytes) -> None:
        """To its standard input; for what fits into a pipe."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:
            log.warning("child %d ended before it read its input: %s", self.pid, error)   # on_exit says the rest

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for raw in iter(lambda: self._process.stdout.readline(self._line_bytes), b""):   # type: ignore[union-attr]
            self._on_line(raw.rstrip())

    def _wait(self) -> None:
        code = self._process.wait()
        self._kill_group()   # what it had started must not outlive it
        self._reader.join(self._drain_s)
        self._on_exit(code)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close_stdin(self) -> None:
        """Tell it to end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            log.debug("child %d: %s", self.pid, error)   # it is gone already

    def kill(self) -> None:
        """End it now, with the processes that it started. Harmless when it has ended."""
        if not self.is_alive:
            return
        log.info("killing child %d", self.pid)
        if os.name == "posix":
            self._kill_group()
        else:
            self._process.kill()

    def _kill_group(self) -> None:
        if os.name != "posix":
            return   # no groups there: a child's helpers end when their pipes close
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            log.debug("child %d left nobody behind", self.pid)
        except PermissionError as error:
            log.debug("child %d: %s", self.pid, error)   # macOS says this of a group of zombies

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within that time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


class WorkerProcess(ChildProcess):
    """A worker: it gets its config as the first line of stdin."""

    def __init__(self, command: Sequence[str], config: WorkerConfig, stderr_lines: int,
                 on_exit: Callable[[int, str], None]) -> None:
        """on_exit: called once, from a thread of this class, with (return code, last lines of its output).

        Raises OSError when the command cannot be started.
        """
        tail: deque[str] = deque(maxlen=stderr_lines)

        def keep(raw: bytes) -> None:
            line = raw.decode("utf-8", "replace")
            if line:
                tail.append(line)
                log.info("worker %d: %s", self.pid, line)

        super().__init__(command, keep, lambda code: on_exit(code, "\n".join(tuple(tail))))
        self.write(dump_json(to_plain(config)) + b"\n")
