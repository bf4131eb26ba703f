"""Keeps the session moving on Blender's main thread: from a timer in a window, by hand when headless.

The timer exists only while something is under way. The session is this module's; register() opens it.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.handlers import persistent

from ..bridge.connection import Connection
from ..bridge.errors import InternalError
from . import history_view, pending, preferences
from .engine_process import EngineProcess
from .job import Outcome
from .landing import SceneLanding
from .scene.live import LiveMesh
from .seams import Desk
from .session import Session

if TYPE_CHECKING:
    from ..bridge.client import Client

log = logging.getLogger(__name__)

TICK_S = 0.05
BUDGET_S = 0.004          # of a tick, for events; a frame at 60 Hz is 16.7 ms
HEADLESS_TICK_S = 0.02
REDRAW_INTERVAL_S = 0.1
PACKAGE_ROOT = Path(__file__).resolve().parent.parent

_session: Session | None = None
_live = LiveMesh()
_drawn: tuple[int, float] = (-1, 0.0)   # revision and time of the last redraw


def session() -> Session:
    """The session of this Blender. Raises InternalError when the add-on is not enabled."""
    if _session is None:
        raise InternalError("Slipcast is not enabled.", "Enable it under Preferences > Add-ons.")
    return _session


def live_mesh() -> LiveMesh:
    """The mesh of the running job, as the scene shows it."""
    return _live


def open_session(made: Session) -> None:
    """Make `made` the session of this Blender, in place of the one there was."""
    global _session
    close_session()
    _session = made


def close_session() -> None:
    global _session
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _session is not None:
        _session.close()
    _session = None


def wake() -> None:
    """Something was begun: run the timer until it is over. Does nothing without a window, where the caller waits."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.0, persistent=True)


def wait_for_job(show: Callable[[Session], None]) -> Outcome:
    """Pump until the job has ended; `show` is called after each time. For Blender without a window only.

    Raises the error it ended with. Ctrl+C cancels the job.
    """
    waiting = session()
    try:
        while waiting.job is not None:
            waiting.pump(BUDGET_S)
            pending.note(waiting)
            show(waiting)
            time.sleep(HEADLESS_TICK_S)
    except KeyboardInterrupt:
        waiting.cancel()
        raise
    if waiting.error is not None:
        raise waiting.error
    assert waiting.outcome is not None
    return waiting.outcome


def wait_until(condition: Callable[[], bool]) -> None:
    """Pump until `condition` holds or nothing is under way any more. For Blender without a window only."""
    waiting = session()
    while not condition() and waiting.busy:
        waiting.pump(BUDGET_S)
        time.sleep(HEADLESS_TICK_S)
    history_view.sync(waiting.history)


def finish(desk: Desk) -> None:
    """Let a desk go on; without a window, to its end. Raises what it ended with."""
    wake()
    if bpy.app.background:
        wait_until(lambda: not desk.busy)
        error = session().error if session().engine == "failed" else None
        if error is not None or desk.error is not None:
            raise error or desk.error  # type: ignore[misc]


def _tick() -> float | None:
    if _session is None:
        return None
    busy = _session.pump(BUDGET_S)
    pending.note(_session)
    history_view.sync(_session.history)
    _redraw(_session.revision, last=not busy)
    return TICK_S if busy else None


def _redraw(revision: int, last: bool) -> None:
    global _drawn
    now = time.monotonic()
    since = now - _drawn[1]
    # a job's seconds are shown, too: so at least once a second
    if not last and since < (REDRAW_INTERVAL_S if revision != _drawn[0] else 1.0):
        return
    _drawn = (revision, now)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
    # the status bar is in no screen's areas; it redraws when it hears of this, and only it and the top bar do
    bpy.msgbus.publish_rna(key=(bpy.types.ViewLayer, "name"))


def _make_process() -> EngineProcess:
    made = preferences.make_engine_process(PACKAGE_ROOT)
    # loads zmq, which a Blender that is not asked for anything does without, while the engine starts
    threading.Thread(target=_client_class, name="slipcast-import", daemon=True).start()
    return made


def _client_class() -> type[Client]:
    from ..bridge.client import Client

    return Client


def _connect(connection: Connection) -> Client:
    client = _client_class()(connection, name="blender")
    client.start()
    return client


@persistent
def _after_load(*_: Any) -> None:
    """Another file is open: its lists are empty, and what ended has not ended for it: it may offer that result."""
    if _session is not None:
        _session.ended_jobs.clear()
        history_view.sync(_session.history)


def register() -> None:
    open_session(Session(_make_process, _connect, SceneLanding(), _live))
    bpy.app.handlers.load_post.append(_after_load)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(_after_load)
    close_session()
