"""Finds, starts, watches and ends the engine process. No bpy; nothing here waits.

The engine runs the add-on's own copy of the code (engine/start.py, by file path) with the Python of the engine's own
environment. Its connection file and its log lie in the data folder, so all Blenders of one person with one data
folder share one engine.
"""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bridge.connection import Connection, read_connection
from ..bridge.errors import BadHeader, EngineFailed, EngineNotFound

log = logging.getLogger(__name__)

PYTHON_VARIABLE = "SLIPCAST_ENGINE_PYTHON"
LAST_BYTES = 4096
LAST_LINES = 2
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_PYTHON_NAMES = ("bin/python3", "bin/python", "Scripts/python.exe", "python.exe")
_FOREIGN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE")


@dataclass(frozen=True)
class EngineStatus:
    """state: "off", "starting", "up" (connection is set), "stopping" or "failed" (why is set)."""

    state: str
    connection: Connection | None = None
    why: str = ""


def python_from_environment() -> str:
    """The one place of the add-on that reads its environment variable."""
    return os.environ.get(PYTHON_VARIABLE, "").strip()


def find_engine_python(preferred: str) -> Path:
    """The Python of the engine's environment: `preferred` (from the preferences), else the environment variable.
    Either may also name the folder of a virtual environment.

    Raises EngineNotFound, saying what to do, when neither is set or the file is not there.
    """
    given = preferred.strip() or python_from_environment()
    if not given:
        raise EngineNotFound("Slipcast does not know which Python runs its engine.",
                             "Choose it under Preferences > Add-ons > Slipcast > Engine Python (or set the environment "
                             f"variable {PYTHON_VARIABLE}).")
    path = Path(given).expanduser()
    if path.is_dir():  # the environment's folder is as good
        path = next((path / name for name in _PYTHON_NAMES if (path / name).is_file()), path)
    if not path.is_file():
        raise EngineNotFound(f"The engine's Python is not there: {path}.",
                             "Choose another one under Preferences > Add-ons > Slipcast > Engine Python.")
    return path


class EngineProcess:
    """One engine: either one that this starts, or one that runs already for the same data folder.

    python: found by find_engine_python. package_root: folder that holds engine/start.py. stay: keep the engine
    running after this Blender has ended; otherwise it ends as soon as its standard input closes.
    """

    def __init__(self, python: Path, package_root: Path, data_dir: Path, stay: bool = False,
                 quota_gb: int | None = None) -> None:
        self._python, self._package_root, self._data_dir, self._stay = python, package_root, data_dir, stay
        self._quota_gb = quota_gb
        self._process: subprocess.Popen[bytes] | None = None
        self._since_s = 0.0          # when the state became "starting" or "stopping"
        self._status = EngineStatus("off")

    @property
    def connection_path(self) -> Path:
        return self._data_dir / "engine.json"

    @property
    def log_path(self) -> Path:
        return self._data_dir / "engine-output.log"

    @property
    def is_ours(self) -> bool:
        """Whether this object started the engine, so that it may end it."""
        return self._process is not None

    @property
    def stays(self) -> bool:
        return self._stay

    def start(self) -> EngineStatus:
        """Take the engine that runs already, else start one; returns at once. Does nothing when one is up or ending.

        Raises EngineFailed when the process cannot be started at all.
        """
        if self.poll().state in ("starting", "up", "stopping"):
            return self._status
        self._process = None
        running = self._running_connection()
        if running is not None:
            self._status = EngineStatus("up", running)
            return self._status
        return self.start_new()

    def start_new(self) -> EngineStatus:
        """Start an engine without looking for a running one (whose connection file is then void)."""
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self.connection_path.unlink(missing_ok=True)
            with self.log_path.open("wb") as output:
                self._process = subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL if self._stay else subprocess.PIPE,
                    stdout=output, stderr=output, env=_clean_environment(), **_own_group())
        except OSError as error:
            self._status = EngineStatus("failed", why=f"{error.strerror or error}")
            raise EngineFailed(f"The engine could not be started: {error}.",
                               "Check Engine Python and Data Folder under Preferences > Add-ons > Slipcast.") from error
        log.info("engine process %d started with %s", self._process.pid, self._python)
        self._since_s = time.monotonic()
        self._status = EngineStatus("starting")
        return self._status

    def poll(self) -> EngineStatus:
        """Look at the process and its connection file; cheap enough for every tick of a timer."""
        state = self._status.state
        if state in ("starting", "up") and self._has_ended():
            self._status = EngineStatus("failed", why=self._why_ended())
        elif state == "starting":
            self._poll_starting()
        elif state == "stopping":
            self._poll_stopping()
        return self._status

    def stop(self) -> None:
        """Ask our engine to end: its standard input closes. One that is not ours, or is to stay, must be told by
        message (Client.shutdown); the state is "stopping" until the process has ended."""
        if self._status.state not in ("starting", "up"):
            return
        self._since_s = time.monotonic()
        self._status = EngineStatus("stopping", self._status.connection)
        self._close_stdin()
        if self._stay and self._status.connection is None and self._process is not None:
            self._process.terminate()  # it has not said yet where it listens

    def close(self) -> None:
        """Blender ends, or the add-on is disabled: our engine ends by itself unless it is to stay."""
        self._close_stdin()
        if self._process is not None:
            patience_s = None if self._stay else STOP_TIMEOUT_S
            threading.Thread(target=_reap, args=(self._process, patience_s), name="slipcast-engine-end",
                             daemon=True).start()
        self._process, self._status = None, EngineStatus("off")

    def kill(self) -> None:
        """End our process at once, for an engine that does not react. Jobs are durable; nothing is lost."""
        self._close_stdin()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _poll_stopping(self) -> None:
        if self._has_ended():
            self._process, self._status = None, EngineStatus("off")
        elif time.monotonic() - self._since_s > STOP_TIMEOUT_S:
            self.kill()
            if self._process is None:  # not ours: nothing more that we may do
                self._status = EngineStatus("failed", why="it was asked to end and did not")

    def _poll_starting(self) -> None:
        try:
            self._status = EngineStatus("up", read_connection(self.connection_path))
        except EngineNotFound:
            if time.monotonic() - self._since_s > START_TIMEOUT_S:
                self.kill()
                self._status = EngineStatus("failed", why=f"no sign of life for {START_TIMEOUT_S:.0f} s")
        except BadHeader as error:
            self.kill()
            self._status = EngineStatus("failed", why=error.message)

    def _running_connection(self) -> Connection | None:
        try:
            connection = read_connection(self.connection_path)
        except (EngineNotFound, BadHeader):
            return None
        return connection if is_process_alive(connection.pid) else None

    def _has_ended(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        return self._status.connection is not None and not is_process_alive(self._status.connection.pid)

    def _why_ended(self) -> str:
        code = self._process.returncode if self._process is not None else None
        ended = "it ended" if code is None else f"it ended with code {code}"
        if code is not None and code < 0:
            ended = f"it was ended by signal {-code}"
        said = self.last_words()
        return f"{ended}: {said}" if said else ended

    def last_words(self) -> str:
        """The last lines of what the engine wrote that are not its ordinary log, in one line; may be empty."""
        try:
            with self.log_path.open("rb") as output:
                output.seek(max(0, self.log_path.stat().st_size - LAST_BYTES))
                text = output.read().decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip() and " INFO " not in line]
        return " | ".join(lines[-LAST_LINES:])

    def _command(self) -> list[str]:
        command = [str(self._python), "-P", str(self._package_root / "engine" / "start.py"), "serve",
                   "--connection", str(self.connection_path), "--data", str(self._data_dir)]
        if self._quota_gb is not None:
            command += ["--quota-gb", str(self._quota_gb)]
        return command if self._stay else [*command, "--stop-with-stdin"]


def is_process_alive(pid: int) -> bool:
    """Whether a process of this id runs (perhaps another one that got the id since)."""
    if sys.platform == "win32":  # there os.kill(pid, 0) would interrupt it
        import ctypes

        query, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(query, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == still_active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _clean_environment() -> dict[str, str]:
    """Blender's environment without what would make another Python load Blender's modules."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN_VARIABLES}


def _own_group() -> dict[str, Any]:
    # Ctrl+C in Blender's terminal is for Blender, which then cancels the job in good order
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _reap(process: subprocess.Popen[bytes], patience_s: float | None) -> None:
    """Wait for the end of a child, so that it is not taken for a running one when the add-on is enabled again."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
