"""Real engines for the tests: started, watched, and looked after to the last process."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from slipcast.bridge.client import Client
from slipcast.bridge.connection import Connection, read_connection
from slipcast.bridge.events import EngineChanged

_SERVE = Path(__file__).resolve().parent / "serve_fake.py"


class Engine:
    """One engine process on one data folder; may be killed and started again."""

    def __init__(self, folder: Path, **settings) -> None:
        self.data, self.connection_file = folder / "data", folder / "engine.json"
        self._folder, self._settings = folder, settings
        self.process: subprocess.Popen | None = None
        self.seen: list[psutil.Process] = []

    def start(self, **settings) -> Engine:
        """Start and wait for the connection file of this very process."""
        self._settings |= settings
        self.launch()
        _until(lambda: self.connection().pid == self.process.pid if self.connection_file.exists() else False,
               "the engine did not write its connection file", lambda: self.process.poll() is None)
        return self

    def launch(self) -> None:
        with (self._folder / "engine.stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(_SERVE), str(self.data), str(self.connection_file),
                 json.dumps(self._settings)], stdin=subprocess.PIPE, stdout=stderr, stderr=stderr)
        self.seen.append(psutil.Process(self.process.pid))

    def connection(self) -> Connection:
        return read_connection(self.connection_file)

    def client(self, name: str = "test") -> Client:
        """Connected; use it as a context manager."""
        client = Client.from_file(self.connection_file, name)
        client.connect(15)
        return client

    def workers(self) -> list[psutil.Process]:
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.seen.extend(child for child in found if child not in self.seen)
        return found

    def kill(self) -> None:
        """As a crash would."""
        self.workers()
        self.process.kill()
        self.process.wait(10)

    def log(self) -> str:
        return (self._folder / "engine.stderr").read_text()

    def end(self) -> int:
        """Ask it to end, as a service manager would; returns its exit code."""
        if self.process.poll() is None:
            self.workers()
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        self.process.stdin.close()
        return code


@pytest.fixture
def make_engine(tmp_path):
    """Engine(**settings), ended after the test; afterwards none of its processes may be left."""
    engines = []

    def make(**settings) -> Engine:
        folder = tmp_path / f"engine-{len(engines)}"
        folder.mkdir()
        engines.append(Engine(folder, **settings))
        return engines[-1]

    yield make
    for engine in engines:
        if engine.process is not None:
            if engine.process.poll() is None:
                assert engine.end() == 0, engine.log()
            engine.process.stdin.close()
            left = psutil.wait_procs([process for process in engine.seen if _is_ours(process)], timeout=5)[1]
            assert not left, f"still running: {left}"


@pytest.fixture
def engine(make_engine) -> Engine:
    return make_engine().start()


@pytest.fixture
def client(engine):
    with engine.client() as client:
        yield client


def _is_ours(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def script(**what) -> dict[str, bytes]:
    """The inputs of a job whose fake pipeline does this."""
    return {"script.json": json.dumps(what).encode()}


def events_until(client: Client, wanted, timeout_s: float = 15.0) -> list:
    """Read events until wanted(event); all of them, that one last."""
    deadline, events = time.monotonic() + timeout_s, []
    while time.monotonic() < deadline:
        event = client.next_event(0.05)
        if event is not None:
            events.append(event)
            if wanted(event):
                return events
    raise AssertionError(f"not within {timeout_s} s; came: {events}")


def wait_ready(client: Client) -> None:
    events_until(client, lambda event: isinstance(event, EngineChanged) and event.state.state == "ready")


def _until(check, why: str, alive=lambda: True, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert alive() and time.monotonic() < deadline, why
        time.sleep(0.01)


until = _until
ON_WINDOWS = os.name == "nt"
