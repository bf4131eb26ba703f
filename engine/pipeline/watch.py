"""How much time an optimisation has used."""
from __future__ import annotations

import time

import torch


class Watch:
    """Whether the seconds are used up: processor seconds of one thread on a CPU (repeatable on a busy machine), else
    the clock's."""

    def __init__(self, seconds: float, device: torch.device) -> None:
        self._cpu = device.type == "cpu"
        self._threads = max(1, torch.get_num_threads()) if self._cpu else 1
        self._seconds, self._started = seconds, self._now()

    def _now(self) -> float:
        return (time.process_time() if self._cpu else time.perf_counter()) / self._threads

    @property
    def over(self) -> bool:
        return self._now() - self._started >= self._seconds
