"""How long a refinement has run, and how long it will still take."""
from __future__ import annotations

import time

import torch

from .refine_settings import RefineLevel, RefineSettings

FACE_WORK = 2.0      # a face costs an iteration about as much as this many pixels of its views
SETTLE = 3           # iterations of a level from which its time is not told: they fill caches
SURE = 0.02          # of all time: shorter a measurement does not change the plan, so that a hiccup is none


class Watch:
    """Time used so far: processor seconds of one thread on a CPU (repeatable on a busy machine), else the clock.

    least: so many iterations (`step` tells of each) are done in any case.
    """

    def __init__(self, seconds: float, device: torch.device, least: int = 0) -> None:
        self._cpu = device.type == "cpu"
        self._threads = max(1, torch.get_num_threads()) if self._cpu else 1
        self._steps, self._least = 0, least
        self._seconds, self._started, self._begun = seconds, self._now(), time.perf_counter()

    def step(self) -> None:
        """An iteration is done."""
        self._steps += 1

    def _now(self) -> float:
        return (time.process_time() if self._cpu else time.perf_counter()) / self._threads

    @property
    def over(self) -> bool:
        return self._steps >= self._least and self._now() - self._started >= self._seconds

    @property
    def seconds_left(self) -> float:
        """Of the clock, until the time is over, if the machine goes on giving as much of itself as until now."""
        used, passed = self._now() - self._started, time.perf_counter() - self._begun
        return max(0.0, self._seconds - used) * max(passed, 1e-9) / max(used, 1e-9)


class Forecast:
    """When the loop will be done: the measured seconds of this level's iterations, and for the levels to come the
    same in proportion to their pixels and faces. Where that is longer than the time that is left, all levels become
    shorter alike: a short time must not end a mesh that is coarse, or in the middle of long steps."""

    def __init__(self, settings: RefineSettings, watch: Watch) -> None:
        self._levels, self._views, self._watch = settings.levels, settings.views_per_step, watch
        self._sure_after = SURE * settings.seconds
        self._number = self._steps = 0
        self._since, self._each, self._done = 0.0, 0.0, 0.0

    def begin(self, number: int) -> None:
        """A level's first iteration is about to begin."""
        self._each *= self._work(self._levels[number]) / self._work(self._levels[self._number])
        self._number, self._steps, self._done = number, 0, 0.0

    def step(self) -> None:
        """An iteration is done."""
        self._steps += 1
        pace = 1.0
        if self._steps == SETTLE:
            self._since = time.perf_counter()
        elif self._steps > SETTLE:
            measured = time.perf_counter() - self._since
            self._each = measured / (self._steps - SETTLE)
            if measured >= self._sure_after:
                pace = max(pace, self._needed / max(self._watch.seconds_left, 1e-9))
        self._done += pace

    @property
    def level_done(self) -> float:
        """How much of the level is done, in [0, 1]."""
        return min(1.0, self._done / self._levels[self._number].iterations)

    @property
    def seconds_left(self) -> float | None:
        """Of the clock; None until an iteration was measured."""
        if not self._each:
            return None
        return min(self._needed, self._watch.seconds_left)

    @property
    def _needed(self) -> float:
        """Seconds of the clock for all that is planned; 0 until an iteration was measured."""
        level, *later = self._levels[self._number:]
        rest = max(0.0, level.iterations - self._done)
        rest += sum(each.iterations * self._work(each) for each in later) / self._work(level)
        return rest * self._each

    def _work(self, level: RefineLevel) -> float:
        return self._views * level.side_px**2 + FACE_WORK * level.faces
