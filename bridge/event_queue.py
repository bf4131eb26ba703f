"""A queue of events that cannot grow without bound: of some kinds only the newest per job is kept."""
from __future__ import annotations

import threading
import time
from collections import deque

from .events import Event, Fetching, ModelMoved, Previewed, Progressed, Uploading

_Key = tuple[type, str]
_WAIT_SLICE_S = 0.25    # an untimed wait cannot be interrupted from the keyboard on Windows


class EventQueue:
    """Put and get from any thread. Order is kept; a newer latest-only event takes the older one's place."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._order: deque[_Key | Event] = deque()
        self._newest: dict[_Key, Event] = {}

    def put(self, event: Event) -> None:
        key = _latest_only_key(event)
        with self._changed:
            if key is None:
                self._order.append(event)
            else:
                if key not in self._newest:
                    self._order.append(key)
                self._newest[key] = event
            self._changed.notify()

    def get(self, timeout_s: float = 0.0) -> Event | None:
        """The next event, or None when none came in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._order:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(min(left, _WAIT_SLICE_S))
            entry = self._order.popleft()
            return self._newest.pop(entry) if isinstance(entry, tuple) else entry

    def __len__(self) -> int:
        return len(self._order)


def _latest_only_key(event: Event) -> _Key | None:
    if isinstance(event, (Uploading, Fetching)):
        return type(event), event.job
    if isinstance(event, Progressed):
        return Progressed, event.progress.job
    if isinstance(event, Previewed):
        return Previewed, event.preview.job
    if isinstance(event, ModelMoved) and event.progress.state == "running":
        return ModelMoved, event.progress.model
    return None
