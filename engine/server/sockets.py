"""Sockets as this engine opens them, and what it does about readers that do not read."""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import zmq

from ..settings import ServeSettings
from .zap import KeyPair

log = logging.getLogger(__name__)
Frames = Sequence[bytes | memoryview]
LOOPBACK = "tcp://127.0.0.1"
CTL_LANE, BLOB_LANE, WORKER_LANE = 0, 1, 2
LANES = 3
_CURVE_BYTES = 1024   # libzmq counts the encrypted frame; 33 bytes more, and some to spare
_LINGER_MS = 200   # last words at the end of the engine


def bind_router(context: zmq.Context[zmq.Socket[bytes]], domain: str, keys: KeyPair, settings: ServeSettings,
                largest_frame: int, queue: int, lane: int) -> zmq.Socket[bytes]:
    """A ROUTER on a loopback port of the system's choice: CURVE only, keys judged by the Doorman under `domain`.

    largest_frame: bytes; libzmq drops the connection of a peer that sends more in one frame. queue: messages held per
    peer and direction. lane: which of the context's I/O threads serves it; CURVE costs a millisecond a megabyte there,
    and what is small must not wait behind it.
    """
    socket = context.socket(zmq.ROUTER)
    socket.linger = _LINGER_MS
    socket.affinity = 1 << lane
    socket.curve_server = 1
    socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    socket.zap_domain = domain.encode()
    socket.zap_enforce_domain = 1   # without it libzmq admits everybody when the Doorman is gone
    socket.maxmsgsize = largest_frame + _CURVE_BYTES
    socket.handshake_ivl = settings.handshake_timeout_ms
    socket.heartbeat_ivl = settings.heartbeat_interval_ms
    socket.heartbeat_timeout = settings.heartbeat_timeout_ms
    socket.sndhwm = socket.rcvhwm = queue
    socket.router_mandatory = 1   # a full or absent peer is told to us, not dropped in silence
    socket.bind(f"{LOOPBACK}:*")
    return socket


def endpoint_of(socket: zmq.Socket[bytes]) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


@dataclass
class _Waiting:
    """What a peer has not taken yet: replies in order, and the newest of each kind of news."""

    replies: deque[Frames] = field(default_factory=deque)
    news: dict[tuple[str, str], Frames] = field(default_factory=dict)


class Outbox:
    """Sends on a ROUTER without ever waiting, and without growing when a peer does not read.

    A reply is kept until the peer takes it, `replies_waiting` at most: after that the peer is not served any more.
    News (state, progress, previews) is kept newest only, per key.
    """

    def __init__(self, socket: zmq.Socket[bytes], replies_waiting: int) -> None:
        self._socket, self._replies_waiting = socket, replies_waiting
        self._waiting: dict[bytes, _Waiting] = {}
        self.gone: set[bytes] = set()      # peers found to be away; the owner empties it

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def is_waiting(self, peer: bytes) -> bool:
        """Whether this peer has not taken everything yet."""
        return peer in self._waiting

    def reply(self, peer: bytes, frames: Frames) -> None:
        """Send, in order and not to be lost while the peer is there."""
        waiting = self._waiting.get(peer)
        if waiting is None and self._try_send(peer, frames):
            return
        if peer in self.gone:
            return
        waiting = self._waiting.setdefault(peer, _Waiting())
        waiting.replies.append(frames)
        if len(waiting.replies) > self._replies_waiting:
            log.warning("a client does not read its replies; it is dropped")
            self._lose(peer)

    def news(self, peer: bytes, key: tuple[str, str], frames: Frames) -> None:
        """Send, or keep in place of older news under this key."""
        waiting = self._waiting.get(peer)
        if waiting is None and self._try_send(peer, frames):
            return
        if peer not in self.gone:
            self._waiting.setdefault(peer, _Waiting()).news[key] = frames

    def flush(self) -> None:
        """Try again what waits."""
        for peer, waiting in list(self._waiting.items()):
            while waiting.replies and self._try_send(peer, waiting.replies[0]):
                waiting.replies.popleft()
            while not waiting.replies and waiting.news:
                key = next(iter(waiting.news))
                if not self._try_send(peer, waiting.news[key]):
                    break
                del waiting.news[key]
            if not waiting.replies and not waiting.news:
                self._waiting.pop(peer, None)

    def _try_send(self, peer: bytes, frames: Frames) -> bool:
        try:
            self._socket.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(peer)
            return False
        return True

    def _lose(self, peer: bytes) -> None:
        self.gone.add(peer)
        self._waiting.pop(peer, None)
