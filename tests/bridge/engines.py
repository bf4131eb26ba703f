"""Real engines for the tests, clients that behave and peers that do not."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import zmq

from slipcast.bridge import PROTOCOL_VERSION, VERSION
from slipcast.bridge.client import Client
from slipcast.bridge.codec import CTL_FROM_ENGINE, decode, encode
from slipcast.bridge.connection import Connection, read_connection
from slipcast.bridge.events import EngineChanged
from slipcast.bridge.messages import Hello, Welcome

_SERVE = Path(__file__).resolve().parent / "serve_fake.py"


class Engine:
    """One engine process on one data folder; may be killed and started again."""

    def __init__(self, folder: Path, **settings) -> None:
        self.data, self.connection_file = folder / "data", folder / "engine.json"
        # With stdin, so that not even a test run that is killed leaves an engine behind.
        self._folder, self._settings = folder, {"stop_with_stdin": True} | settings
        self.process: subprocess.Popen | None = None
        self.seen: list[psutil.Process] = []

    def start(self, **settings) -> Engine:
        """Start and wait for the connection file of this very process."""
        if self.process is not None:
            self.process.stdin.close()
        self._settings |= settings
        self.launch()
        until(lambda: self.connection().pid == self.process.pid if self.connection_file.exists() else False,
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
        self.process.stdin.close()

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


def is_running(process: psutil.Process) -> bool:
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


def until(check, why: str, alive=lambda: True, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert alive() and time.monotonic() < deadline, why
        time.sleep(0.01)


class Peer:
    """A raw DEALER on one of the engine's sockets, for what a well-behaved client would never send."""

    def __init__(self, connection: Connection, endpoint: str, keys: tuple[bytes, bytes] | None = None,
                 server_public: str = "", receive_queue: int = 1000) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger, self.socket.sndtimeo = 0, 5000
        self.socket.rcvhwm = receive_queue   # 1: libzmq itself does not read ahead of us
        public, secret = keys or (connection.client_public.encode(), connection.client_secret.encode())
        self.socket.curve_serverkey = (server_public or connection.server_public).encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        self.socket.connect(endpoint)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.destroy(linger=0)

    def send(self, message, id="", re="", frames=()) -> None:
        self.socket.send_multipart(encode(message, id=id, re=re, frames=frames))

    def receive(self, accept, timeout_s: float = 5.0):
        """The next envelope, or None."""
        if not self.socket.poll(int(1000 * timeout_s)):
            return None
        return decode(self.socket.recv_multipart(), accept)

    def ask(self, message, id: str, accept, frames=(), timeout_s: float = 5.0):
        """Send, and wait for the reply to it; what else comes is dropped."""
        self.send(message, id=id, frames=frames)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            envelope = self.receive(accept, 0.1)
            if envelope is not None and envelope.re == id:
                return envelope.message
        raise AssertionError(f"no answer to {message}")


def greet(peer: Peer) -> None:
    assert isinstance(peer.ask(Hello(PROTOCOL_VERSION, VERSION, "raw"), "hello", CTL_FROM_ENGINE), Welcome)
