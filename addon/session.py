"""The one engine, client and job of this Blender: a plain object that moves on when it is pumped. No bpy."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bridge.connection import Connection
from ..bridge.errors import BridgeError, Cancelled, Conflict, EngineFailed, EngineGone
from ..bridge.events import Connected, Disconnected, EngineChanged, Event
from ..bridge.messages import EngineState, JobInfo
from .engine_process import EngineProcess
from .history import HistoryDesk
from .job import GenerateRequest, JobState, Outcome, outcome_of
from .job_run import JobRun
from .models import ModelDesk
from .scene.results import PreparedResult
from .seams import Desk, Follower, Landing, Nobody

if TYPE_CHECKING:
    from ..bridge.client import Client

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 8.0   # a found engine that does not answer by then is taken for dead
LOST_TIMEOUT_S = 30.0    # an engine whose process runs but that has not answered for so long is given up
CLOSE_PATIENCE_S = 0.3   # for a cancel to reach the engine when Blender closes
START_AGAIN = "Press Generate to start it again."
STILL_KEPT = "The engine keeps the result: it can be had from Results."


class Session:
    """Owns the engine process, the client and the one job. All methods are for the main thread and return at once;
    things move on in pump(). Panels read `engine`, `devices`, `engine_why`, `job`, `error` and `outcome`."""

    def __init__(self, make_process: Callable[[], EngineProcess], connect: Callable[[Connection], Client],
                 landing: Landing, live: Follower | None = None) -> None:
        """make_process: from the preferences as they are now; may raise EngineNotFound. connect: a started Client.
        live: shows the mesh of the running job."""
        self._live = live or Nobody()
        self._make_process, self._connect, self._landing = make_process, connect, landing
        self._process: EngineProcess | None = None
        self._client: Client | None = None
        self._client_since_s = 0.0
        self._connected = False
        self._lost_since_s: float | None = None   # since when an engine that was there does not answer
        self._found = False                       # the engine ran already when we came
        self._retiring = False                    # the engine was asked to end and has not ended yet
        self._run: JobRun | None = None
        self._orphans: list[str] = []             # jobs that an engine left unfinished and nobody waits for
        self.engine = "off"                       # off, starting, ready, stopping, failed
        self.engine_why = ""                      # of "failed"
        self.engine_version = ""
        self.devices: tuple[str, ...] = ()
        self.error: BridgeError | None = None     # how the last job, or the last start of the engine, failed
        self.outcome: Outcome | None = None       # how the last job ended well
        self.method = ""                          # of the job, or of the last one
        self.kept = ""                            # the object that holds the last state of a job that ended badly
        self.revision = 0                         # grows whenever there is something new to draw
        self.ended_jobs: set[str] = set()         # that ended while we waited for them
        self.history = HistoryDesk()
        self.models = ModelDesk()
        self._desks: tuple[Desk, ...] = (self.history, self.models)

    # --- asked for by a person ---------------------------------------------------------------------------------
    def generate(self, request: GenerateRequest) -> None:
        """Start a job, and the engine if need be.

        Raises Conflict while one is under way, EngineNotFound or EngineFailed.
        """
        if self.job is not None:
            raise Conflict("A job is already under way.", "Wait for it, or cancel it.")
        self.start_engine()
        self.outcome, self.kept = None, ""
        self._run, self.method = JobRun(request, self._live), request.method

    def finish_early(self) -> None:
        """The running job's mesh is good enough: go on to its texture."""
        job = self.job
        if job is not None and job.may_finish_early and self._client is not None:
            job.finishing = True
            self._client.finish_early(job.job)
            self.revision += 1

    def cancel(self, keep: bool = False) -> None:
        """Stop the job, wherever it is; a result that is here but not yet in the scene is dropped.

        keep: the last state of the live mesh stays in the scene.
        """
        job = self.job
        if job is None or job.cancelling:
            return
        job.keep = keep
        job.cancelling_since_s = time.monotonic()
        self.revision += 1
        kept_is_done = job.phase == "fetching" and job.request.kept and job.request.changes is None
        if job.job and self._client is not None and job.phase != "placing" and not kept_is_done:
            self._client.cancel(job.job)
        else:
            self._end(Cancelled("Cancelled."))

    def start_engine(self) -> None:
        """Find or start the engine. Raises EngineNotFound or EngineFailed; nothing has changed then but the state."""
        self.error = None
        self.revision += 1
        self._watch_engine()
        if self.engine in ("starting", "ready"):
            return
        self.engine, self.engine_why = "starting", ""
        if not self._retiring:  # else as soon as the old one has ended: two cannot share a data folder
            self._start_process()

    def stop_engine(self) -> None:
        """End the engine, also one that another Blender started. The job, if any, ends as cancelled."""
        self.cancel()
        if self._process is not None and self.engine in ("starting", "ready"):
            self._retire()
            self.engine = "stopping"
        self.revision += 1

    def close(self) -> None:
        """Blender ends. An engine of ours ends with it unless it is to stay; a job of ours then goes on there."""
        if self.job is not None and self._process is not None and self._process.is_ours and not self._process.stays:
            self._cancel_and_wait()  # else the next engine would do the job, for nobody
        self._drop_client()
        self.history.close()
        self._live.end()
        if self._process is not None:
            self._process.close()
        self._process, self._run, self.engine, self._retiring = None, None, "off", False

    def _cancel_and_wait(self) -> None:
        deadline = time.monotonic() + CLOSE_PATIENCE_S
        self.cancel()
        while self.job is not None and time.monotonic() < deadline:
            self.pump(CLOSE_PATIENCE_S)
            time.sleep(0.01)

    @property
    def job(self) -> JobState | None:
        """The job that is under way; None when there is none."""
        return self._run.state if self._run is not None else None

    @property
    def answers(self) -> bool:
        """False while the engine's process runs but the link to it is down (it is tried again)."""
        return self._lost_since_s is None

    # --- moved on by the pump ----------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Whether there is anything to pump for."""
        return (self.job is not None or self.engine in ("starting", "stopping") or self._retiring
                or self._live.busy or any(desk.busy for desk in self._desks))

    def pump(self, budget_s: float) -> bool:
        """Handle what has happened, for about `budget_s`; placing a result is one step that may take longer.

        Returns `busy`. Raises nothing: what goes wrong is in `error` afterwards.
        """
        deadline = time.perf_counter() + budget_s
        try:
            self._watch_engine()
            self._drain(deadline)
            self._serve_desks()
            if self._run is not None:
                self._advance(self._run)
            self.kept = self._live.pump() or self.kept
        except BridgeError as error:
            self._end(error)
        return self.busy

    def _drain(self, deadline: float) -> None:
        while self._client is not None:
            event = self._client.next_event()
            if event is None:
                return
            self._handle(event)
            self.revision += 1
            if time.perf_counter() >= deadline:
                return

    def _serve_desks(self) -> None:
        for desk in self._desks:
            if self._client is not None and self._connected:
                desk.advance(self._client)
            elif self.engine in ("off", "failed") and not self._retiring and desk.busy:
                desk.give_up()
                self.revision += 1

    def _start_process(self) -> None:
        try:
            self._process = self._make_process()
            self._process.start()
        except BridgeError as error:
            self.engine, self.engine_why, self.error = "failed", str(error), error
            raise
        self._found = not self._process.is_ours

    def _retire(self) -> None:
        """Ask the engine to end, by message and, if it is ours, by closing its standard input."""
        if self._client is not None and self._connected:
            self._client.shutdown()
        if self._process is not None:
            self._process.stop()
            self._retiring = True

    def _watch_engine(self) -> None:
        if self._process is None:
            return
        status = self._process.poll()
        if self._retiring:
            if status.state != "stopping":
                self._on_retired(status.why)
        elif status.state == "failed":
            if self.engine != "failed":
                self._engine_gone(status.why)
        elif status.connection is not None and self._client is None and self.engine == "starting":
            self._client, self._client_since_s = self._connect(status.connection), time.monotonic()
        elif self._client is not None and not self._connected and self.engine == "starting":
            self._watch_silence()
        elif self._lost_since_s is not None and time.monotonic() - self._lost_since_s > LOST_TIMEOUT_S:
            self._engine_gone(f"it has not answered for {LOST_TIMEOUT_S:.0f} s")

    def _on_retired(self, why: str) -> None:
        self._drop_client()
        self._process, self._retiring, self.devices = None, False, ()
        self.revision += 1
        if self.job is not None and self.job.cancelling:  # its answer may have been overtaken by the engine's end
            self._end(Cancelled("Cancelled."))
        if self.engine == "starting":
            self._start_process()
        elif why:
            self.engine, self.engine_why = "failed", why
        elif self.engine == "stopping":
            self.engine = "off"

    def _watch_silence(self) -> None:
        if time.monotonic() - self._client_since_s < ANSWER_TIMEOUT_S:
            return
        self._drop_client()
        if self._found and self._process is not None:
            # its connection file was left behind, and its process id belongs to another program by now
            log.info("no engine answers at the address in %s; starting one", self._process.connection_path)
            self._found = False
            self._process.start_new()
            return
        self._engine_gone(f"no answer for {ANSWER_TIMEOUT_S:.0f} s")

    def _engine_gone(self, why: str) -> None:
        """The process has ended, or is as good as ended."""
        was_starting = self.engine == "starting"
        self._drop_client()
        self.engine, self.engine_why, self.devices = "failed", why, ()
        self.revision += 1
        self._give_up_job()
        if was_starting:
            self._end(_failed_to_start(why))
        elif self.job is not None:
            self._end(EngineGone(f"The engine stopped while it worked on {self.job.request.placement.name} ({why}).",
                                 START_AGAIN))

    def _handle(self, event: Event) -> None:
        if any(desk.handle(event) for desk in self._desks):
            return
        match event:
            case Connected(welcome=welcome):
                self._on_connected(welcome.version)
            case Disconnected(error=error, final=True):
                self._on_refused(error)
            case Disconnected():
                self._lost_since_s = self._lost_since_s or time.monotonic()
            case EngineChanged(state=state):
                self._on_engine_state(state)
            case _ if self._run is not None:
                self._tell(event, self._run)

    def _tell(self, event: Event, run: JobRun) -> None:
        try:
            run.take(event, self.engine_version)
        except BridgeError as error:
            self._end(error)

    def _on_connected(self, version: str) -> None:
        self._connected, self.engine_version, self._lost_since_s = True, version, None
        assert self._client is not None
        for orphan in self._orphans:
            self._client.cancel(orphan)
        self._orphans.clear()

    def _on_refused(self, error: BridgeError) -> None:
        """The client has given up for good: another protocol, or a key that the engine does not take."""
        if self._retiring:
            return
        self._drop_client()
        self._give_up_job()
        self.engine, self.engine_why = "failed", str(error)
        raise error

    def _give_up_job(self) -> None:
        if self.job is not None and self.job.job:
            self._orphans.append(self.job.job)

    def _on_engine_state(self, state: EngineState) -> None:
        if self._retiring:
            return
        self.devices, self.engine_why = state.devices, state.detail
        self.engine = state.state
        if state.state == "failed":
            self._retire()  # so that the next start finds nothing in its way and takes the preferences of then
            raise _failed_to_start(state.detail)

    def _advance(self, run: JobRun) -> None:
        """The steps that are ours, not the engine's."""
        before = run.state.phase
        if run.prepared is not None and run.info is not None:
            self._land(run.prepared, run.info, run.state)
        if self._run is run:     # else it has ended
            run.advance(self._client if self._connected else None, self.engine_version)
            self.revision += run.state.phase != before

    def _land(self, prepared: PreparedResult, info: JobInfo, job: JobState) -> None:
        why_not = self._landing.why_not_now()
        if why_not:
            self.revision += why_not != job.waiting_for
            job.waiting_for = why_not
            return
        self._live.end()
        try:
            name = self._landing.land(prepared, job.request)
        except BridgeError as error:
            raise type(error)(error.message, f"{error.hint} {STILL_KEPT}".strip()) from error
        self.outcome = outcome_of(info, prepared, job, name, self._landing.notes)
        self._end(None)

    def _end(self, error: BridgeError | None) -> None:
        if error is not None:
            self.error = error
            log.info("job ended: %s", error)
        if self.job is not None:
            self.ended_jobs.add(self.job.job)
        spoilt = error is not None and not isinstance(error, Cancelled)
        self.kept = self._live.end(keep=self.job is not None and (spoilt or self.job.keep)) or self.kept
        self._run = None
        self.revision += 1

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        self._connected, self._lost_since_s = False, None
        if client is not None:
            client.close()
            for desk in self._desks:
                desk.down()


def _failed_to_start(why: str) -> EngineFailed:
    return EngineFailed(f"The engine could not start: {why}.",
                        "Check Engine Python under Preferences > Add-ons > Slipcast: it needs Slipcast's packages.")
