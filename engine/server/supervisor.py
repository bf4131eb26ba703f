"""Who runs what: one slot a device, one worker process a slot, the rules for death, cancel and silence.

Everything here runs on the frontend's thread; processes report through its mailbox. A job's state is committed to
the table before anybody is told of it.
"""
from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ...bridge.codec import Envelope
from ...bridge.errors import EngineFailed, InternalError, NoSpace, StageStuck, UnknownJob, WorkerDied
from ...bridge.messages import EngineState, ErrorInfo, JobInfo, Preview, Progress
from ..settings import ServeSettings
from .blobs import BlobStore
from .jobs import JobTable, Order
from .link import WorkerLink
from .mailbox import Mailbox
from .process import WorkerProcess
from .workerlink import Abort, Broken, Done, File, Ready, Settle, Start, Unusable
from .zap import KeyPair, make_keys

log = logging.getLogger(__name__)
_TAIL_CHARS = 2000
_SETTLE_S = 1.0
_PAUSE_S = 5.0      # a tick that comes this late means that the whole process stood still


class News(Protocol):
    """Who is told of what happens: the frontend."""

    def job_changed(self, info: JobInfo) -> None: ...
    def engine_changed(self, state: EngineState) -> None: ...
    def relay(self, message: Progress | Preview, frames: Sequence[memoryview]) -> None: ...
    def adopt(self, order: Order, done: Done) -> None:
        """Take the artefacts into the store, then call Supervisor.adopted."""
        ...


@dataclass
class Slot:
    """One device and the process that serves it. Times are time.monotonic() seconds."""

    index: int
    device: str
    state: str = "down"                  # down, starting, idle, busy, retiring, lost
    name: str = ""                       # the process's User-Id; a new one has another
    keys: KeyPair | None = None
    process: WorkerProcess | None = None
    label: str = ""
    since: float = 0.0                   # of the process's start
    seen: float = 0.0                    # last message
    spawn_at: float = 0.0
    failed_starts: int = 0               # in a row, without a job in between
    last_words: str = ""
    order: Order | None = None
    stage: str = "start"
    moved: float = 0.0                   # last progress
    kill_at: float | None = None         # when a cancel's grace is over
    verdict: ErrorInfo | None = None     # how the job ends when this process is gone


class Supervisor:
    """Keeps a worker alive per device and the queue moving."""

    def __init__(self, settings: ServeSettings, command: Sequence[str], table: JobTable, store: BlobStore,
                 mailbox: Mailbox, link: WorkerLink, news: News) -> None:
        self._settings, self._command = settings, command
        self._table, self._store, self._mailbox, self._link, self._news = table, store, mailbox, link, news
        link.handle = self.handle
        self._slots = [Slot(index, device) for index, device in enumerate(settings.devices)]
        self._generation = 0
        self._unsettled: list[Callable[[], None]] = []
        self._settle_at = 0.0
        self._ticked = time.monotonic()
        self._state = EngineState("starting")

    # --- what the frontend calls -----------------------------------------------------------------------------------
    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def is_busy(self) -> bool:
        """Whether something is under way that tick() has to look after closely."""
        return any(slot.state not in ("idle", "lost") for slot in self._slots)

    def dispatch(self) -> None:
        """Give queued jobs to idle workers; wake given-up devices when there is work for them."""
        self._settle(self._dispatch)

    def _dispatch(self) -> None:
        queue = self._table.queued()
        if not queue:
            return
        for slot in self._slots:
            if slot.state == "lost":
                slot.state, slot.failed_starts, slot.spawn_at = "down", 0, 0.0
        idle = [slot for slot in self._slots if slot.state == "idle"]
        for slot, job in zip(idle, queue, strict=False):
            self._start_job(slot, job)

    def cancel(self, job: str) -> JobInfo:
        """Stop this job and no other. Raises UnknownJob."""
        before = self._table.get(job).revision
        info = self._table.cancel(job)
        if info.revision != before:
            self._news.job_changed(info)
        for slot in self._slots:
            if slot.order and slot.order.job == job and info.state == "cancelling" and slot.kill_at is None:
                slot.kill_at = time.monotonic() + self._settings.cancel_grace_s
                if not self._link.send(slot.name, Abort(job, slot.order.attempt)):
                    slot.kill_at = 0.0
        return info

    def finish_early(self, job: str) -> JobInfo:
        """Better the mesh of this running job no more. Raises UnknownJob."""
        info = self._table.get(job)
        for slot in self._slots:
            if slot.order and slot.order.job == job and info.state == "running":
                self._link.send(slot.name, Settle(job, slot.order.attempt))   # a worker that is gone: the next attempt
        return info

    def handle(self, name: str, envelope: Envelope) -> None:
        """A message of a worker; of one that is not in a slot any more it is dropped."""
        slot = next((slot for slot in self._slots if slot.name == name), None)
        if slot is None:
            return
        slot.seen = time.monotonic()
        message = envelope.message
        if isinstance(message, Ready) and slot.state == "starting":
            slot.state, slot.label = "idle", message.device
            self._tell_state()
            self.dispatch()
        elif isinstance(message, Unusable):
            slot.failed_starts = self._settings.max_failed_starts   # trying again would end the same way
            slot.last_words = f"{message.message} {message.hint}".strip()
        elif isinstance(message, Progress | Preview | Done | Broken):
            if slot.order and (slot.order.job, slot.order.attempt) == (message.job, message.attempt):
                self._handle_job_message(slot, slot.order, message, envelope.frames)

    def adopted(self, order: Order, done: Done, problem: ErrorInfo | None) -> None:
        """The artefacts of a Done are in the store, or cannot be."""
        self._settle(partial(self._finish, order, done, problem))

    def _finish(self, order: Order, done: Done, problem: ErrorInfo | None) -> None:
        if problem is None:
            ended = self._table.finish(order.job, order.attempt, done.artefacts, done.summary)
        else:
            ended = self._table.fail(order.job, order.attempt, problem)
        if not ended:
            self._table.end_cancelled(order.job, order.attempt)   # it was cancelled in its last moment
        self._tell_job(order.job)

    def tick(self) -> None:
        """Look at the clock. Call it a few times a second, more often while is_busy."""
        now = time.monotonic()
        self._forgive_pause(now)
        if self._unsettled and now >= self._settle_at:
            steps, self._unsettled = self._unsettled, []
            for step in steps:
                self._settle(step)
        for slot in self._slots:
            if slot.state == "down" and now >= slot.spawn_at:
                self._spawn(slot)
            elif slot.state == "starting" and now - slot.since > self._settings.start_timeout_s:
                slot.last_words = f"It was not ready within {self._settings.start_timeout_s:.0f} s."
                self._kill(slot)
            elif slot.state == "idle" and now - slot.seen > self._settings.worker_silence_s:
                log.warning("%s says nothing any more", slot.name)
                self._kill(slot)
            elif slot.state == "busy":
                self._watch(slot, now)

    def stop(self) -> None:
        """End all workers. Their jobs stay in the table and start again with the next engine."""
        processes = [slot.process for slot in self._slots if slot.process is not None]
        for slot in self._slots:
            slot.name, slot.state = "", "lost"
        for process in processes:
            process.close_stdin()
        deadline = time.monotonic() + self._settings.stop_grace_s
        for process in processes:
            if not process.wait(max(0.0, deadline - time.monotonic())):
                process.kill()
                process.wait(self._settings.stop_grace_s)

    # --- jobs ------------------------------------------------------------------------------------------------------
    def _start_job(self, slot: Slot, job: str) -> None:
        order = self._table.begin(job)
        if order is None:
            return
        lost = [item.label for item in order.inputs if self._store.size(item.sha256) is None]
        if lost:
            self._table.fail(job, order.attempt, ErrorInfo("internal", f"The engine has lost the input {lost[0]!r}.",
                                                           "Start the job again."))
            self._tell_job(job)
            return
        log.info("job %s: attempt %d on %s", job[:8], order.attempt, slot.label)
        slot.state, slot.order, slot.failed_starts = "busy", order, 0
        slot.stage, slot.moved, slot.kill_at, slot.verdict = "start", time.monotonic(), None, None
        self._tell_job(job)
        files = tuple(File(item.label, str(self._store.path(item.sha256))) for item in order.inputs)
        start = Start(job, order.attempt, order.method, order.settings, files, str(self._store.spool / _spool(order)))
        if not self._link.send(slot.name, start):
            self._kill(slot)

    def _handle_job_message(self, slot: Slot, order: Order, message: Any, frames: Sequence[memoryview]) -> None:
        if isinstance(message, Progress | Preview):
            slot.stage, slot.moved = message.stage, time.monotonic()
            self._news.relay(message, frames)
            return
        slot.order = None
        if isinstance(message, Done):
            self._news.adopt(order, message)
        else:
            self._settle(partial(self._break, order, ErrorInfo(message.code, message.message, message.hint)))
        if isinstance(message, Broken) and message.recycle:
            slot.state = "retiring"
            self._tell_state()
            self._kill(slot)
        else:
            slot.state = "idle"
            self.dispatch()

    def _break(self, order: Order, error: ErrorInfo) -> None:
        self._store.drop_spool(_spool(order))
        if not self._table.end_cancelled(order.job, order.attempt):
            self._table.fail(order.job, order.attempt, error)
        self._tell_job(order.job)

    def _settle(self, step: Callable[[], None]) -> None:
        """Do what commits how jobs go on; while the disk is full, again every second: no end of a job may get lost."""
        try:
            step()
        except (NoSpace, InternalError) as error:
            log.error("%s It is tried again.", error.message)
            self._unsettled.append(step)
            self._settle_at = time.monotonic() + _SETTLE_S

    def _forgive_pause(self, now: float) -> None:
        """After a sleep of the machine everybody seems to have been silent: count from now."""
        if now - self._ticked > _PAUSE_S:
            for slot in self._slots:
                slot.since = slot.seen = slot.moved = now
        self._ticked = now

    def _watch(self, slot: Slot, now: float) -> None:
        if slot.kill_at is not None and now >= slot.kill_at:
            slot.kill_at = float("inf")
            self._kill(slot)
        elif now - slot.moved > self._settings.stage_timeout_s and slot.verdict is None:
            stuck = StageStuck(f"The stage {slot.stage!r} made no progress for {self._settings.stage_timeout_s:.0f} s.",
                               "Try a lower quality. The engine's log may say more.")
            slot.verdict = ErrorInfo(stuck.code, stuck.message, stuck.hint)
            self._kill(slot)

    def _lose_job(self, order: Order, stage: str, last_words: str, verdict: ErrorInfo | None, code: int) -> None:
        """The process under a job is gone: end the job, or queue it again."""
        self._store.drop_spool(_spool(order))
        if self._table.end_cancelled(order.job, order.attempt):
            pass   # that is what the person wanted
        elif verdict is not None:
            self._table.fail(order.job, order.attempt, verdict)
        else:
            deaths = self._table.note_death(order.job, order.attempt)
            log.warning("a worker died under job %s in stage %s (death %d)", order.job[:8], stage, deaths)
            if deaths < self._settings.max_deaths:
                self._table.requeue(order.job, order.attempt)
            else:
                died = WorkerDied(f"The worker process died {deaths} times over this job, the last time during "
                                  f"{stage!r} ({_cause(code)}).{_quoted(last_words)}",
                                  "It may have run out of memory: try a lower quality. The engine's log has more.")
                self._table.fail(order.job, order.attempt, ErrorInfo(died.code, died.message, died.hint))
        self._tell_job(order.job)

    def _tell_job(self, job: str) -> None:
        try:
            self._news.job_changed(self._table.get(job))
        except UnknownJob:
            log.debug("job %s was forgotten", job[:8])

    # --- processes -------------------------------------------------------------------------------------------------
    def _spawn(self, slot: Slot) -> None:
        self._generation += 1
        slot.name, slot.keys = f"worker-{slot.index}-{self._generation}", make_keys()
        slot.since = slot.seen = time.monotonic()
        slot.state, slot.process, slot.order, slot.last_words = "starting", None, None, ""
        self._link.admit(slot.name, slot.keys.public)
        config = self._link.config(slot.keys, slot.device)
        try:
            slot.process = WorkerProcess(self._command, config, self._settings.stderr_lines,
                                         self._poster(slot.name))
        except OSError as error:
            self._ended(slot.name, -1, f"It cannot be started: {error}.")
            return
        log.info("%s is process %d for %s", slot.name, slot.process.pid, slot.device)
        self._tell_state()

    def _poster(self, name: str) -> Callable[[int, str], None]:
        return lambda code, tail: self._mailbox.post(partial(self._ended, name, code, tail))

    def _kill(self, slot: Slot) -> None:
        if slot.process is not None:
            slot.process.kill()   # _ended comes through the mailbox

    def _ended(self, name: str, code: int, tail: str) -> None:
        self._link.read()   # what it said before it died comes first
        slot = next((slot for slot in self._slots if slot.name == name), None)
        if slot is None or slot.keys is None:
            return
        log.info("%s ended (%s)", name, _cause(code))
        self._link.expel(name, slot.keys.public)
        if slot.process is not None:
            slot.process.close_stdin()
        order, was, slot.order, slot.process, slot.name = slot.order, slot.state, None, None, ""
        slot.last_words = slot.last_words or tail
        slot.state = "down"
        if order is not None:
            self._settle(partial(self._lose_job, order, slot.stage, slot.last_words, slot.verdict, code))
        elif was in ("starting", "idle"):
            slot.failed_starts += 1
        slot.spawn_at = time.monotonic() + slot.failed_starts * self._settings.respawn_pause_s
        if slot.failed_starts >= self._settings.max_failed_starts:
            slot.state = "lost"
            self._give_up()
        self._tell_state()

    def _give_up(self) -> None:
        """When no device is left, queued jobs would wait for ever: say so instead."""
        if any(slot.state != "lost" for slot in self._slots):
            return
        words = self._slots[0].last_words
        log.error("no worker can be started: %s", words)
        error = WorkerDied(f"The engine cannot start its worker process.{_quoted(words)}",
                           "Repair the engine's environment, then start the job again.")
        self._settle(partial(self._fail_queued, ErrorInfo(error.code, error.message, error.hint)))

    def _fail_queued(self, error: ErrorInfo) -> None:
        for job in self._table.queued():
            self._table.fail(job, None, error)
            self._tell_job(job)

    def _tell_state(self) -> None:
        labels = tuple(slot.label for slot in self._slots if slot.state in ("idle", "busy"))
        if labels:
            state = EngineState("ready", labels)
        elif all(slot.state == "lost" for slot in self._slots):
            failed = EngineFailed(f"The engine cannot start its worker process.{_quoted(self._slots[0].last_words)}")
            state = EngineState("failed", (), str(failed))
        else:
            state = EngineState("starting")
        if state != self._state:
            self._state = state
            self._news.engine_changed(state)


def _spool(order: Order) -> str:
    return f"{order.job}-{order.attempt}"


def _cause(code: int) -> str:
    if code < 0 and os.name == "posix":
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


def _quoted(words: str) -> str:
    return f" Its last words: {words[-_TAIL_CHARS:]}" if words else ""
