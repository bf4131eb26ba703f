"""Warp is not made for threads that start it side by side."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from slipcast.engine.render import backend


def test_warp_is_started_by_one_thread_at_a_time(monkeypatch):
    one, overlaps = threading.Lock(), []

    def start() -> None:
        overlaps.append(not one.acquire(blocking=False))
        time.sleep(0.005)
        if not overlaps[-1]:
            one.release()

    monkeypatch.setattr(backend.wp, "init", start)
    monkeypatch.setattr(backend.wp, "from_torch", lambda tensor, dtype=None: tensor)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: backend.wrap(torch.zeros(1)), range(16)))
    assert len(overlaps) == 16 and not any(overlaps)
