"""One worker as a child process: started, watched, killed. It knows nothing of jobs."""
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
_LINE_CHARS = 2000


def default_worker_command() -> tuple[str, ...]:
    """This Python, this very copy of the code. -P: the script's folder does not become importable."""
    return (sys.executable, "-P", str(Path(__file__).resolve().parents[1] / "start.py"), "worker")


class WorkerProcess:
    """A child that reads its config from stdin and lives no longer than that pipe.

    on_exit is called once, from a thread of this class, with (return code, last lines of its output).
    """

    def __init__(self, command: Sequence[str], config: WorkerConfig, stderr_lines: int,
                 on_exit: Callable[[int, str], None]) -> None:
        """Raises OSError when the command cannot be started."""
        self._tail: deque[str] = deque(maxlen=stderr_lines)
        self._on_exit = on_exit
        # A session of its own: Ctrl-C in the terminal is for the engine to answer, and kill() reaches grandchildren.
        posix = os.name == "posix"
        flags = 0 if posix else subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
        self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, start_new_session=posix, creationflags=flags)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read_output, name=f"worker {self.pid} output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name=f"worker {self.pid} exit", daemon=True).start()
        self._write_config(config)

    def _write_config(self, config: WorkerConfig) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(dump_json(to_plain(config)) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            log.warning("worker %d ended before it read its config: %s", self.pid, error)   # on_exit says the rest

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for raw in iter(lambda: self._process.stdout.readline(_LINE_CHARS), b""):   # type: ignore[union-attr]
            line = raw.decode("utf-8", "replace").rstrip()
            if line:
                self._tail.append(line)
                log.info("worker %d: %s", self.pid, line)

    def _wait(self) -> None:
        code = self._process.wait()
        self._kill_group()   # what it had started must not outlive it
        self._reader.join(0.3)   # a grandchild may hold the pipe open; its owner's last words are here by now
        self._on_exit(code, "\n".join(tuple(self._tail)))

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close_stdin(self) -> None:
        """Tell it to end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            log.debug("worker %d: %s", self.pid, error)   # it is gone already

    def kill(self) -> None:
        """End it now, with the processes that it started. Harmless when it has ended."""
        if not self.is_alive:
            return
        log.info("killing worker %d", self.pid)
        if os.name == "posix":
            self._kill_group()
        else:
            self._process.kill()

    def _kill_group(self) -> None:
        if os.name != "posix":
            return   # no groups there: a worker's helpers end when their pipes close
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            log.debug("worker %d left nobody behind", self.pid)
        except PermissionError as error:
            log.debug("worker %d: %s", self.pid, error)   # macOS says this of a group of zombies

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within that time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True
