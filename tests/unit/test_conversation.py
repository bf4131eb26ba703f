"""What the client does with answers, losses and silence: played through without sockets, with a clock of our own."""
from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from slipcast.bridge.codec import Envelope
from slipcast.bridge.conversation import Conversation
from slipcast.bridge.errors import (
    BadFolder,
    BadFrame,
    BridgeError,
    Cancelled,
    Conflict,
    EngineGone,
    NoSpace,
    TimedOut,
    TooLarge,
    UnknownJob,
    WorkerDied,
)
from slipcast.bridge.events import Failed, Fetching, Finished, JobChanged, Previewed, Progressed, TurnedDown, Uploading
from slipcast.bridge.messages import (
    Artefact,
    Cancel,
    Chunk,
    Credit,
    Error,
    ErrorInfo,
    Fetch,
    FetchReady,
    Forget,
    JobInfo,
    JobList,
    Limits,
    ListJobs,
    NeedBlobs,
    Preview,
    Progress,
    Put,
    PutReady,
    Stop,
    Stored,
    Submit,
    Subscribe,
    Welcome,
)
from slipcast.bridge.post import Post
from slipcast.bridge.sending import Order

JOB, OTHER = "a" * 32, "b" * 32
SMALL = Limits(chunk_bytes=10, credits=2)


class Errands:
    """Does its work when `collect` is called."""

    closed = False

    def __init__(self) -> None:
        self._work: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()

    def ask(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self._work.append((work, then))

    def collect(self) -> None:
        while self._work:
            work, then = self._work.popleft()
            try:
                answer = work()
            except BridgeError as error:
                answer = error
            then(answer)


class Stage:
    """A conversation, what it sent, and the events it told."""

    def __init__(self) -> None:
        self.clock, self.ctl, self.blob, self.events = 100.0, [], [], []
        self.hashing, self.reading = Errands(), Errands()
        post = Post(self._on_ctl, self._on_blob, self.events.append, self.hashing,      # type: ignore[arg-type]
                    self.reading, now=lambda: self.clock)                               # type: ignore[arg-type]
        self.talk = Conversation(post)
        self.post = post

    def _on_ctl(self, message: Any, message_id: str) -> None:
        assert self.post.up, "sent while the link is down"
        self.ctl.append((message, message_id))

    def _on_blob(self, message: Any, message_id: str, frames: Sequence[bytes]) -> None:
        assert self.post.up, "sent while the link is down"
        self.blob.append((message, message_id, b"".join(map(bytes, frames))))

    def up(self, limits: Limits = SMALL) -> Stage:
        self.talk.on_up(Welcome(1, "0.1.0", "e-1", limits, ("views",)))
        return self

    def answer(self, message: Any, request: int = -1) -> None:
        self.talk.on_ctl(Envelope(message, re=self.ctl[request][1]))

    def push(self, message: Any, *frames: bytes) -> None:
        self.talk.on_ctl(Envelope(message, frames=tuple(map(memoryview, frames))))

    def on_blob(self, message: Any, re: str, *frames: bytes) -> None:
        self.talk.on_blob(Envelope(message, re=re, frames=tuple(map(memoryview, frames))))

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.talk.on_time()

    def work(self) -> None:
        self.hashing.collect()
        self.reading.collect()

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def sent(self, kind: type) -> list[Any]:
        return [entry[0] for entry in (*self.ctl, *self.blob) if isinstance(entry[0], kind)]

    def submit(self, job: str = JOB, **inputs: bytes) -> None:
        self.talk.submit(Order(job, "views", {}, inputs))
        self.work()


def info(state: str, revision: int = 1, job: str = JOB, **more: Any) -> JobInfo:
    return JobInfo(job, "views", state, revision, 1, 0.0, **more)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def artefact(name: str, data: bytes) -> Artefact:
    return Artefact(name, "image/png", len(data), sha(data))


def serve_fetch(stage: Stage, stored: dict[str, bytes]) -> None:
    """Answer every fetch that was sent so far, whole."""
    for message, message_id, _ in list(stage.blob):
        if isinstance(message, Fetch):
            data = stored[message.sha256]
            stage.on_blob(FetchReady(message.sha256, len(data)), message_id)
            for offset in range(0, len(data), 10):
                stage.on_blob(Chunk(message.sha256, offset), message_id, data[offset:offset + 10])
    stage.blob.clear()
    stage.work()


# --- submitting ------------------------------------------------------------------------------------------------------
def test_a_job_is_hashed_asked_for_uploaded_and_asked_for_again():
    stage = Stage().up()
    data = bytes(range(25))
    stage.submit(a=data)
    assert stage.sent(Submit)[0].inputs[0].sha256 == sha(data)
    stage.answer(NeedBlobs(JOB, (sha(data),)))
    put, put_id, _ = stage.blob[0]
    assert put == Put(sha(data), 25)
    stage.on_blob(PutReady(sha(data), 0, 2), put_id)
    stage.work()
    assert [bytes_ for message, _, bytes_ in stage.blob if isinstance(message, Chunk)] == [data[:10], data[10:20]]
    stage.on_blob(Credit(sha(data), 1), put_id)
    stage.work()
    assert {message_id for _, message_id, _ in stage.blob} == {put_id}
    assert len(stage.sent(Submit)) == 1
    stage.on_blob(Stored(sha(data)), put_id)
    assert len(stage.sent(Submit)) == 2
    assert stage.told(Uploading)[-1] == Uploading(JOB, 25, 25)
    stage.answer(info("queued"))
    assert stage.told(JobChanged) == [JobChanged(info("queued"))]


def test_a_job_given_before_the_engine_is_there_waits_for_it():
    stage = Stage()
    stage.submit(a=b"x")
    stage.up()
    assert len(stage.sent(Submit)) == 1


def test_the_same_bytes_under_two_labels_and_in_two_jobs_go_up_once():
    stage = Stage().up()
    stage.submit(JOB, a=b"same", b=b"same")
    stage.submit(OTHER, c=b"same")
    stage.answer(NeedBlobs(JOB, (sha(b"same"),)), 0)
    stage.answer(NeedBlobs(OTHER, (sha(b"same"),)), 1)
    assert len(stage.sent(Put)) == 1
    stage.on_blob(Stored(sha(b"same")), stage.blob[0][1])
    assert [message.job for message in stage.sent(Submit)] == [JOB, OTHER, JOB, OTHER]


def test_limits_are_checked_before_anything_is_sent():
    for limits, inputs in ((Limits(inputs_per_job=1), {"a": b"x", "b": b"y"}), (Limits(blob_bytes=2), {"a": b"xyz"}),
                           (Limits(job_bytes=3), {"a": b"xx", "b": b"yy"})):
        stage = Stage().up(limits)
        stage.submit(**inputs)
        assert isinstance(stage.told(Failed)[0].error, TooLarge)
        assert not stage.ctl


def test_an_engine_that_asks_for_ever_is_given_up():
    stage = Stage().up()
    stage.submit(a=b"x")
    for _ in range(20):
        if stage.told(Failed):
            break
        stage.answer(NeedBlobs(JOB, (sha(b"x"),)))
        if stage.blob:
            stage.on_blob(Stored(sha(b"x")), stage.blob[-1][1])
    assert isinstance(stage.told(Failed)[0].error, EngineGone)
    assert len(stage.sent(Submit)) < 10


def test_an_engine_that_asks_for_what_the_job_has_not_is_refused():
    for asked in ((), (sha(b"other"),)):
        stage = Stage().up()
        stage.submit(a=b"x")
        stage.answer(NeedBlobs(JOB, asked))
        assert len(stage.told(Failed)) == 1
        assert not stage.blob


def test_errors_of_the_engine_end_the_submission_they_belong_to_and_no_other():
    stage = Stage().up()
    stage.submit(JOB, a=b"first")
    stage.submit(OTHER, b=b"second")
    stage.answer(NeedBlobs(JOB, (sha(b"first"),)), 0)
    stage.answer(NeedBlobs(OTHER, (sha(b"second"),)), 1)
    first = next(message_id for message, message_id, _ in stage.blob if message.sha256 == sha(b"first"))
    stage.on_blob(Error("no_space", "The disk is full."), first)
    [failed] = stage.told(Failed)
    assert (failed.job, type(failed.error)) == (JOB, NoSpace)
    second = next(message_id for message, message_id, _ in stage.blob if message.sha256 == sha(b"second"))
    stage.on_blob(Stored(sha(b"second")), second)
    assert stage.sent(Submit)[-1].job == OTHER


def test_a_file_that_changes_on_the_way_is_told_by_its_name():
    stage = Stage().up()
    stage.submit(**{"images/a.png": b"x"})
    stage.answer(NeedBlobs(JOB, (sha(b"x"),)))
    stage.on_blob(Error("bad_frame", "hash differs"), stage.blob[0][1])
    [failed] = stage.told(Failed)
    assert isinstance(failed.error, BadFolder)
    assert "images/a.png changed" in failed.error.message


# --- cancelling ------------------------------------------------------------------------------------------------------
def test_a_job_cancelled_while_it_is_hashed_is_never_asked_for():
    stage = Stage().up()
    stage.talk.submit(Order(JOB, "views", {}, {"a": b"x"}))
    stage.talk.cancel(JOB)
    stage.work()
    assert not stage.ctl
    assert [type(failed.error) for failed in stage.told(Failed)] == [Cancelled]


def test_a_job_cancelled_while_it_uploads_stops_its_upload_and_no_other():
    stage = Stage().up()
    for job, data in ((JOB, b"first"), (OTHER, b"second")):
        stage.submit(job, a=data)
        stage.answer(NeedBlobs(job, (sha(data),)))
    stage.talk.cancel(JOB)
    assert [message.sha256 for message in stage.sent(Stop)] == [sha(b"first")]
    assert [failed.job for failed in stage.told(Failed)] == [JOB]
    assert not stage.sent(Cancel)
    assert len(stage.sent(Submit)) == 2


def test_a_cancel_that_crosses_the_acceptance_cancels_at_the_engine():
    stage = Stage().up()
    stage.submit(a=b"x")
    stage.talk.cancel(JOB)
    assert not stage.told(Failed)
    stage.answer(info("queued"))
    assert stage.sent(Cancel) == [Cancel(JOB)]
    stage.answer(info("cancelled", 2))
    assert [type(failed.error) for failed in stage.told(Failed)] == [Cancelled]


def test_a_cancel_that_crosses_need_blobs_ends_here():
    stage = Stage().up()
    stage.submit(a=b"x")
    stage.talk.cancel(JOB)
    stage.answer(NeedBlobs(JOB, (sha(b"x"),)))
    assert [type(failed.error) for failed in stage.told(Failed)] == [Cancelled]
    assert not stage.blob


# --- following -------------------------------------------------------------------------------------------------------
def followed() -> Stage:
    stage = Stage().up()
    stage.submit(a=b"x")
    stage.answer(info("running", 2))
    stage.events.clear()
    return stage


def test_older_news_of_a_job_is_dropped():
    stage = followed()
    stage.push(info("queued", 1))
    assert not stage.events
    for attempt, seq in ((1, 5), (1, 4), (1, 5), (2, 1), (1, 9)):
        stage.push(Progress(JOB, attempt, seq, "hull", 0, 1, 0, 0, "views", 0.0, 0.0))
        stage.push(Preview(JOB, attempt, seq, "hull", False, ()))
    assert [(event.progress.attempt, event.progress.seq) for event in stage.told(Progressed)] == [(1, 5), (2, 1)]
    assert [(event.preview.attempt, event.preview.seq) for event in stage.told(Previewed)] == [(1, 5), (2, 1)]


def test_progress_of_a_job_that_ended_or_is_not_followed_is_dropped():
    stage = followed()
    stage.push(Progress(OTHER, 1, 1, "hull", 0, 1, 0, 0, "views", 0.0, 0.0))
    stage.push(info("failed", 3, error=ErrorInfo("worker_died", "It died.", "Restart.")))
    stage.push(Progress(JOB, 1, 1, "hull", 0, 1, 0, 0, "views", 0.0, 0.0))
    assert not stage.told(Progressed)
    [failed] = stage.told(Failed)
    assert isinstance(failed.error, WorkerDied)
    assert str(failed.error) == "It died. Restart."


def test_a_job_ends_once():
    stage = followed()
    for _ in range(3):
        stage.push(info("cancelled", 3))
    assert len(stage.told(Failed)) == 1


def test_refusals_of_other_requests_leave_the_job_alone():
    stage = followed()
    stage.talk.forget(JOB)
    stage.answer(Error("conflict", "It is running."))
    stage.talk.cancel(JOB)
    stage.pass_time(20)
    assert [type(event.error) for event in stage.told(TurnedDown)] == [Conflict, TimedOut]
    assert not stage.told(Failed)
    stage.push(info("cancelled", 3))
    assert len(stage.told(Failed)) == 1


def test_a_job_that_the_engine_does_not_know_has_failed():
    for ask in ("subscribe", "get", "cancel"):
        stage = Stage().up()
        getattr(stage.talk, ask)(JOB)
        stage.answer(Error("unknown_job", "No such job."))
        assert [type(failed.error) for failed in stage.told(Failed)] == [UnknownJob]


def test_only_requests_that_stay_unanswered_time_out():
    stage = Stage().up()
    stage.talk.list_jobs(5)
    stage.talk.forget(JOB)
    stage.answer(JobList(()), 0)
    stage.pass_time(14)
    assert not stage.told(TurnedDown)
    stage.pass_time(2)
    assert [(event.job, type(event.error)) for event in stage.told(TurnedDown)] == [(JOB, TimedOut)]
    stage.answer(JobList(()), 1)       # too late: nobody waits for it
    assert len(stage.events) == 2


# --- losing the engine -----------------------------------------------------------------------------------------------
def test_after_a_loss_everything_unanswered_is_asked_again_and_jobs_are_followed_again():
    stage = followed()
    stage.talk.list_jobs(7)
    stage.talk.on_down()
    stage.pass_time(3600)          # no time limit runs while the link is down
    assert not stage.events
    stage.ctl.clear()
    stage.up()
    assert {type(message) for message, _ in stage.ctl} == {ListJobs, Subscribe}
    stage.push(info("failed", 3))
    assert len(stage.told(Failed)) == 1


def test_an_upload_that_was_cut_begins_again_with_submit():
    stage = Stage().up()
    data = bytes(range(25))
    stage.submit(a=data)
    stage.answer(NeedBlobs(JOB, (sha(data),)))
    old_id = stage.blob[0][1]
    stage.on_blob(PutReady(sha(data), 0, 2), old_id)
    stage.talk.on_down()
    stage.work()                   # the part that was being read comes when there is no link
    stage.blob.clear()
    stage.up()
    assert len(stage.sent(Submit)) == 2
    stage.answer(NeedBlobs(JOB, (sha(data),)))
    _, new_id, _ = stage.blob[0]
    assert new_id != old_id
    stage.on_blob(PutReady(sha(data), 20, 2), new_id)
    stage.work()
    assert [(message.offset, bytes_) for message, _, bytes_ in stage.blob if isinstance(message, Chunk)] == [
        (20, data[20:])]
    stage.on_blob(Error("bad_frame", "stale"), old_id)
    assert not stage.told(Failed)
    stage.on_blob(Stored(sha(data)), new_id)
    stage.answer(info("queued"))
    assert not stage.told(Failed)


def test_a_transfer_in_which_nothing_moves_is_given_up():
    stage = Stage().up()
    stage.submit(a=b"x")
    stage.answer(NeedBlobs(JOB, (sha(b"x"),)))
    stage.pass_time(29)
    assert not stage.told(Failed)
    stage.pass_time(2)
    assert [type(failed.error) for failed in stage.told(Failed)] == [TimedOut]


# --- results ---------------------------------------------------------------------------------------------------------
RESULT = {"vertices": bytes(range(35)), "faces": b"12345", "again": b"12345", "empty": b""}


def done(revision: int = 3) -> JobInfo:
    return info("done", revision, artefacts=tuple(artefact(name, data) for name, data in RESULT.items()))


STORED = {sha(data): data for data in RESULT.values()}


def test_a_finished_job_is_fetched_by_itself_each_blob_once():
    stage = followed()
    stage.push(done())
    while not stage.told(Finished):
        assert stage.blob
        serve_fetch(stage, STORED)
    [finished] = stage.told(Finished)
    assert finished.result.data == RESULT
    assert finished.result.artefacts["faces"] == artefact("faces", b"12345")
    assert stage.told(Fetching)[-1] == Fetching(JOB, 40, 40)
    assert not stage.told(Failed)


def test_every_chunk_that_came_is_paid_for_with_a_credit():
    stage = followed()
    stage.push(done())
    [fetch, fetch_id, _] = next(entry for entry in stage.blob if entry[0].sha256 == sha(RESULT["vertices"]))
    assert fetch.credits == SMALL.credits
    stage.blob.clear()
    stage.on_blob(FetchReady(fetch.sha256, 35), fetch_id)
    stage.on_blob(Chunk(fetch.sha256, 0), fetch_id, RESULT["vertices"][:10])
    assert [(message, message_id) for message, message_id, _ in stage.blob] == [(Credit(fetch.sha256, 1), fetch_id)]


def test_a_damaged_result_is_fetched_once_more_and_then_fails():
    stage = followed()
    stage.push(info("done", 3, artefacts=(artefact("faces", b"12345"),)))
    serve_fetch(stage, {sha(b"12345"): b"12x45"})
    assert not stage.told(Failed)
    assert len(stage.sent(Fetch)) == 1
    serve_fetch(stage, {sha(b"12345"): b"12x45"})
    assert [type(failed.error) for failed in stage.told(Failed)] == [BadFrame]
    assert not stage.told(Finished)
    assert not stage.sent(Fetch)


def test_a_result_cut_by_a_loss_is_fetched_again_without_what_is_here():
    stage = followed()
    stage.push(done())
    vertices = sha(RESULT["vertices"])
    fetch_id = next(message_id for message, message_id, _ in stage.blob if message.sha256 == vertices)
    stage.on_blob(FetchReady(vertices, 35), fetch_id)
    stage.on_blob(Chunk(vertices, 0), fetch_id, RESULT["vertices"][:10])
    faces_id = next(message_id for message, message_id, _ in stage.blob if message.sha256 == sha(b"12345"))
    stage.on_blob(FetchReady(sha(b"12345"), 5), faces_id)
    stage.on_blob(Chunk(sha(b"12345"), 0), faces_id, b"12345")
    stage.work()
    stage.talk.on_down()
    stage.blob.clear()
    stage.up()
    for _ in range(3):
        stage.on_blob(Chunk(vertices, 10), fetch_id, b"y" * 10)       # of the old transfer
    while not stage.told(Finished):
        assert stage.blob
        assert sha(b"12345") not in {message.sha256 for message in stage.sent(Fetch)}
        serve_fetch(stage, STORED)
    assert stage.told(Finished)[0].result.data == RESULT


@pytest.mark.parametrize("wrong", [
    Artefact("vertices", "array", 35, "0" * 64, "f4", (2**40, 3)), Artefact("x", "image/png", 2**60, "0" * 64),
    Artefact("x", "array", 4, "0" * 64, "f2", (2,))])
def test_a_result_that_cannot_be_is_refused_before_room_is_made(wrong: Artefact):
    stage = followed()
    stage.push(info("done", 3, artefacts=(wrong,)))
    assert [type(failed.error) for failed in stage.told(Failed)] == [BadFrame]
    assert not stage.blob


def test_a_result_of_another_size_than_announced_is_refused():
    stage = followed()
    stage.push(info("done", 3, artefacts=(artefact("faces", b"12345"),)))
    for _ in range(2):
        message, message_id, _ = next(entry for entry in stage.blob if isinstance(entry[0], Fetch))
        stage.blob.clear()
        stage.on_blob(FetchReady(message.sha256, 2**40), message_id)
    assert [type(failed.error) for failed in stage.told(Failed)] == [BadFrame]


def test_a_job_without_artefacts_is_finished_at_once():
    stage = followed()
    stage.push(info("done", 3))
    assert stage.told(Finished)[0].result.data == {}


def test_a_result_that_the_engine_lost_fails():
    stage = followed()
    stage.push(info("done", 3, artefacts=(artefact("faces", b"12345"),)))
    stage.on_blob(Error("unknown_blob", "It is gone."), stage.blob[0][1])
    assert [str(failed.error) for failed in stage.told(Failed)] == ["It is gone."]


def test_forgetting_answers_with_the_list():
    stage = Stage().up()
    stage.talk.forget(JOB)
    assert stage.sent(Forget) == [Forget(JOB)]
    stage.answer(JobList(()))
    assert len(stage.events) == 1
