"""The queue of events: order is kept, and a reader that is away costs no memory."""
from __future__ import annotations

import threading
import time

from slipcast.bridge.errors import EngineGone
from slipcast.bridge.event_queue import EventQueue
from slipcast.bridge.events import Disconnected, Fetching, Previewed, Progressed, Uploading
from slipcast.bridge.messages import Preview, Progress

A, B = "a" * 32, "b" * 32


def progress(job: str, seq: int) -> Progressed:
    return Progressed(Progress(job, 1, seq, "hull", 3, 8, seq, 10, "slices", 0.0, 0.0))


def preview(job: str, seq: int) -> Previewed:
    return Previewed(Preview(job, 1, seq, "hull", False, ()), ())


def drain(queue: EventQueue) -> list[object]:
    found = []
    while (event := queue.get()) is not None:
        found.append(event)
    return found


def test_events_come_in_the_order_they_were_put():
    queue = EventQueue()
    lost = [Disconnected(EngineGone(str(index)), False) for index in range(3)]
    for event in lost:
        queue.put(event)
    assert drain(queue) == lost


def test_of_latest_only_kinds_the_newest_of_each_job_is_kept():
    queue = EventQueue()
    for seq in range(1000):
        for job in (A, B):
            queue.put(progress(job, seq))
            queue.put(preview(job, seq))
            queue.put(Uploading(job, seq, 1000))
            queue.put(Fetching(job, seq, 1000))
    assert len(queue) == 8
    assert drain(queue) == [kind for job in (A, B) for kind in (
        progress(job, 999), preview(job, 999), Uploading(job, 999, 1000), Fetching(job, 999, 1000))]


def test_a_kind_that_was_read_is_queued_again():
    queue = EventQueue()
    queue.put(progress(A, 1))
    assert queue.get() == progress(A, 1)
    queue.put(progress(A, 2))
    assert drain(queue) == [progress(A, 2)]


def test_an_empty_queue_answers_at_once_or_waits_as_told():
    queue = EventQueue()
    started = time.monotonic()
    assert queue.get() is None
    assert time.monotonic() - started < 0.05
    assert queue.get(0.1) is None
    assert time.monotonic() - started >= 0.1


def test_a_waiting_reader_is_woken():
    queue = EventQueue()
    timer = threading.Timer(0.05, lambda: queue.put(progress(A, 1)))
    timer.start()
    started = time.monotonic()
    assert queue.get(10.0) == progress(A, 1)
    assert time.monotonic() - started < 5.0
    timer.join()
