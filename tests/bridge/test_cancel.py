"""Cancel stops the job that was meant, within its time, and no other."""
from __future__ import annotations

import time

import pytest
from engines import events_until, script, wait_ready

from slipcast.bridge.errors import Cancelled
from slipcast.bridge.events import Failed, JobChanged, Progressed


def _running(client, job):
    events_until(client, lambda event: isinstance(event, Progressed) and event.progress.job == job)


def _ended(client, job, timeout_s=10.0):
    return events_until(client, lambda event: isinstance(event, Failed) and event.job == job, timeout_s)[-1].error


def test_cancelling_a_queued_job_leaves_the_running_one_alone(engine, client):
    wait_ready(client)
    [worker] = engine.workers()
    running = client.submit("views", {}, script(steps=15, step_s=0.05))
    _running(client, running)
    queued = client.submit("views", {}, script(steps=1))
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.job == queued)
    client.cancel(queued)
    assert isinstance(_ended(client, queued), Cancelled)
    result = client.wait(running, timeout_s=15)
    assert result.info.state == "done" and result.info.attempt == 1
    assert engine.workers() == [worker]
    client.get(queued)
    assert events_until(client, lambda event: isinstance(event, JobChanged))[-1].info.attempt == 0   # it never began


def test_cancelling_a_running_job_ends_it_within_a_second_and_spares_the_worker_and_the_queue(engine, client):
    wait_ready(client)
    [worker] = engine.workers()
    running = client.submit("views", {}, script(steps=1000, step_s=0.02))
    _running(client, running)
    queued = client.submit("views", {}, script(steps=1))
    asked = time.monotonic()
    client.cancel(running)
    assert isinstance(_ended(client, running), Cancelled)
    assert time.monotonic() - asked < 1.0
    assert client.wait(queued, timeout_s=10).info.state == "done"
    assert engine.workers() == [worker]


def test_a_job_that_ignores_its_cancel_is_killed_within_two_seconds_and_the_next_one_runs(engine, client):
    wait_ready(client)
    [worker] = engine.workers()
    stubborn = client.submit("views", {}, script(steps=1000, step_s=0.05, ignore_cancel=True))
    _running(client, stubborn)
    queued = client.submit("views", {}, script(steps=1))
    asked = time.monotonic()
    client.cancel(stubborn)
    assert isinstance(_ended(client, stubborn), Cancelled)
    assert time.monotonic() - asked < 2.0
    assert not worker.is_running()
    done = client.wait(queued, timeout_s=10).info
    assert done.state == "done" and done.attempt == 1


def test_a_finished_job_stays_finished(client):
    job = client.submit("views", {}, script(steps=1))
    done = client.wait(job, timeout_s=15).info
    client.cancel(job)
    assert events_until(client, lambda event: isinstance(event, JobChanged))[-1].info == done


def test_cancelling_twice_does_not_start_the_grace_again(client):
    job = client.submit("views", {}, script(steps=1000, step_s=0.05, ignore_cancel=True))
    _running(client, job)
    asked = time.monotonic()
    for _ in range(8):
        client.cancel(job)
        time.sleep(0.15)
    assert isinstance(_ended(client, job), Cancelled)
    assert time.monotonic() - asked < 2.0


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.1, 0.2])
def test_a_cancel_at_any_moment_leads_to_exactly_one_end(client, wait_s):
    job = client.submit("views", {}, script(steps=1, step_s=0.02, result_bytes=2 * 1024 * 1024))
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.state == "running")
    time.sleep(wait_s)
    client.cancel(job)
    try:
        state = client.wait(job, timeout_s=15).info.state
    except Cancelled:
        state = "cancelled"
    client.get(job)
    assert events_until(client, lambda event: isinstance(event, JobChanged)
                        and event.info.state == state)[-1].info.state in ("done", "cancelled")
