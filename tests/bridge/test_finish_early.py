"""Good enough: a running job ends early and well, and nothing else is touched."""
from __future__ import annotations

import time

import pytest
from engines import events_until, script, wait_ready

from slipcast.bridge.errors import UnknownJob
from slipcast.bridge.events import Failed, JobChanged, Progressed


def _running(client, job):
    events_until(client, lambda event: isinstance(event, Progressed) and event.progress.job == job)


def test_a_running_job_ends_early_and_done_and_says_so(client):
    wait_ready(client)
    job = client.submit("views", {}, script(steps=1000, step_s=0.02))
    _running(client, job)
    asked = time.monotonic()
    client.finish_early(job)
    result = client.wait(job, timeout_s=10)
    assert time.monotonic() - asked < 2.0       # 40 s without
    assert result.info.state == "done" and result.info.summary["finished_early"] is True
    assert len(result.data["vertices"]) == 36   # its result came, whole


def test_another_job_that_runs_or_waits_is_not_shortened(client):
    wait_ready(client)
    running = client.submit("views", {}, script(steps=10, step_s=0.05))
    _running(client, running)
    waiting = client.submit("views", {}, script(steps=2))
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.job == waiting)
    client.finish_early(waiting)
    said = events_until(client, lambda event: isinstance(event, JobChanged) and event.info.job == waiting)[-1].info
    assert said.state == "queued"
    assert "finished_early" not in client.wait(running, timeout_s=15).info.summary
    assert "finished_early" not in client.wait(waiting, timeout_s=15).info.summary


def test_a_job_that_has_ended_stays_as_it_is_and_asking_twice_is_like_once(client):
    job = client.submit("views", {}, script(steps=1))
    done = client.wait(job, timeout_s=15).info
    for _ in range(2):
        client.finish_early(job)
        assert events_until(client, lambda event: isinstance(event, JobChanged))[-1].info == done


@pytest.mark.parametrize("job", ["0" * 32])
def test_a_job_that_is_not_there_is_unknown(client, job):
    wait_ready(client)
    client.finish_early(job)
    failed = events_until(client, lambda event: isinstance(event, Failed) and event.job == job)[-1]
    assert isinstance(failed.error, UnknownJob)
