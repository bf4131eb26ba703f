"""One call on a thread of its own, looked at by polling. No bpy, and nothing that runs there may use it."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..bridge.errors import BridgeError, InternalError

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """Starts at once. A daemon thread: a folder on a network drive that hangs must not keep Blender from closing."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call, self._results, self._error = call, list[T](), None
        self._thread = threading.Thread(target=self._run, name=f"slipcast-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BridgeError as error:
            self._error = error
        except (OSError, ValueError, MemoryError) as error:
            self._error = InternalError(f"{self._thread.name}: {type(error).__name__}: {error}.")

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> T:
        """Call it when `done`. Raises the call's BridgeError; anything else it raised is an InternalError."""
        if self._error is not None:
            raise self._error
        if not self._results:
            raise InternalError(f"{self._thread.name} ended without a result.", "Blender's terminal says more.")
        return self._results[0]
