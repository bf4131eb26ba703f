"""What the client knows and does: requests and their answers, jobs it follows, and what it tells its user. No sockets.

Everything here runs on the client's thread. A request stays in the table until its answer, its time limit, or for ever
while the link is down; after a reconnect it is sent again, which is safe because each request is idempotent.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .codec import Envelope
from .errors import BridgeError, Cancelled, TimedOut, UnknownJob, error_from_code
from .events import EngineChanged, Failed, JobChanged, JobsListed, Previewed, Progressed, TurnedDown
from .fetching import Fetcher
from .messages import (
    TERMINAL_STATES,
    Cancel,
    EngineState,
    Error,
    FinishEarly,
    Forget,
    Get,
    JobInfo,
    JobList,
    ListJobs,
    Preview,
    Progress,
    Rerun,
    Subscribe,
    Welcome,
)
from .modeltalk import ModelTalk
from .post import Answer, Post, error_of
from .sending import Order, Sender

log = logging.getLogger(__name__)

_ANSWER_S = 15.0


@dataclass
class _Request:
    message: Any
    then: Callable[[Answer], None]
    sent_s: float | None = None


@dataclass
class _Followed:
    """A job whose end is awaited. newest: (attempt, seq) of the last progress and of the last preview."""

    info: JobInfo | None = None
    newest_progress: tuple[int, int] = (-1, -1)
    newest_preview: tuple[int, int] = (-1, -1)


class Conversation:
    def __init__(self, post: Post) -> None:
        self._post = post
        self._requests: dict[str, _Request] = {}
        self._followed: dict[str, _Followed] = {}
        self._sender = Sender(post, self._ask, self._accepted)
        self._fetcher = Fetcher(post)
        self.models = ModelTalk(post, self._ask)

    # --- what the user wants ----------------------------------------------------------------------------------------
    def submit(self, order: Order) -> None:
        self._sender.add(order)

    def cancel(self, job: str) -> None:
        if not self._sender.cancel(job):
            self._ask(Cancel(job), lambda answer: self._on_info(answer, job, ends_job=isinstance(answer, UnknownJob)))

    def finish_early(self, job: str) -> None:
        self._ask(FinishEarly(job),
                  lambda answer: self._on_info(answer, job, ends_job=isinstance(answer, UnknownJob)))

    def subscribe(self, job: str) -> None:
        """Follow a job to its end, or, when it has ended, fetch its result."""
        self._followed.setdefault(job, _Followed())
        self._ask(Subscribe(job), lambda answer: self._on_info(answer, job, ends_job=True))

    def get(self, job: str) -> None:
        self._ask(Get(job), lambda answer: self._on_info(answer, job, ends_job=isinstance(answer, UnknownJob)))

    def rerun(self, job: str, source: str, settings: Mapping[str, Any]) -> None:
        self._followed.setdefault(job, _Followed())
        self._ask(Rerun(job, source, settings), lambda answer: self._on_info(answer, job, ends_job=True))

    def fetch(self, job: str, names: tuple[str, ...]) -> None:
        """Some artefacts of a job as it is now."""
        self._ask(Get(job), lambda answer: self._on_wanted(answer, job, names))

    def list_jobs(self, limit: int, before: str | None = None) -> None:
        self._ask(ListJobs(limit, before), lambda answer: self._on_list(answer, ""))

    def forget(self, job: str) -> None:
        self._ask(Forget(job), lambda answer: self._on_list(answer, job))

    # --- what the link says -----------------------------------------------------------------------------------------
    def on_up(self, welcome: Welcome) -> None:
        self._post.limits, self._post.up = welcome.limits, True
        asked = {request.message.job for request in self._requests.values()
                 if isinstance(request.message, (Subscribe, Rerun))}
        for request_id in list(self._requests):
            self._send(request_id)
        for job in [job for job in self._followed if job not in asked]:
            self.subscribe(job)
        self._sender.on_up()
        self._fetcher.on_up()
        self.models.on_up()

    def on_down(self) -> None:
        self._post.up = False
        self._sender.on_down()
        self._fetcher.on_down()

    def on_ctl(self, envelope: Envelope) -> None:
        message = envelope.message
        request = self._requests.pop(envelope.re, None) if envelope.re else None
        if request is not None:
            is_error = isinstance(message, Error)
            request.then(error_from_code(message.code, message.message, message.hint) if is_error else message)
        elif isinstance(message, JobInfo):
            self._take_info(message)
        elif isinstance(message, EngineState):
            self._post.emit(EngineChanged(message))
        elif isinstance(message, Progress):
            self._on_progress(message)
        elif isinstance(message, Preview):
            self._on_preview(message, envelope.frames)
        elif isinstance(message, Error):
            log.warning("the engine says [%s] %s %s", message.code, message.message, message.hint)
        else:
            self.models.on_message(message)

    def on_blob(self, envelope: Envelope) -> None:
        if not self._sender.on_blob(envelope.message, envelope.re):
            self._fetcher.on_blob(envelope.message, envelope.re, envelope.frames)

    def on_time(self) -> None:
        """Give up what has waited too long. Call it when everything that has arrived is read, or a pause of this
        process (a debugger, a busy Blender) would look like one of the engine's."""
        if not self._post.up:
            return
        now = self._post.now()
        late = [name for name, request in self._requests.items()
                if request.sent_s is not None and now - request.sent_s > _ANSWER_S]
        for name in late:
            self._requests.pop(name).then(TimedOut("The engine did not answer.", "Try again, or restart the engine."))
        self._sender.on_time()
        self._fetcher.on_time()

    # --- requests ---------------------------------------------------------------------------------------------------
    def _ask(self, message: Any, then: Callable[[Answer], None]) -> None:
        request_id = self._post.new_id()
        self._requests[request_id] = _Request(message, then)
        if self._post.up:
            self._send(request_id)

    def _send(self, request_id: str) -> None:
        request = self._requests[request_id]
        try:
            self._post.send_ctl(request.message, request_id)
        except BridgeError as error:       # too large, or not JSON: it would never be answered
            del self._requests[request_id]
            request.then(error)
            return
        request.sent_s = self._post.now()

    # --- answers ----------------------------------------------------------------------------------------------------
    def _accepted(self, info: JobInfo, was_cancelled: bool) -> None:
        self._followed.setdefault(info.job, _Followed())
        self._take_info(info)
        if was_cancelled and info.state not in TERMINAL_STATES:
            self.cancel(info.job)

    def _on_info(self, answer: Answer, job: str, ends_job: bool) -> None:
        if isinstance(answer, JobInfo):
            self._take_info(answer)
            return
        if ends_job:
            self._followed.pop(job, None)
            self._post.emit(Failed(job, error_of(answer)))
        else:
            self._post.emit(TurnedDown(job, error_of(answer)))

    def _on_wanted(self, answer: Answer, job: str, names: tuple[str, ...]) -> None:
        if isinstance(answer, JobInfo):
            self._fetcher.start(answer, names)
        else:
            self._post.emit(TurnedDown(job, error_of(answer)))

    def _on_list(self, answer: Answer, job: str) -> None:
        if isinstance(answer, JobList):
            self._post.emit(JobsListed(answer))
        else:
            self._post.emit(TurnedDown(job, error_of(answer)))

    def _take_info(self, info: JobInfo) -> None:
        """Newest per job wins. The end of a followed job ends in Failed, or in a fetch."""
        followed = self._followed.get(info.job)
        if followed is not None:
            if followed.info is not None and followed.info.revision > info.revision:
                return
            followed.info = info
        self._post.emit(JobChanged(info))
        if followed is None or info.state not in TERMINAL_STATES:
            return
        del self._followed[info.job]
        if info.state == "done":
            self._fetcher.start(info)
        elif info.state == "cancelled":
            self._post.emit(Failed(info.job, Cancelled("The job was cancelled.")))
        else:
            self._post.emit(Failed(info.job, _error_of(info)))

    def _on_progress(self, progress: Progress) -> None:
        followed = self._followed.get(progress.job)
        place = (progress.attempt, progress.seq)
        if followed is not None and place > followed.newest_progress:
            followed.newest_progress = place
            self._post.emit(Progressed(progress))

    def _on_preview(self, preview: Preview, frames: tuple[memoryview, ...]) -> None:
        followed = self._followed.get(preview.job)
        place = (preview.attempt, preview.seq)
        if followed is not None and place > followed.newest_preview:
            followed.newest_preview = place
            self._post.emit(Previewed(preview, frames))


def _error_of(info: JobInfo) -> BridgeError:
    if info.error is None:
        return BridgeError("The job failed without saying why.", "Look into the engine's log.")
    return error_from_code(info.error.code, info.error.message, info.error.hint)
