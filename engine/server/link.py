"""The third endpoint: workers, known by the User-Id that the Doorman gave their key."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import zmq

from ...bridge.codec import Envelope, decode, encode
from ...bridge.errors import BridgeError
from ..settings import ServeSettings
from .sockets import WORKER_LANE, bind_router, endpoint_of
from .workerlink import FROM_WORKER, LINK_LIMITS, WorkerConfig
from .zap import Doorman, KeyPair

log = logging.getLogger(__name__)
DOMAIN = "workers"
_BURST = 100          # messages before clients have their turn
_QUEUE = 8            # messages per worker and direction
_MEBIBYTE = 1024**2


class WorkerLink:
    """Talks to workers. Use it from one thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], doorman: Doorman, keys: KeyPair,
                 settings: ServeSettings, log_file: str) -> None:
        largest = max(settings.preview_bytes, LINK_LIMITS.header_bytes)
        self.socket = bind_router(context, DOMAIN, keys, settings, largest, _QUEUE, WORKER_LANE)
        self._doorman, self._keys, self._settings, self._log_file = doorman, keys, settings, log_file
        self._routes: dict[str, bytes] = {}
        self.handle: Callable[[str, Envelope], None] = lambda name, envelope: None

    def admit(self, name: str, public: str) -> None:
        """A process of this name, with this key, may connect from now on."""
        self._doorman.admit(DOMAIN, public, name)

    def expel(self, name: str, public: str) -> None:
        self._doorman.expel(DOMAIN, public)
        self._routes.pop(name, None)

    def config(self, keys: KeyPair, device: str) -> WorkerConfig:
        """What the worker with these keys must know."""
        settings = self._settings
        threads = max(1, _cores() // len(settings.devices))
        return WorkerConfig(endpoint_of(self.socket), self._keys.public, keys.public, keys.secret, device, threads,
                            settings.worker_heartbeat_s, settings.progress_interval_s, settings.preview_interval_s,
                            settings.preview_bytes, settings.models_folder, self._log_file)

    def send(self, name: str, message: Any) -> bool:
        """False when that worker is not there or does not read."""
        route = self._routes.get(name)
        if route is None:
            return False
        try:
            self.socket.send_multipart([route, *encode(message, limits=LINK_LIMITS)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.warning("%s cannot be reached: %s", name, error)
            return False
        return True

    def read(self) -> None:
        """Handle what workers have said."""
        for _ in range(_BURST):
            try:
                route, *parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if not parts:
                continue
            name = str(parts[0].get("User-Id"))
            try:
                envelope = decode([part.buffer for part in parts], FROM_WORKER, LINK_LIMITS, check_hash=False)
            except BridgeError as error:
                log.error("%s sent nonsense: %s", name, error)
                continue
            self._routes[name] = route.bytes
            self.handle(name, envelope)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
