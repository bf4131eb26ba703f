"""A Blender whose engine is fake_engine.py: real operators, session, client, sockets and processes."""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
from bl_ext.user_default.slipcast.addon import preferences, pump
from bl_ext.user_default.slipcast.addon.engine_process import is_process_alive


@contextmanager
def played_engine(tmp_path: Path, monkeypatch) -> Iterator[object]:
    """The add-on's preferences, with the played engine chosen and a data folder of its own; ended afterwards."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{Path(__file__).parent}/fake_engine.py" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", str(python))
    given = bpy.context.preferences.addons[preferences.ROOT_PACKAGE].preferences
    given.data_folder = str(tmp_path / "data")
    restart_addon()
    yield given
    pid = engine_pid()
    pump.session().close()
    # asked for again: of an add-on that was switched off meanwhile the old ones are freed memory
    bpy.context.preferences.addons[preferences.ROOT_PACKAGE].preferences.keep_engine = False
    if pid:
        wait(lambda: not is_process_alive(pid))


def restart_addon() -> None:
    """As when Blender is closed and opened again: nothing is remembered but what is on disk."""
    pid, session = engine_pid(), pump.session()
    ends = session._process is not None and session._process.is_ours and not session._process.stays
    pump.unregister()
    pump.register()
    if pid and ends:
        wait(lambda: not is_process_alive(pid))


def engine_pid() -> int:
    path = preferences.data_folder() / "engine.json"
    return json.loads(path.read_text())["pid"] if path.exists() else 0


def wait(condition, patience_s: float = 15.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        session = pump.session()
        assert time.monotonic() < deadline, f"{session.engine} {session.engine_why} {session.job} {session.error}"
        session.pump(0.004)
        time.sleep(0.01)
