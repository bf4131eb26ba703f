"""Who gets in, and what happens to those inside who send nonsense."""
from __future__ import annotations

import dataclasses
import json
import os
import socket
import stat
import time
from contextlib import suppress

import psutil
import pytest
import zmq
from engines import Peer, greet, script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipcast.bridge import PROTOCOL_VERSION
from slipcast.bridge.client import Client
from slipcast.bridge.codec import BLOB_FROM_ENGINE, CTL_FROM_ENGINE
from slipcast.bridge.errors import NotAllowed
from slipcast.bridge.messages import (
    Cancel,
    Chunk,
    Error,
    Fetch,
    Get,
    Hello,
    InputRef,
    JobList,
    ListJobs,
    Ping,
    Pong,
    Put,
    Submit,
)

SHA = "ab" * 32
JOB = "cd" * 16


def _still_works(client):
    assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.state == "done"


@pytest.mark.parametrize("which", ["ctl", "blob"])
@pytest.mark.parametrize("door", ["own key", "no security", "plain password", "wrong server key"])
def test_only_the_key_in_the_connection_file_gets_in(engine, client, which, door):
    connection = engine.connection()
    stranger, other = zmq.curve_keypair(), zmq.curve_keypair()
    with Peer(connection, getattr(connection, which),
              keys=stranger if door == "own key" else None,
              server_public=other[0].decode() if door == "wrong server key" else "") as peer:
        if door in ("no security", "plain password"):
            peer.socket.close()
            peer.socket = peer.context.socket(zmq.DEALER)
            if door == "plain password":
                peer.socket.plain_username, peer.socket.plain_password = b"admin", b"admin"
            peer.socket.connect(getattr(connection, which))
        peer.socket.sndtimeo = 100
        for _ in range(5):
            with suppress(zmq.Again):   # libzmq has no connection to write to: thrown out already
                peer.send(Hello(2, "0.1.0", "stranger") if which == "ctl" else Fetch(SHA, 4), id="x")
        assert peer.receive({}, 0.5) is None
    _still_works(client)
    assert "stranger" not in engine.log()


def test_a_client_with_a_wrong_key_is_told_so(engine):
    public, secret = (key.decode() for key in zmq.curve_keypair())
    with Client(dataclasses.replace(engine.connection(), client_public=public, client_secret=secret)) as client, \
            pytest.raises(NotAllowed):
        client.connect(10)


def test_a_client_key_does_not_open_the_workers_endpoint_and_all_three_are_loopback_only(engine, client):
    connection = engine.connection()
    listening = [item.laddr for item in psutil.Process(engine.process.pid).net_connections("tcp")
                 if item.status == "LISTEN"]
    assert len(listening) == 3 and {address.ip for address in listening} == {"127.0.0.1"}
    used = {int(endpoint.rsplit(":", 1)[1]) for endpoint in (connection.ctl, connection.blob)}
    [port] = {address.port for address in listening} - used
    with Peer(connection, f"tcp://127.0.0.1:{port}") as peer:
        peer.send(Ping(), id="x")
        assert peer.receive({}, 1.0) is None
    _still_works(client)


@pytest.mark.skipif(os.name == "nt", reason="modes")
def test_the_connection_file_is_private_and_no_key_is_on_a_command_line(engine):
    assert stat.S_IMODE(engine.connection_file.stat().st_mode) == 0o600
    keys = [value for value in json.loads(engine.connection_file.read_text()).values()
            if isinstance(value, str) and len(value) == 40]   # as Z85
    assert len(keys) == 3
    for process in [*engine.workers(), psutil.Process(engine.process.pid)]:
        words = process.cmdline()
        assert words and not any(key in word for key in keys for word in words)


def test_a_connection_that_says_nothing_is_closed(engine):
    host, port = engine.connection().ctl.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=6) as silent:
        began = time.monotonic()
        while silent.recv(1024):
            pass   # the engine's half of the greeting, then the end
        assert time.monotonic() - began < 5


NONSENSE = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"v":3,"type":"ping","n":' + b"9" * 5000 + b"}",
            b'{"v":3,"type":"ping","body":{"x":NaN}}', b'{"v":3,"v":3,"type":"ping"}',
            b'{"v":3,"type":"ping","id":"\\ud800"}', b'{"v":true,"type":"ping"}',
            b'{"v":3,"type":"job_info","id":"a"}', b'{"v":3,"type":"no_such_thing","id":"a"}',
            b'{"v":3,"type":"cancel","id":"a","body":{"job":"../../x"}}', b'{"v":3,"type":"get","id":"a","body":{}}',
            b'{"v":3,"type":"put","id":"a","body":{"sha256":"../../../etc/passwd","size":1}}',
            b'{"v":3,"type":"put","id":"a","body":{"sha256":"' + b"ab" * 32 + b'","size":-1}}',
            b'{"v":3,"type":"ping","id":"a","body":{"x":1}}', b'{"v":4,"type":"ping","id":"a"}']


@pytest.mark.parametrize("which", ["ctl", "blob"])
def test_nonsense_is_answered_with_an_error_and_does_no_harm(engine, client, which):
    connection = engine.connection()
    with Peer(connection, getattr(connection, which)) as peer:
        accept = CTL_FROM_ENGINE
        if which == "ctl":
            greet(peer)
            peer.receive(CTL_FROM_ENGINE)   # engine_state
        else:
            accept = BLOB_FROM_ENGINE
        for header in NONSENSE:
            peer.socket.send(header)
            answer = peer.receive(accept)
            assert answer is not None, header[:60]
            assert isinstance(answer.message, Error), header[:60]
            assert answer.message.code in ("bad_header", "version_mismatch"), header[:60]
            assert answer.re in ("", "a")
    _still_works(client)
    assert "Traceback" not in engine.log()


def test_raw_frames_where_none_belong_are_refused(engine, client):
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        for frames in ([b"x"], [b""] * 50):
            answer = peer.ask(Ping(), "p" + str(len(frames)), CTL_FROM_ENGINE, frames)
            assert isinstance(answer, Error) and answer.code == "bad_frame"
        assert isinstance(peer.ask(Ping(), "q", CTL_FROM_ENGINE), Pong)


def test_hello_comes_first(engine):
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer:
        answer = peer.ask(Ping(), "a", CTL_FROM_ENGINE)
        assert isinstance(answer, Error) and answer.code == "bad_header" and "hello" in answer.message
        answer = peer.ask(Hello(99, "9.9", "from the future"), "b", CTL_FROM_ENGINE)
        assert isinstance(answer, Error) and answer.code == "version_mismatch"


def test_a_message_without_an_id_gets_no_reply(engine):
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        peer.receive(CTL_FROM_ENGINE)   # engine_state
        peer.send(Ping())
        peer.send(Get(JOB))
        assert isinstance(peer.ask(Ping(), "a", CTL_FROM_ENGINE), Pong)


def test_a_frame_above_the_limit_ends_the_connection_and_nothing_else(engine, client):
    connection = engine.connection()
    for endpoint, message in ((connection.ctl, Ping()), (connection.blob, Chunk(SHA, 0))):
        with Peer(connection, endpoint) as peer:
            peer.send(message, frames=[b"x" * (8 * 1024 * 1024)])
            peer.receive(CTL_FROM_ENGINE, 0.3)
    _still_works(client)


def test_a_multipart_message_without_end_does_not_reach_the_engine(engine, client):
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        for _ in range(50):
            peer.socket.send(b"x" * 100_000, zmq.SNDMORE)
        _still_works(client)


REFUSED = [
    (Submit(JOB, "views", {}, (InputRef("a", SHA, 1), InputRef("a", "ef" * 32, 1))), "bad_header"),
    (Submit(JOB, "views", {}, (InputRef("a", SHA, 1), InputRef("b", SHA, 2))), "bad_header"),
    (Submit(JOB, "views", {}, tuple(InputRef(str(i), f"{i:064x}", 1) for i in range(4097))), "too_large"),
    (Submit(JOB, "views", {}, (InputRef("a", SHA, 3 * 1024**3),)), "too_large"),
    (Submit(JOB, "views", {}, tuple(InputRef(str(i), f"{i:064x}", 2 * 1024**3) for i in range(5))), "too_large"),
    (Submit(JOB, "views", {"seed": 1.5}, (InputRef("a", SHA, 1),)), "bad_settings"),
    (Cancel(JOB), "unknown_job")]


@pytest.mark.parametrize(("message", "code"), REFUSED, ids=[code for _, code in REFUSED])
def test_what_is_above_a_limit_or_contradicts_itself_is_refused_and_nothing_is_kept(engine, message, code):
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        answer = peer.ask(message, "a", CTL_FROM_ENGINE)
        assert isinstance(answer, Error) and answer.code == code and answer.message
        assert peer.ask(ListJobs(), "b", CTL_FROM_ENGINE) == JobList(())


def test_a_blob_above_its_limit_and_too_many_transfers_are_refused(make_engine):
    engine = make_engine(transfers=2).start()
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        answer = peer.ask(Put(SHA, 3 * 1024**3), "a", BLOB_FROM_ENGINE)
        assert isinstance(answer, Error) and answer.code == "too_large"
        for index in range(2):
            assert not isinstance(peer.ask(Put(f"{index:064x}", 10), f"b{index}", BLOB_FROM_ENGINE), Error)
        answer = peer.ask(Put(SHA, 10), "c", BLOB_FROM_ENGINE)
        assert isinstance(answer, Error) and answer.code == "too_large"


_JSON = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=20),
                     lambda inner: (st.lists(inner, max_size=4)
                                    | st.dictionaries(st.text(max_size=8), inner, max_size=4)),
                     max_leaves=12)
_TYPES = ["hello", "submit", "subscribe", "get", "list_jobs", "cancel", "forget", "ping", "put", "chunk", "credit",
          "fetch", "stop", "preview", "x"]
_FIELDS = st.dictionaries(st.sampled_from(["job", "sha256", "size", "offset", "credits", "limit", "method", "settings",
                                           "inputs", "name"]),
                          _JSON | st.just(SHA) | st.just(JOB) | st.integers(0, 2**63), max_size=5)
_MESSAGES = st.tuples(st.builds(lambda kind, body: {"v": PROTOCOL_VERSION, "type": kind, "id": "f", "body": body},
                                st.sampled_from(_TYPES), _FIELDS) | _JSON,
                      st.lists(st.binary(max_size=64), max_size=3))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(_MESSAGES, min_size=1, max_size=8))
def test_no_message_stops_the_engine_from_answering_the_next_one(hostile, messages):
    ctl, blob = hostile
    for header, frames in messages:
        raw = json.dumps(header).encode("utf-8", "surrogatepass")
        for peer in (ctl, blob):
            peer.socket.send_multipart([raw, *frames])
    assert isinstance(ctl.ask(Ping(), "last", CTL_FROM_ENGINE), Pong)
    answer = blob.ask(Fetch("00" * 32, 1), "last", BLOB_FROM_ENGINE)
    assert isinstance(answer, Error) and answer.code == "unknown_blob"


@pytest.fixture
def hostile(engine):
    connection = engine.connection()
    with Peer(connection, connection.ctl) as ctl, Peer(connection, connection.blob) as blob:
        greet(ctl)
        yield ctl, blob
    assert "Traceback" not in engine.log()
