"""The client against an engine played by the test: what a good engine never does, and when there is none."""
from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils.z85 import encode as z85

from slipcast.bridge import PROTOCOL_VERSION, link
from slipcast.bridge.client import Client, new_job_id
from slipcast.bridge.codec import BLOB_FROM_CLIENT, CTL_FROM_CLIENT, Envelope, decode, encode
from slipcast.bridge.connection import Connection, write_connection
from slipcast.bridge.errors import (
    BadHeader,
    BridgeError,
    EngineGone,
    EngineNotFound,
    NotAllowed,
    QuotaReached,
    TimedOut,
    VersionMismatch,
)
from slipcast.bridge.events import Connected, Disconnected, Event, JobChanged, JobsListed, Previewed, Progressed
from slipcast.bridge.messages import (
    BufferSpec,
    Error,
    Hello,
    JobInfo,
    JobList,
    Limits,
    ListJobs,
    NeedBlobs,
    Ping,
    Pong,
    Preview,
    Progress,
    Put,
    PutReady,
    Submit,
    Subscribe,
    Welcome,
)

Answer = Callable[[Envelope], Any]


class PlayedEngine:
    """Two ROUTER sockets with CURVE and a doorman; `answer` says what to reply to a message (None: nothing)."""

    def __init__(self, answer: Answer | None = None, epoch: str = "e-1") -> None:
        self.epoch, self._answer = epoch, answer or (lambda envelope: None)
        self.received: list[Any] = []
        self._context: zmq.Context[Any] = zmq.Context()
        (public, secret), (self._admitted, client_secret) = zmq.curve_keypair(), zmq.curve_keypair()
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind("inproc://zeromq.zap.01")
        self._sockets = tuple(self._router(public, secret) for _ in range(2))
        ctl, blob = (socket.get_string(zmq.LAST_ENDPOINT) for socket in self._sockets)
        self.connection = Connection(ctl, blob, public.decode(), self._admitted.decode(), client_secret.decode(),
                                     os.getpid(), epoch, "0.1.0")
        self._outbox: list[tuple[bytes, list[Any]]] = []
        self._peer = b""
        self.frozen = self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _router(self, public: bytes, secret: bytes) -> zmq.Socket[Any]:
        socket = self._context.socket(zmq.ROUTER)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_PUBLICKEY, public)
        socket.set(zmq.CURVE_SECRETKEY, secret)
        socket.set(zmq.ZAP_DOMAIN, b"test")
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.set(zmq.MAXMSGSIZE, Limits().chunk_bytes + 1024)
        socket.bind("tcp://127.0.0.1:*")
        return socket

    def push(self, message: Any, *frames: bytes, raw: list[bytes] | None = None) -> None:
        """To the client that spoke last."""
        self._outbox.append((self._peer, raw or encode(message, frames=frames)))

    def _run(self) -> None:
        while not self._ending:
            if self._zap.poll(0):
                self._admit(self._zap.recv_multipart())
            for socket, accept in zip(self._sockets, (CTL_FROM_CLIENT, BLOB_FROM_CLIENT), strict=True):
                if not self.frozen and socket.poll(2):
                    self._reply(socket, accept)
            while self._outbox:
                peer, parts = self._outbox.pop(0)
                self._sockets[0].send_multipart([peer, *parts])
        for socket in (*self._sockets, self._zap):
            socket.close(linger=0)

    def _admit(self, request: list[bytes]) -> None:
        known = z85(request[6]) == self._admitted
        self._zap.send_multipart([request[0], request[1], b"200" if known else b"400", b"", b"client", b""])

    def _reply(self, socket: zmq.Socket[Any], accept: Any) -> None:
        peer, *parts = socket.recv_multipart()
        if socket is self._sockets[0]:
            self._peer = peer
        envelope = decode(parts, accept)
        self.received.append(envelope.message)
        answer = self._answer(envelope)
        if answer is None and isinstance(envelope.message, Hello):
            answer = Welcome(PROTOCOL_VERSION, "0.1.0", self.epoch, Limits(), ("views",))
        if answer is None and isinstance(envelope.message, Ping):
            answer = Pong()
        if isinstance(answer, bytes):
            socket.send_multipart([peer, answer])
        elif answer is not None:
            socket.send_multipart([peer, *encode(answer, re=envelope.id)])

    def close(self) -> None:
        if not self._ending:
            self._ending = True
            self._thread.join(5.0)
            assert not self._thread.is_alive()
            self._context.term()


@pytest.fixture
def play() -> Iterator[Callable[..., PlayedEngine]]:
    engines: list[PlayedEngine] = []

    def start(answer: Answer | None = None, epoch: str = "e-1") -> PlayedEngine:
        engines.append(PlayedEngine(answer, epoch))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def wait_for(client: Client, kind: type, timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    seen: list[Event] = []
    while time.monotonic() < deadline:
        event = client.next_event(0.1)
        if isinstance(event, kind):
            return event
        if event is not None:
            seen.append(event)
    raise AssertionError(f"no {kind.__name__}, but {seen}")


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def info(job: str, state: str, revision: int = 1) -> JobInfo:
    return JobInfo(job, "views", state, revision, 1, 0.0)


# --- getting in ------------------------------------------------------------------------------------------------------
def test_keys_that_are_not_right_are_refused_for_good(play: Callable[..., PlayedEngine]):
    good = play().connection
    public, secret = (key.decode() for key in zmq.curve_keypair())
    for wrong in (dataclasses.replace(good, client_public=public, client_secret=secret),
                  dataclasses.replace(good, server_public=public)):
        with Client(wrong) as client:
            with pytest.raises(NotAllowed):
                client.connect(timeout_s=10.0)
            event = wait_for(client, Disconnected)
            while not event.final:
                event = wait_for(client, Disconnected)
            assert isinstance(event.error, NotAllowed)


@pytest.mark.parametrize("change", [{"ctl": "tcp://nowhere"}, {"blob": "tcp://127.0.0.1:"},
                                    {"server_public": "~" * 40}, {"client_secret": "\u00e4" * 40}])
def test_a_connection_that_cannot_be_used_is_final_and_said_so(play: Callable[..., PlayedEngine],
                                                               change: dict[str, str]):
    wrong = dataclasses.replace(play().connection, **change)
    with Client(wrong) as client, pytest.raises(BadHeader, match="cannot be used"):
        client.connect(timeout_s=10.0)


def test_nobody_listening_is_engine_gone_when_the_time_is_over(play: Callable[..., PlayedEngine]):
    engine = play()
    engine.close()
    with Client(engine.connection) as client:
        started = time.monotonic()
        with pytest.raises(EngineGone):
            client.connect(timeout_s=0.5)
        assert 0.5 <= time.monotonic() - started < 3.0


def test_an_engine_that_accepts_and_says_nothing_times_out(play: Callable[..., PlayedEngine]):
    engine = play(lambda envelope: b"" if isinstance(envelope.message, Hello) else None)
    with Client(engine.connection) as client, pytest.raises(TimedOut):
        client.connect(timeout_s=0.5)


@pytest.mark.parametrize("answer", [
    Welcome(PROTOCOL_VERSION + 1, "9.0.0", "e-1", Limits(), ()),
    Error("version_mismatch", "Protocol 1 is not spoken here."),
    b'{"v":3,"type":"error","re":"hello","body":{"code":"version_mismatch","message":"old","hint":""}}',
], ids=["welcome", "error", "error in another version"])
def test_another_protocol_version_is_final(play: Callable[..., PlayedEngine], answer: Any):
    engine = play(lambda envelope: answer if isinstance(envelope.message, Hello) else None)
    with Client(engine.connection) as client:
        with pytest.raises(VersionMismatch):
            client.connect(timeout_s=10.0)
        with pytest.raises(VersionMismatch):       # also for who asks later
            client.wait(client.submit("views", {}, {}), timeout_s=10.0)


def test_there_is_no_client_without_a_connection_file(tmp_path: Path):
    with pytest.raises(EngineNotFound):
        Client.from_file(tmp_path / "engine.json")


# --- losing the engine and finding it again --------------------------------------------------------------------------
def test_a_restarted_engine_is_found_through_its_file_and_jobs_are_followed_again(play: Callable[..., PlayedEngine],
                                                                                  tmp_path: Path):
    job, path = new_job_id(), tmp_path / "engine.json"

    def answer(envelope: Envelope) -> Any:
        return info(job, "running") if isinstance(envelope.message, (Submit, Subscribe)) else None

    first = play(answer)
    write_connection(path, first.connection)
    with Client.from_file(path) as client:
        client.connect()
        client.submit("views", {}, {}, job)
        wait_for(client, JobChanged)
        first.close()
        assert not wait_for(client, Disconnected).final
        second = play(answer, epoch="e-2")
        write_connection(path, second.connection)
        connected = wait_for(client, Connected)
        assert connected.new_epoch
        until(lambda: second.received[1:] == [Subscribe(job)])
        second.push(Progress(job, 2, 1, "hull", 0, 1, 1, 2, "views", 0.0, 0.0))
        assert wait_for(client, Progressed).progress.attempt == 2


def test_an_engine_that_is_stuck_is_noticed_although_its_sockets_live(play: Callable[..., PlayedEngine],
                                                                      monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link, "_SILENCE_S", 0.1)
    monkeypatch.setattr(link, "_PONG_S", 0.5)
    engine = play()
    with Client(engine.connection) as client:
        client.connect()
        until(lambda: Ping() in engine.received)
        engine.frozen = True
        assert not wait_for(client, Disconnected, 5.0).final
        engine.frozen = False
        assert not wait_for(client, Connected).new_epoch


def test_a_lost_engine_is_told_once_however_often_it_is_tried(play: Callable[..., PlayedEngine]):
    engine = play()
    with Client(engine.connection) as client:
        client.connect()
        engine.close()
        wait_for(client, Disconnected)
        time.sleep(1.5)            # 0.2 + 0.4 + 0.8 s: three attempts
        assert client.next_event() is None
        assert client.welcome is None


def test_wait_does_not_wait_for_an_engine_that_stays_away(play: Callable[..., PlayedEngine],
                                                          monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slipcast.bridge.client._GONE_S", 0.3)
    engine = play()
    with Client(engine.connection) as client:
        client.connect()
        engine.close()
        with pytest.raises(EngineGone):
            client.wait(new_job_id(), timeout_s=20.0)


# --- a bad engine ----------------------------------------------------------------------------------------------------
def test_an_answer_to_what_came_just_before_the_link_went_down_is_dropped():
    """One step of the link can bring a message and the end of its sockets; what the message makes the client send then
    must not end the client."""
    context: zmq.Context[Any] = zmq.Context()
    wake = context.socket(zmq.PAIR)
    gone = link.Link(context, wake, lambda: pytest.fail("nobody asked"), Hello(PROTOCOL_VERSION, "1", "test"))
    gone.send_ctl(Ping(), "1" * 32)
    gone.send_blob(Ping(), "2" * 32, ())
    wake.close(linger=0)
    context.term()


def test_nonsense_is_dropped_and_the_link_goes_on(play: Callable[..., PlayedEngine]):
    engine = play(lambda envelope: JobList(()) if isinstance(envelope.message, ListJobs) else None)
    with Client(engine.connection) as client:
        client.connect()
        noise = [[os.urandom(50)] for _ in range(50)]
        for raw in ([b""], [b"\xff" * 100], [b"{}", b"x"], [b"[" * 100_000], [b""] * 50, *noise):
            engine.push(None, raw=raw)
        engine.push(Preview("a" * 32, 1, 1, "hull", False, (BufferSpec("f8", (2**60,), "0" * 64),)), b"x")
        client.list_jobs()
        assert wait_for(client, JobsListed).jobs == JobList(())


def test_an_answer_that_cannot_be_read_ends_its_request(play: Callable[..., PlayedEngine]):
    def answer(envelope: Envelope) -> Any:
        if isinstance(envelope.message, Submit):
            return b'{"v":3,"type":"job_info","re":"%s","body":{"job":5}}' % envelope.id.encode()
        return None

    with Client(play(answer).connection) as client:
        client.connect()
        with pytest.raises(BadHeader):
            client.wait(client.submit("views", {}, {}), timeout_s=10.0)


def test_a_flood_of_previews_costs_a_reader_that_is_away_nothing(play: Callable[..., PlayedEngine]):
    job = new_job_id()
    engine = play(lambda envelope: info(job, "running") if isinstance(envelope.message, Submit) else None)
    with Client(engine.connection) as client:
        client.connect()
        client.submit("views", {}, {}, job)
        wait_for(client, JobChanged)
        for seq in range(300):
            engine.push(Preview(job, 1, seq, "hull", False, ()))
            engine.push(Progress(job, 1, seq, "hull", 0, 1, seq, 300, "views", 0.0, 0.0))
        engine.push(info(job, "running", 2))
        until(lambda: len(client._events) == 3)
        assert wait_for(client, Previewed).preview.seq == 299
        assert wait_for(client, Progressed).progress.seq == 299


# --- the caller is never held up -------------------------------------------------------------------------------------
def test_no_request_waits_for_the_disk_or_the_engine(play: Callable[..., PlayedEngine], tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(bytes(50_000_000))
    engine = play()
    with Client(engine.connection) as client:
        client.connect()
        engine.frozen = True
        slowest = 0.0
        for request in (lambda: client.submit("views", {}, {"large": path}), lambda: client.cancel("a" * 32),
                        client.list_jobs, lambda: client.get("a" * 32), client.next_event):
            started = time.perf_counter()
            request()
            slowest = max(slowest, time.perf_counter() - started)
        assert slowest < 0.02       # hashing 50 MB takes longer than that on any machine of today
        engine.frozen = False


def test_close_is_quick_in_the_middle_of_an_upload(play: Callable[..., PlayedEngine], tmp_path: Path):
    def answer(envelope: Envelope) -> Any:
        message = envelope.message
        if isinstance(message, Submit):
            return NeedBlobs(message.job, tuple(ref.sha256 for ref in message.inputs))
        return PutReady(message.sha256, 0, 4) if isinstance(message, Put) else None

    path = tmp_path / "large"
    path.write_bytes(os.urandom(20_000_000))
    engine = play(answer)
    client = Client(engine.connection)
    client.connect()
    client.submit("views", {}, {"large": path})
    until(lambda: any(isinstance(message, Put) for message in engine.received))
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 2.0
    assert not [thread.name for thread in threading.enumerate() if thread.name == "slipcast-client"]
    client.close()       # again: nothing happens
    client.list_jobs()


def test_a_client_that_was_closed_does_not_make_anybody_wait(play: Callable[..., PlayedEngine]):
    client = Client(play().connection)
    client.connect()
    client.close()
    with pytest.raises(EngineGone):
        client.wait(new_job_id(), timeout_s=10.0)


def test_a_bug_in_the_client_is_told_to_who_waits(play: Callable[..., PlayedEngine], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with Client(play().connection) as client:
        client.connect()
        client._do(lambda conversation, link: 1 / 0)      # type: ignore[arg-type]
        with pytest.raises(BridgeError, match="stopped"):
            client.wait(new_job_id(), timeout_s=10.0)


def test_a_job_id_must_be_one(play: Callable[..., PlayedEngine]):
    client = Client(play().connection)
    for wrong in ("x", "A" * 32, "a" * 31):
        with pytest.raises(BadHeader):
            client.submit("views", {}, {}, wrong)
    client.close()


def test_an_input_that_is_neither_file_nor_bytes_is_refused_at_once(play: Callable[..., PlayedEngine]):
    with Client(play().connection) as client, pytest.raises(TypeError, match=r"'a\.png' is str"):
        client.submit("views", {}, {"a.png": "a.png"})   # type: ignore[dict-item]


def test_a_refused_job_raises_the_engines_error(play: Callable[..., PlayedEngine]):
    engine = play(lambda envelope: Error("quota", "Full.") if isinstance(envelope.message, Submit) else None)
    with Client(engine.connection) as client:
        client.connect()
        with pytest.raises(QuotaReached, match="Full"):
            client.wait(client.submit("views", {}, {}), timeout_s=10.0)
