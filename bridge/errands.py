"""Slow work (hashing, reading files) on a thread of its own, so that it never delays a message."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .errors import BridgeError


class Errands:
    """One thread that does what it is given, in order. Answers are picked up by `collect` on the asking thread.

    wake: called on the errand thread whenever an answer is there.
    """

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"slipcast-{name}")
        self._wake = wake
        self._answers: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()
        self.closed = False

    def ask(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `work`; `then` gets what it returned, or the BridgeError that it raised. Any other error is a bug and is
        raised by collect."""
        self._pool.submit(work).add_done_callback(lambda future: self._done(future, then))

    def collect(self) -> None:
        """Hand out the answers that are there. Call it on the thread that asks."""
        while self._answers:
            future, then = self._answers.popleft()
            if not future.cancelled():
                error = future.exception()
                then(error if isinstance(error, BridgeError) else future.result())

    def close(self) -> None:
        self.closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: Future[Any], then: Callable[[Any], None]) -> None:
        self._answers.append((future, then))
        self._wake()
