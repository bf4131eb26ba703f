"""Who may connect: the ZAP handler (RFC 27) of this process, one thread.

Authority is bound to the CURVE key and to nothing else: the routing id of a peer is what the peer likes it to be.
"""
from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import zmq
from zmq.utils import z85

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyPair:
    """CURVE keys as Z85 text, 40 characters each."""

    public: str
    secret: str


def make_keys() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode("ascii"), secret.decode("ascii"))


class Doorman:
    """Admits known keys, per domain, on a thread of its own. Ends with its context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._thread = threading.Thread(target=self._run, name="doorman", daemon=True)
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._lock = threading.Lock()
        self._guests: dict[tuple[bytes, bytes], str] = {}

    def admit(self, domain: str, public: str, user: str) -> None:
        """From now on this key may enter, and its messages carry `user` as their User-Id."""
        with self._lock:
            self._guests[domain.encode(), z85.decode(public)] = user

    def expel(self, domain: str, public: str) -> None:
        """Later connections with this key are refused."""
        with self._lock:
            self._guests.pop((domain.encode(), z85.decode(public)), None)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._socket.send_multipart(self._judge(self._socket.recv_multipart()))
        except zmq.ContextTerminated:
            self._socket.close()

    def _judge(self, request: list[bytes]) -> list[bytes]:
        version, request_id, domain, address = request[:4]
        mechanism, credentials = request[5], request[6:]
        user = None
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1:
            with self._lock:
                user = self._guests.get((domain, credentials[0]))
        if user is None:
            log.warning("refused a connection from %s: unknown key", address.decode("ascii", "replace"))
            return [b"1.0", request_id, b"400", b"unknown key", b"", b""]
        return [b"1.0", request_id, b"200", b"OK", user.encode(), b""]
