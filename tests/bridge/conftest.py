"""Engines as fixtures: whatever a test starts is ended, and none of its processes may be left."""
from __future__ import annotations

import psutil
import pytest
from engines import Engine, is_running


@pytest.fixture
def make_engine(tmp_path):
    """Engine(**settings), ended after the test; afterwards none of its processes may be left."""
    engines = []

    def make(**settings) -> Engine:
        folder = tmp_path / f"engine-{len(engines)}"
        folder.mkdir()
        engines.append(Engine(folder, **settings))
        return engines[-1]

    yield make
    for engine in engines:
        if engine.process is not None:
            if engine.process.poll() is None:
                assert engine.end() == 0, engine.log()
            engine.process.stdin.close()
            left = psutil.wait_procs([process for process in engine.seen if is_running(process)], timeout=5)[1]
            assert not left, f"still running: {left}"


@pytest.fixture
def engine(make_engine) -> Engine:
    return make_engine().start()


@pytest.fixture
def client(engine):
    with engine.client() as client:
        yield client
