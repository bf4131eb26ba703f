"""The way of a job to the engine: hash the inputs, ask, upload what the engine lacks, ask again."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BadFrame, BadHeader, BridgeError, Cancelled, EngineGone, TimedOut, TooLarge, error_from_code
from .events import Failed, Uploading
from .messages import Chunk, Credit, Error, InputRef, JobInfo, Limits, NeedBlobs, PutReady, Stop, Stored, Submit
from .post import Answer, Post, error_of
from .transfers import Source, Upload, changed_on_the_way, hash_source, read_part

_MAX_ROUNDS = 5            # how often the engine may ask for the blobs of one job
_ACTIVE_UPLOADS = 4        # small files wait for an answer each; a few at a time hide that
_STALLED_S = 30.0

Ask = Callable[[Any, Callable[[Answer], None]], None]


@dataclass(frozen=True)
class Order:
    """What Client.submit was given."""

    job: str
    method: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Source]
    label: str | None = None


@dataclass
class _Sending:
    """A job that the engine has not accepted yet. needed: blobs it still lacks. asked: a Submit is on its way."""

    order: Order
    submit: Submit | None = None
    asked: bool = False
    cancelled: bool = False
    rounds: int = 0
    needed: set[str] = field(default_factory=set)
    done_bytes: int = 0
    total_bytes: int = 0


class Sender:
    """ask: send a request on ctl (message, what to do with the answer). accepted: called with the JobInfo of a job
    that the engine took, and whether it was cancelled meanwhile."""

    def __init__(self, post: Post, ask: Ask, accepted: Callable[[JobInfo, bool], None]) -> None:
        self._post, self._ask, self._accepted = post, ask, accepted
        self._jobs: dict[str, _Sending] = {}
        self._uploads: dict[str, Upload] = {}
        self._queue: deque[Upload] = deque()

    def add(self, order: Order) -> None:
        if order.job in self._jobs:
            return
        sending = self._jobs[order.job] = _Sending(order)

        def stopped() -> bool:
            return sending.cancelled or self._post.hashing.closed

        self._post.hashing.ask(lambda: _hash_inputs(order, stopped), lambda found: self._hashed(sending, found))

    def cancel(self, job: str) -> bool:
        """True when the job was still on its way to the engine; then it ends here."""
        sending = self._jobs.get(job)
        if sending is None:
            return False
        sending.cancelled = True
        if not sending.asked:
            self._fail(job, Cancelled("Cancelled before the engine had it."))
        return True

    def on_up(self) -> None:
        """A new connection: what the engine had of an upload is unknown, so each job asks again."""
        for sending in list(self._jobs.values()):
            if sending.submit is not None and not sending.asked:
                self._submit(sending)

    def on_down(self) -> None:
        self._uploads.clear()
        self._queue.clear()

    def on_blob(self, message: Any, re: str) -> bool:
        """True when the message belongs to an upload (also to one that is over)."""
        if isinstance(message, (PutReady, Credit, Stored, Stop)):
            upload = self._uploads.get(message.sha256)
        else:
            upload = next((upload for upload in self._uploads.values() if upload.id == re), None)
        if upload is None or (re and re != upload.id):
            return isinstance(message, (PutReady, Credit, Stored))
        upload.moved_s = self._post.now()
        try:
            self._advance(upload, message)
        except BridgeError as error:
            self._upload_failed(upload, error)
        return True

    def on_time(self) -> None:
        now = self._post.now()
        for upload in list(self._uploads.values()):
            if now - upload.moved_s > _STALLED_S:
                self._upload_failed(upload, TimedOut(f"The engine stopped taking {upload.label}.", "Try again."))

    # --- a job ------------------------------------------------------------------------------------------------------
    def _hashed(self, sending: _Sending, found: Submit | BridgeError) -> None:
        if sending.order.job not in self._jobs:
            return
        if isinstance(found, BridgeError):
            self._fail(sending.order.job, found)
            return
        sending.submit = found
        if self._post.up:
            self._submit(sending)

    def _submit(self, sending: _Sending) -> None:
        assert sending.submit is not None
        try:
            _check_limits(sending.submit, self._post.limits)
        except TooLarge as error:
            self._fail(sending.order.job, error)
            return
        sending.asked = True
        self._ask(sending.submit, lambda answer: self._answered(sending, answer))

    def _answered(self, sending: _Sending, answer: Answer) -> None:
        sending.asked = False
        job = sending.order.job
        if isinstance(answer, JobInfo):
            self._drop(job)
            self._accepted(answer, sending.cancelled)
        elif isinstance(answer, BridgeError):
            self._fail(job, answer)
        elif sending.cancelled:
            self._fail(job, Cancelled("Cancelled before the engine had it."))
        elif isinstance(answer, NeedBlobs):
            self._upload(sending, answer)
        else:
            self._fail(job, error_of(answer))

    def _upload(self, sending: _Sending, need: NeedBlobs) -> None:
        assert sending.submit is not None
        refs = {ref.sha256: ref for ref in sending.submit.inputs}
        sending.rounds += 1
        if sending.rounds > _MAX_ROUNDS:
            self._fail(sending.order.job, EngineGone("The engine keeps asking for the same files.",
                                                     "Restart the engine and try again."))
            return
        if not need.sha256 or any(sha256 not in refs for sha256 in need.sha256):
            self._fail(sending.order.job, BadHeader("The engine asks for files that the job does not have."))
            return
        sending.needed = set(need.sha256)
        sending.total_bytes, sending.done_bytes = sum(refs[sha256].size for sha256 in sending.needed), 0
        for sha256 in sorted(sending.needed, key=lambda name: refs[name].label):
            self._want(sending, refs[sha256])
        self._start_uploads()
        self._tell(sending)

    def _fail(self, job: str, error: BridgeError) -> None:
        self._drop(job)
        self._post.emit(Failed(job, error))

    def _drop(self, job: str) -> None:
        self._jobs.pop(job, None)
        for upload in [*self._uploads.values(), *self._queue]:
            upload.jobs.pop(job, None)
            if not upload.jobs and self._uploads.pop(upload.sha256, None) is not None and self._post.up:
                self._post.send_blob(Stop(upload.sha256), upload.id, ())
        self._queue = deque(upload for upload in self._queue if upload.jobs)
        self._start_uploads()

    # --- its blobs --------------------------------------------------------------------------------------------------
    def _want(self, sending: _Sending, ref: InputRef) -> None:
        upload = self._uploads.get(ref.sha256) or next((u for u in self._queue if u.sha256 == ref.sha256), None)
        if upload is None:
            upload = Upload(ref.sha256, ref.size, sending.order.inputs[ref.label], ref.label, self._post.new_id())
            self._queue.append(upload)
        upload.jobs[sending.order.job] = None

    def _start_uploads(self) -> None:
        while self._post.up and self._queue and len(self._uploads) < _ACTIVE_UPLOADS:
            upload = self._queue.popleft()
            upload.moved_s = self._post.now()
            self._uploads[upload.sha256] = upload
            self._post.send_blob(upload.put(), upload.id, ())

    def _advance(self, upload: Upload, message: Any) -> None:
        if isinstance(message, PutReady):
            upload.on_ready(message.offset, message.credits)
            self._count(upload, message.offset)
            self._read_on(upload)
        elif isinstance(message, Credit):
            upload.on_credit(message.credits)
            self._read_on(upload)
        elif isinstance(message, Stored):
            self._stored(upload)
        elif isinstance(message, Error):
            error = error_from_code(message.code, message.message, message.hint)
            raise changed_on_the_way(upload.label) if isinstance(error, BadFrame) else error
        else:
            raise EngineGone(f"The engine broke off the upload of {upload.label}.", "Try again.")

    def _read_on(self, upload: Upload) -> None:
        while part := upload.next_part(self._post.limits.chunk_bytes):
            offset, size = part
            self._post.reading.ask(lambda o=offset, s=size: read_part(upload.source, upload.label, o, s),
                                   lambda data, o=offset: self._send_part(upload, o, data))

    def _send_part(self, upload: Upload, offset: int, data: Any) -> None:
        if self._uploads.get(upload.sha256) is not upload:
            return      # it ended while the part was being read
        if isinstance(data, BridgeError):
            self._post.send_blob(Stop(upload.sha256), upload.id, ())
            self._upload_failed(upload, data)
            return
        upload.moved_s = self._post.now()
        self._post.send_blob(Chunk(upload.sha256, offset), upload.id, (data,))
        self._count(upload, len(data))

    def _stored(self, upload: Upload) -> None:
        del self._uploads[upload.sha256]
        for job in upload.jobs:
            sending = self._jobs[job]
            sending.needed.discard(upload.sha256)
            if not sending.needed:
                self._submit(sending)
        self._start_uploads()

    def _upload_failed(self, upload: Upload, error: BridgeError) -> None:
        self._uploads.pop(upload.sha256, None)
        for job in list(upload.jobs):
            self._fail(job, error)
        self._start_uploads()

    def _count(self, upload: Upload, size: int) -> None:
        for job in upload.jobs:
            self._jobs[job].done_bytes += size
            self._tell(self._jobs[job])

    def _tell(self, sending: _Sending) -> None:
        done = min(sending.done_bytes, sending.total_bytes)
        self._post.emit(Uploading(sending.order.job, done, sending.total_bytes))


def _hash_inputs(order: Order, stopped: Callable[[], bool]) -> Submit:
    refs = []
    for label, source in order.inputs.items():
        sha256, size = hash_source(source, label, stopped)
        refs.append(InputRef(label, sha256, size))
    return Submit(order.job, order.method, order.settings, tuple(refs), order.label)


def _check_limits(submit: Submit, limits: Limits) -> None:
    if len(submit.inputs) > limits.inputs_per_job:
        raise TooLarge(f"This job has {len(submit.inputs)} files; the engine takes {limits.inputs_per_job}.",
                       "Use fewer pictures.")
    for ref in submit.inputs:
        if ref.size > limits.blob_bytes:
            raise TooLarge(f"{ref.label} has {ref.size:,} bytes; the engine takes {limits.blob_bytes:,}.",
                           "Use a smaller file.")
    total = sum(ref.size for ref in submit.inputs)
    if total > limits.job_bytes:
        raise TooLarge(f"The files of this job have {total:,} bytes; the engine takes {limits.job_bytes:,}.",
                       "Use fewer or smaller pictures.")
