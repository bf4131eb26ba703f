"""How other threads reach a thread that sits in a zmq poll: they post calls, it runs them."""
from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable


class Mailbox:
    """A queue of calls with something to poll. A socket pair, because zmq cannot poll a pipe on Windows."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._reader.fileno()

    def post(self, call: Callable[[], None]) -> None:
        """From any thread: have `call` run by the owner, in order. Dropped when the owner has closed the box."""
        self._calls.append(call)
        try:
            self._writer.send(b"x")
        except BlockingIOError:
            return   # full of wake-ups already
        except OSError:
            self._calls.clear()

    def run_all(self) -> None:
        """By the owner: run what was posted."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass   # read empty: what follows is in the queue
        while self._calls:
            self._calls.popleft()()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
