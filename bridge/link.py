"""The client's two sockets: opening, handshake, heartbeat, loss and reconnect. Used from one thread only.

On every loss both sockets are closed and new ones opened: a DEALER that libzmq reconnects by itself would deliver what
was queued before the loss to an engine that has not been greeted.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from . import PROTOCOL_VERSION
from .arrays import MAX_FRAME_BYTES, Bytes
from .codec import BLOB_FROM_ENGINE, CTL_FROM_ENGINE, Envelope, Registry, decode_body, decode_header, encode
from .connection import Connection
from .errors import (
    BadHeader,
    BridgeError,
    EngineGone,
    LinkError,
    NotAllowed,
    ProtocolError,
    VersionMismatch,
    error_from_code,
)
from .messages import Error, Goodbye, Hello, Limits, Ping, Pong, Shutdown, Welcome

log = logging.getLogger(__name__)

MESSAGE_SLACK_BYTES = 1024      # CURVE makes a frame 33 bytes longer, and MAXMSGSIZE counts them

_HELLO_S = 5.0
_SILENCE_S = 2.0                # then a ping
_PONG_S = 8.0                   # without a word after a ping: gone
_RETRY_FIRST_S, _RETRY_MOST_S = 0.2, 2.0
_REFUSED_HANDSHAKES = 2         # one may be an engine that ended in the middle of it
_CTL_QUEUE = 16                 # messages libzmq keeps for us; previews are large
_CTL_BATCH, _BLOB_BATCH = 64, 8
_WATCHED = (zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_SUCCEEDED)

_NOT_ALLOWED = NotAllowed("The engine does not accept this key.",
                          "Its connection file is not the newest one; restart the engine.")

_NOT_USABLE = BadHeader("The engine's connection file holds an address or a key that cannot be used.",
                        "Restart the engine.")


@dataclass(frozen=True)
class Up:
    welcome: Welcome
    new_epoch: bool


@dataclass(frozen=True)
class Down:
    """final: it is not tried again. told: the user knows already that the link is down."""

    error: BridgeError
    final: bool
    told: bool


@dataclass(frozen=True)
class OnCtl:
    envelope: Envelope


@dataclass(frozen=True)
class OnBlob:
    envelope: Envelope


Happening = Up | Down | OnCtl | OnBlob


class Link:
    """find: where the engine is now; asked before every attempt; may raise BridgeError. wake: readable when there is
    something to do."""

    def __init__(self, context: zmq.Context[Any], wake: zmq.Socket[Any], find: Callable[[], Connection],
                 hello: Hello) -> None:
        self._context, self._wake, self._find, self._hello = context, wake, find, hello
        self._sockets: tuple[zmq.Socket[Any], ...] = ()      # ctl, blob, and their monitors
        self._limits = Limits()
        self._state = "down"                                 # down, opening, up, ended
        self._told = False
        self._epoch = ""
        self._attempt_s = 0.0                                # when to open again, or when it was opened
        self._pause_s = _RETRY_FIRST_S
        self._refused = 0
        self._heard_s = 0.0
        self._ping_s: float | None = None
        self._connection: Connection | None = None
        self.drained = True      # everything that had arrived was read: only then does silence mean anything

    # --- sending ----------------------------------------------------------------------------------------------------
    def send_ctl(self, message: Any, message_id: str) -> None:
        """Raises TooLarge or BadHeader when it cannot be sent at all; a lost link shows in `step`."""
        self._send(0, encode(message, id=message_id, limits=self._limits))

    def send_blob(self, message: Any, message_id: str, frames: Sequence[Bytes]) -> None:
        self._send(1, encode(message, id=message_id, frames=frames, limits=self._limits))

    def _send(self, index: int, parts: list[bytes | memoryview]) -> None:
        if not self._sockets:    # it went down in the step that brought what this answers; Down is among its happenings
            return
        try:
            self._sockets[index].send_multipart(parts, flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            # Credits and time limits keep queues far below libzmq's: a full one means that nobody reads.
            log.warning("a message was dropped: the engine does not read")

    # --- receiving --------------------------------------------------------------------------------------------------
    def step(self, timeout_s: float) -> list[Happening]:
        """Wait for something to happen, at most `timeout_s`, and say what."""
        if self._state == "down" and time.monotonic() >= self._attempt_s:
            found = self._open()
            if found:
                return found
        poller = zmq.Poller()
        for socket in (self._wake, *self._sockets):
            poller.register(socket, zmq.POLLIN)
        ready = dict(poller.poll(int(timeout_s * 1000)))
        while self._wake in ready and self._wake.poll(0):
            self._wake.recv(zmq.NOBLOCK)
        happened: list[Happening] = []
        self.drained = True
        if self._sockets:
            happened += self._read_ctl()
        if self._sockets:
            happened += self._read_blob()
        if self._sockets:
            happened += self._read_monitors()
        return happened + self._check_time()

    def close(self) -> None:
        for index, socket in enumerate(self._sockets):
            if index < 2:
                socket.disable_monitor()
            socket.close(linger=0)
        self._sockets = ()

    # --- opening ----------------------------------------------------------------------------------------------------
    def _open(self) -> list[Happening]:
        try:
            connection = self._connection = self._find()
        except BridgeError as error:
            return self._lost(error)
        try:
            self._connect(connection)
        except zmq.ZMQError as error:      # a key or an endpoint that libzmq does not take
            log.warning("cannot connect to %r: %s", connection, error)
            return self._lost(_NOT_USABLE, final=not self._has_moved())
        self._state, self._attempt_s = "opening", time.monotonic()
        self._ping_s = None
        self.send_ctl(self._hello, "hello")
        return []

    def _connect(self, connection: Connection) -> None:
        for _ in range(2):
            self._sockets += (self._new_socket(connection),)
        ctl, blob = self._sockets
        ctl.set(zmq.RCVHWM, _CTL_QUEUE)
        self._sockets += tuple(socket.get_monitor_socket(_WATCHED) for socket in (ctl, blob))
        ctl.set(zmq.AFFINITY, 1)      # an I/O thread each: encrypting chunks must not delay a cancel
        blob.set(zmq.AFFINITY, 2)
        ctl.connect(connection.ctl)
        blob.connect(connection.blob)

    def _new_socket(self, connection: Connection) -> zmq.Socket[Any]:
        socket = self._context.socket(zmq.DEALER)
        try:
            socket.set(zmq.CURVE_SERVERKEY, connection.server_public.encode())
            socket.set(zmq.CURVE_PUBLICKEY, connection.client_public.encode())
            socket.set(zmq.CURVE_SECRETKEY, connection.client_secret.encode())
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, MAX_FRAME_BYTES + MESSAGE_SLACK_BYTES)
        socket.set(zmq.HEARTBEAT_IVL, 500)
        socket.set(zmq.HEARTBEAT_TIMEOUT, 1500)
        socket.set(zmq.HANDSHAKE_IVL, 2000)
        return socket

    def _lost(self, error: BridgeError, final: bool = False) -> list[Happening]:
        self.close()
        told, self._told = self._told, True
        self._state = "ended" if final else "down"
        self._attempt_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _RETRY_MOST_S)
        return [Down(error, final, told)]

    # --- reading ----------------------------------------------------------------------------------------------------
    def _read_ctl(self) -> list[Happening]:
        happened: list[Happening] = []
        for envelope in self._receive(0, CTL_FROM_ENGINE, _CTL_BATCH):
            self._heard_s, self._ping_s = time.monotonic(), None
            message = envelope.message
            if envelope.re == "hello":
                happened += self._on_hello(message)
            elif isinstance(message, Goodbye):
                happened += self._lost(EngineGone("The engine was shut down."), final=True)
            elif not isinstance(message, Pong):
                happened.append(OnCtl(envelope))
            if not self._sockets:
                break
        return happened

    def _read_blob(self) -> list[Happening]:
        return [OnBlob(envelope) for envelope in self._receive(1, BLOB_FROM_ENGINE, _BLOB_BATCH)]

    def _receive(self, index: int, accept: Registry, most: int) -> list[Envelope]:
        found = []
        for _ in range(most):
            try:
                frames = self._sockets[index].recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return found
            envelope = self._decode([frame.buffer for frame in frames], accept)
            if envelope is not None:
                found.append(envelope)
        self.drained = False
        return found

    def _decode(self, parts: list[memoryview], accept: Registry) -> Envelope | None:
        """A message that cannot be read still ends the request that it answers."""
        answers = ""
        try:
            header = decode_header(parts, self._limits)
            answers = header.re
            return decode_body(header, parts[1:], accept, self._limits)
        except ProtocolError as error:
            if not answers:
                log.warning("a message of the engine is dropped: %s", error)
                return None
            return Envelope(Error(error.code, error.message, error.hint), re=answers)

    def _on_hello(self, answer: Any) -> list[Happening]:
        if self._state != "opening":
            return []
        if not isinstance(answer, Welcome):
            return self._lost(_refusal(answer), final=True)
        if answer.protocol != PROTOCOL_VERSION:
            return self._lost(VersionMismatch(f"The engine speaks protocol {answer.protocol}, "
                                              f"this program {PROTOCOL_VERSION}.", _SAME_VERSION), final=True)
        self._state, self._told, self._limits = "up", False, answer.limits
        self._pause_s, self._refused = _RETRY_FIRST_S, 0
        is_new, self._epoch = self._epoch not in ("", answer.epoch), answer.epoch
        return [Up(answer, is_new)]

    def _read_monitors(self) -> list[Happening]:
        for monitor in self._sockets[2:]:
            while monitor.poll(0):
                error = self._error_of(recv_monitor_message(monitor)["event"])
                if error is not None:
                    return self._lost(error, final=isinstance(error, NotAllowed) and not self._has_moved())
        return []

    def _has_moved(self) -> bool:
        """The connection file has changed since it was read: a new engine is starting, and its keys may fit."""
        try:
            return self._find() != self._connection
        except BridgeError:
            return False

    def _error_of(self, event: int) -> LinkError | None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._refused = 0
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return _NOT_ALLOWED
        elif event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            self._refused += 1
            return _NOT_ALLOWED if self._refused >= _REFUSED_HANDSHAKES else EngineGone("The engine hung up.")
        elif event == zmq.EVENT_CONNECT_RETRIED and self._state == "opening":
            return EngineGone("No engine is listening.", "Start the engine.")
        elif event == zmq.EVENT_DISCONNECTED:
            return EngineGone("The connection to the engine was lost.", "It is tried again; or restart the engine.")
        return None

    # --- heartbeat --------------------------------------------------------------------------------------------------
    def _check_time(self) -> list[Happening]:
        now = time.monotonic()
        if self._state == "opening" and now - self._attempt_s > _HELLO_S:
            return self._lost(EngineGone("The engine does not answer.", "Restart the engine."))
        if self._state != "up" or not self.drained:
            return []
        if self._ping_s is None and now - self._heard_s > _SILENCE_S:
            self._ping_s = now
            self.send_ctl(Ping(), "ping")
        elif self._ping_s is not None and now - self._ping_s > _PONG_S:
            return self._lost(EngineGone("The engine has stopped answering.", "Restart the engine."))
        return []

    def shut_down(self) -> None:
        if self._state == "up":
            self.send_ctl(Shutdown(), "shutdown")


_SAME_VERSION = "Use the same version of Slipcast on both sides."


def _refusal(answer: Any) -> BridgeError:
    if isinstance(answer, Error):
        return error_from_code(answer.code, answer.message, answer.hint)
    return VersionMismatch("The engine's greeting cannot be understood.", _SAME_VERSION)
