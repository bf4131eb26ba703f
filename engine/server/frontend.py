"""The engine's front: the ctl socket of clients, the link to workers, and the one loop that owns all job state.

No torch, no numpy, nothing that waits: blobs and their fsync belong to the blob desk's thread, work to the workers.
"""
from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import zmq

from ...bridge import PROTOCOL_VERSION
from ...bridge.codec import CTL_FROM_CLIENT, decode_body, decode_header, encode
from ...bridge.errors import (
    BadHeader,
    BadSettings,
    BridgeError,
    InternalError,
    TooLarge,
    UnknownBlob,
    VersionMismatch,
)
from ...bridge.messages import (
    TERMINAL_STATES,
    Cancel,
    EngineState,
    Error,
    ErrorInfo,
    FinishEarly,
    Forget,
    Get,
    Goodbye,
    Hello,
    JobInfo,
    JobList,
    ListJobs,
    NeedBlobs,
    Ping,
    Pong,
    Preview,
    Progress,
    Rerun,
    Shutdown,
    Submit,
    Subscribe,
    Welcome,
)
from ...bridge.model_messages import CancelFetch, FetchModel, ModelList, ModelProgress, Models, RemoveModel, VerifyModel
from ...bridge.settings import METHODS, settings_from_mapping
from ..settings import ServeSettings
from .blobdesk import BlobDesk
from .blobs import BlobStore
from .jobs import JobTable, Order, rerun_request
from .link import WorkerLink
from .mailbox import Mailbox
from .models import ModelKeeper
from .sockets import Outbox
from .supervisor import Supervisor
from .workerlink import Done

log = logging.getLogger(__name__)
_BURST = 100                      # messages of one kind before the others have their turn
_BUSY_POLL_MS, _IDLE_POLL_MS = 20, 250
_SWEEP_S = 30.0
_LIST_LIMIT = 1000
_STATE_KEY = ("state", "")


class Frontend:
    """Answers clients. One thread; `post` is for the others."""

    def __init__(self, settings: ServeSettings, ctl: zmq.Socket[bytes], table: JobTable, store: BlobStore,
                 desk: BlobDesk, epoch: str, version: str) -> None:
        self._settings, self._ctl, self._table, self._store, self._desk = settings, ctl, table, store, desk
        self._epoch, self._version = epoch, version
        self.mailbox = Mailbox()
        self._outbox = Outbox(ctl, settings.replies_waiting)
        self._clients: dict[bytes, float] = {}                   # peer -> when it last spoke
        self._subscribers: dict[str, set[bytes]] = {}
        self._newest: dict[tuple[str, str], list[bytes | memoryview]] = {}   # Progress and Preview of running jobs
        self._pinned: Counter[str] = Counter()                   # results on their way into the store
        self._running = True
        self.models = ModelKeeper(settings, self.mailbox, self._tell_models)
        self._model_listeners: set[bytes] = set()
        self._handlers: dict[type, Callable[[bytes, Any], Any]] = {
            Hello: self._hello, Submit: self._submit, Rerun: self._rerun, Subscribe: self._subscribe, Get: self._get,
            ListJobs: self._list, Cancel: self._cancel, FinishEarly: self._finish_early, Forget: self._forget,
            Ping: lambda peer, message: Pong(), Shutdown: self._shutdown, Models: self._list_models,
            CancelFetch: lambda peer, it: self.models.cancel(it)}
        self._handlers |= dict.fromkeys((FetchModel, VerifyModel, RemoveModel), lambda peer, it: self.models.begin(it))

    def run(self, link: WorkerLink, supervisor: Supervisor) -> None:
        """Serve until stop() or a client's Shutdown."""
        self._supervisor = supervisor
        poller = zmq.Poller()
        for item in (self._ctl, link.socket, self.mailbox.fileno()):
            poller.register(item, zmq.POLLIN)
        swept = time.monotonic()
        supervisor.tick()
        while self._running:
            hurry = supervisor.is_busy or self.models.is_busy or not self._outbox.is_empty
            poller.poll(_BUSY_POLL_MS if hurry else _IDLE_POLL_MS)
            self.mailbox.run_all()
            self._read_clients()
            link.read()
            supervisor.tick()
            self.models.tick()
            if not self._outbox.is_empty:
                self._outbox.flush()
            if self._outbox.gone or time.monotonic() - swept > _SWEEP_S:
                swept = time.monotonic()
                self._sweep(swept)
        self._outbox.flush()

    def stop(self) -> None:
        """From any thread or signal handler: end run()."""
        self.mailbox.post(self._end)

    def _end(self) -> None:
        self._running = False

    # --- what others tell the clients ------------------------------------------------------------------------------
    def job_changed(self, info: JobInfo) -> None:
        """Tell a job's subscribers; its row is committed."""
        self._drop_newest(info.job)
        frames = self._encode(info)
        for peer in self._subscribers.get(info.job, ()):
            self._outbox.news(peer, ("job", info.job), frames)
        if info.state in TERMINAL_STATES:
            self._subscribers.pop(info.job, None)

    def engine_changed(self, state: EngineState) -> None:
        """Tell every client."""
        log.info("engine is %s %s %s", state.state, ", ".join(state.devices), state.detail)
        frames = self._encode(state)
        for peer in self._clients:
            self._outbox.news(peer, _STATE_KEY, frames)

    def relay(self, message: Progress | Preview, frames: Sequence[memoryview]) -> None:
        """Hand a worker's news to a job's subscribers, newest only."""
        key = (type(message).__name__, message.job)
        self._newest[key] = self._encode(message, frames=frames)
        for peer in self._subscribers.get(message.job, ()):
            self._outbox.news(peer, key, self._newest[key])

    def adopt(self, order: Order, done: Done) -> None:
        """Have the desk take results into the store, then the supervisor commit the job."""
        self._pinned.update(item.sha256 for item in done.artefacts)
        self._desk.post(partial(self._adopt_on_desk, order, done))

    def _adopt_on_desk(self, order: Order, done: Done) -> None:
        folder, problem = f"{order.job}-{order.attempt}", None
        try:
            for item in {item.sha256: item for item in done.artefacts}.values():
                self._store.adopt(self._store.spool / folder / item.sha256, item.sha256, item.size)
        except BridgeError as error:
            problem = ErrorInfo(error.code, error.message, error.hint)
        except OSError as error:
            log.exception("the result of job %s cannot be stored", order.job[:8])
            problem = ErrorInfo("internal", f"The result could not be stored ({error.strerror}).", "Run the job again.")
        self._store.drop_spool(folder)
        self.mailbox.post(partial(self._adopted, order, done, problem))

    def _adopted(self, order: Order, done: Done, problem: ErrorInfo | None) -> None:
        self._supervisor.adopted(order, done, problem)
        self._pinned.subtract(item.sha256 for item in done.artefacts)
        self._pinned = +self._pinned

    # --- requests --------------------------------------------------------------------------------------------------
    def _read_clients(self) -> None:
        for _ in range(_BURST):
            try:
                peer, *parts = self._ctl.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._answer(peer, parts)

    def _answer(self, peer: bytes, parts: list[bytes]) -> None:
        header = None
        try:
            header = decode_header(parts, self._settings.limits)
            envelope = decode_body(header, parts[1:], CTL_FROM_CLIENT, self._settings.limits)
            if peer not in self._clients and not isinstance(envelope.message, Hello):
                raise BadHeader("The first message must be hello.")
            self._clients[peer] = time.monotonic()
            reply = self._handlers[type(envelope.message)](peer, envelope.message)
        except BridgeError as error:
            reply = Error(error.code, error.message, error.hint)
        except Exception:   # the loop must outlive a bug; it is logged and answered
            log.exception("a request failed")
            reply = Error(InternalError.code, "The engine failed on this request; its log says why.")
        if header is not None and not header.id:
            return   # no reply is wanted
        self._outbox.reply(peer, self._encode(reply, re=header.id if header else ""))
        if isinstance(reply, Welcome):
            self._outbox.news(peer, _STATE_KEY, self._encode(self._supervisor.state))

    def _encode(self, message: Any, re: str = "", frames: Sequence[memoryview] = ()) -> list[bytes | memoryview]:
        return encode(message, re=re, frames=frames, limits=self._settings.limits)

    def _hello(self, peer: bytes, hello: Hello) -> Welcome:
        if hello.protocol != PROTOCOL_VERSION:
            raise VersionMismatch(f"The client speaks protocol {hello.protocol}, this engine {PROTOCOL_VERSION}.",
                                  "Use the same version of Slipcast on both sides.")
        log.info("%s (%s) is here", hello.name[:64], hello.version[:32])
        return Welcome(PROTOCOL_VERSION, self._version, self._epoch, self._settings.limits, tuple(METHODS))

    def _submit(self, peer: bytes, submit: Submit) -> JobInfo | NeedBlobs:
        request = self._checked(submit)
        is_new = self._table.known_content(request.job) is None
        if is_new:
            missing = self._missing(request)
            if missing:
                return NeedBlobs(request.job, missing)
            if self._table.unfinished() >= self._settings.limits.queued_jobs:
                raise TooLarge(f"{self._settings.limits.queued_jobs} jobs have not ended yet.",
                               "Wait until some have ended, or cancel some.")
        info = self._table.add(request)
        if info.state not in TERMINAL_STATES:
            self._subscribers.setdefault(request.job, set()).add(peer)
        if is_new:
            self.mailbox.post(self._supervisor.dispatch)   # after the reply, so that states come in order
        return info

    def _rerun(self, peer: bytes, message: Rerun) -> JobInfo:
        reply = self._submit(peer, rerun_request(self._table, message))
        if isinstance(reply, NeedBlobs):
            raise UnknownBlob("Some input files of that job are not stored any more.",
                              "Start it from its pictures instead.")
        return reply

    def _checked(self, submit: Submit) -> Submit:
        """The request with its settings complete, so that a default given or left out is the same content."""
        kind = METHODS.get(submit.method)
        if kind is None:
            raise BadSettings(f"There is no method called {submit.method[:64]!r}.", f"Known: {', '.join(METHODS)}.")
        limits = self._settings.limits
        if len(submit.inputs) > limits.inputs_per_job or sum(item.size for item in submit.inputs) > limits.job_bytes:
            raise TooLarge(f"The input is above the limit: {limits.inputs_per_job} files, {limits.job_bytes} bytes.",
                           "Use fewer or smaller images.")
        if len({item.label for item in submit.inputs}) != len(submit.inputs):
            raise BadHeader("Two input files have the same label.")
        settings = dataclasses.asdict(settings_from_mapping(kind, submit.settings))
        return dataclasses.replace(submit, settings=settings)

    def _missing(self, request: Submit) -> tuple[str, ...]:
        """Hashes that must be uploaded first. Raises TooLarge, QuotaReached, NoSpace: before, not after, the upload."""
        wanted: dict[str, int] = {}
        for item in request.inputs:
            stored = self._store.size(item.sha256)
            if stored is None:
                stored = wanted.setdefault(item.sha256, item.size)
            if stored != item.size:
                raise BadHeader(f"{item.label[:64]!r} cannot have {item.size} bytes: its hash belongs to {stored}.")
            if item.size > self._settings.limits.blob_bytes:
                raise TooLarge(f"{item.label[:64]!r} has {item.size} bytes; the engine takes "
                               f"{self._settings.limits.blob_bytes}.", "Use smaller images.")
        if wanted:
            self._store.check_room(sum(wanted.values()))
        return tuple(wanted)

    def _subscribe(self, peer: bytes, message: Subscribe) -> JobInfo:
        info = self._table.get(message.job)
        if info.state not in TERMINAL_STATES:
            self._subscribers.setdefault(message.job, set()).add(peer)
            self.mailbox.post(partial(self._send_newest, peer, message.job))   # after the reply
        return info

    def _send_newest(self, peer: bytes, job: str) -> None:
        for key, frames in self._newest.items():
            if key[1] == job:
                self._outbox.news(peer, key, frames)

    def _drop_newest(self, job: str) -> None:
        for key in [key for key in self._newest if key[1] == job]:
            del self._newest[key]

    def _get(self, peer: bytes, message: Get) -> JobInfo:
        return self._table.get(message.job)

    def _list(self, peer: bytes, message: ListJobs) -> JobList:
        limit = min(message.limit, _LIST_LIMIT)
        jobs = self._table.newest(limit + 1, message.before)
        page = JobList(jobs[:limit], message.before, len(jobs) > limit)
        while True:   # the newest that fit into one header
            try:
                self._encode(page, re="x" * 64)
                return page
            except TooLarge:
                page = JobList(page.jobs[:len(page.jobs) * 3 // 4], message.before, True)

    def _cancel(self, peer: bytes, message: Cancel) -> JobInfo:
        return self._supervisor.cancel(message.job)

    def _finish_early(self, peer: bytes, message: FinishEarly) -> JobInfo:
        return self._supervisor.finish_early(message.job)

    def _forget(self, peer: bytes, message: Forget) -> JobList:
        self._delete(sha256 for sha256 in self._table.forget(message.job) if sha256 not in self._pinned)
        return self._list(peer, ListJobs())

    def _list_models(self, peer: bytes, message: Models) -> ModelList:
        self._model_listeners.add(peer)
        if self.models.progress is not None:
            self.mailbox.post(partial(self._tell_models, self.models.progress))   # after the reply
        return self.models.list()

    def _tell_models(self, message: ModelList | ModelProgress) -> None:
        frames = self._encode(message)
        for peer in self._model_listeners:
            if isinstance(message, ModelProgress) and message.state != "running":
                self._outbox.reply(peer, frames)    # an end is told to the slowest reader, too
            else:
                self._outbox.news(peer, ("models", getattr(message, "model", "")), frames)

    def _shutdown(self, peer: bytes, message: Shutdown) -> Goodbye:
        log.info("a client asks the engine to end")
        self.stop()
        return Goodbye()

    # --- housekeeping ----------------------------------------------------------------------------------------------
    def _delete(self, hashes: Iterable[str]) -> None:
        gone = tuple(hashes)
        self._store.drop(gone)   # at once: nobody may count on them any more
        self._desk.post(partial(self._store.unlink, gone))

    def collect(self, age_s: float) -> None:
        """Delete blobs that no job needs and that are older than age_s."""
        old = self._store.older_than(age_s)
        if old:
            needed = self._table.referenced() | self._pinned.keys()
            self._delete(sha256 for sha256 in old if sha256 not in needed)

    def _sweep(self, now: float) -> None:
        gone, self._outbox.gone = self._outbox.gone, set()
        for peer in gone:
            self._clients.pop(peer, None)
            self._model_listeners.discard(peer)
            for peers in self._subscribers.values():
                peers.discard(peer)
        state = self._encode(self._supervisor.state)
        for peer, spoke in self._clients.items():
            if now - spoke > self._settings.client_probe_s:
                self._outbox.news(peer, _STATE_KEY, state)   # tells us whether it is still there
        self.collect(self._settings.orphan_blob_s)
