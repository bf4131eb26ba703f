"""How the parts of the client that think reach the part that talks. They run on the client's own thread."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .arrays import Bytes
from .errands import Errands
from .errors import BadHeader, BridgeError
from .events import Event
from .messages import Limits

Answer = Any    # a message of messages.py, or the BridgeError that came instead


def error_of(answer: Answer) -> BridgeError:
    """What came instead of the answer: the error itself, or BadHeader when it is a message of another kind."""
    if isinstance(answer, BridgeError):
        return answer
    return BadHeader(f"The engine answered with {type(answer).__name__}, which is no answer to this.")


@dataclass
class Post:
    """send_ctl, send_blob: (message, id, frames) over the link; only while `up`. emit: to the queue of events.
    hashing, reading: threads for slow work. limits: the engine's, once it has told them. now: seconds, monotonic."""

    send_ctl: Callable[[Any, str], None]
    send_blob: Callable[[Any, str, Sequence[Bytes]], None]
    emit: Callable[[Event], None]
    hashing: Errands
    reading: Errands
    now: Callable[[], float] = time.monotonic
    limits: Limits = field(default_factory=Limits)
    up: bool = False
    _last_id: int = 0

    def new_id(self) -> str:
        self._last_id += 1
        return f"c-{self._last_id}"
