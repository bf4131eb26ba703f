"""The two promises that need time to be believed: cancel is quick under load, and what was accepted is not lost."""
from __future__ import annotations

import random
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines import Peer, events_until, greet, script, until, wait_ready

from slipcast.bridge.client import new_job_id
from slipcast.bridge.codec import CTL_FROM_ENGINE
from slipcast.bridge.events import Failed, JobsListed
from slipcast.bridge.messages import TERMINAL_STATES, Cancel, Get, JobInfo


def _queue_jobs(client, count):
    """A job that holds the worker, and `count` that wait behind it: cancelling one of these is committed to disk."""
    holder = client.submit("views", {}, script(steps=1, step_s=300))
    waiting = [client.submit("views", {}, script(number=number)) for number in range(count)]
    listed = 0
    while listed < count + 1:
        client.list_jobs(1000)
        listed = len(events_until(client, lambda event: isinstance(event, JobsListed))[-1].jobs.jobs)
    return holder, waiting


def test_a_cancel_during_a_50_mb_upload_has_a_median_below_10_ms(engine):
    """Queued jobs are cancelled one by one while 50 MB go up as fast as they can.

    The best of three rounds counts: other work on the machine can only add to what the engine needs.
    """
    with engine.client() as client:
        wait_ready(client)
        holder, waiting = _queue_jobs(client, 180)
    connection, medians_s = engine.connection(), []
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        for first in (0, 60, 120):
            with _uploading(engine) as upload:
                times_s = _cancel_all(peer, waiting[first:first + 60], upload)
                assert upload.wait(60) == 0
            assert len(times_s) >= 20, "the upload was over too soon for this test to say anything"
            medians_s.append(statistics.median(times_s))
        peer.ask(Cancel(holder), "holder", CTL_FROM_ENGINE)
    print("cancel, medians:", ", ".join(f"{1000 * median:.2f} ms" for median in medians_s))
    assert min(medians_s) < 0.010


def _cancel_all(peer, jobs, upload):
    """Seconds of each round trip, for as long as the upload runs."""
    times_s = []
    for job in jobs:
        began = time.perf_counter()
        answer = peer.ask(Cancel(job), f"cancel-{job}", CTL_FROM_ENGINE)
        times_s.append(time.perf_counter() - began)
        assert isinstance(answer, JobInfo) and answer.state == "cancelled"
        time.sleep(0.002)
        if upload.poll() is not None:
            break
    return times_s


_UPLOAD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from engines import events_until, script
from slipcast.bridge.client import Client
from slipcast.bridge.events import Uploading
with Client.from_file(Path(sys.argv[1]), "uploader") as client:
    client.connect()
    for number in range(2):
        client.submit("views", {}, script() | {"big.exr": os.urandom(50 * 1024**2)})
        events_until(client, lambda event: isinstance(event, Uploading) and event.done_bytes > 0, 30)
        print("moving", flush=True)
        events_until(client, lambda event: isinstance(event, Uploading) and event.done_bytes == event.total_bytes, 60)
"""


@contextmanager
def _uploading(engine):
    """A process of its own, as Blender is: what it computes must not count as the engine's delay."""
    command = [sys.executable, "-c", _UPLOAD, str(engine.connection_file), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"moving\n"
        yield process


@pytest.mark.slow
def test_no_accepted_job_is_lost_and_none_is_done_without_its_result_over_eight_kills(make_engine):
    """Kill -9 at random moments while three clients submit; every id that was answered must end as done."""
    engine, chance = make_engine(limits={"queued_jobs": 100_000}).start(), random.Random(4)
    accepted: set[str] = set()
    stop, failures = threading.Event(), []
    threads = [threading.Thread(target=_submit_for_ever, args=(engine, accepted, failures, stop, index))
               for index in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        time.sleep(chance.uniform(0.6, 2.0))
        engine.kill()
        engine.start()
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not failures and len(accepted) > 50
    print(f"{len(accepted)} jobs accepted")
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer, engine.client() as client:
        greet(peer)
        for job in sorted(accepted):
            until(lambda job=job: _state(peer, job) in TERMINAL_STATES, "a job does not end", timeout_s=120)
        assert {_state(peer, job) for job in accepted} == {"done"}
        for job in chance.sample(sorted(accepted), 20):
            client.subscribe(job)
            assert len(client.wait(job, timeout_s=20).data["payload"]) == 1024


def _state(peer, job):
    return peer.ask(Get(job), new_job_id(), CTL_FROM_ENGINE, timeout_s=10).state


def _submit_for_ever(engine, accepted, failures, stop, index):
    number = 0
    with engine.client(f"submitter {index}") as client:
        while not stop.is_set() and not failures:
            number += 1
            job = client.submit("views", {}, script(steps=1, number=number, index=index))
            events = events_until(client, lambda event, job=job: getattr(getattr(event, "info", None), "job", "") == job
                                  or isinstance(event, Failed), 40)
            if isinstance(events[-1], Failed):
                failures.append(events[-1])
            accepted.add(job)
