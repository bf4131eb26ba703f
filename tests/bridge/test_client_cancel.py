"""One client, one thread of its own: a cancel does not wait for the upload that the same client is busy with."""
from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from engines import Engine, events_until, script, wait_ready

from slipcast.bridge.client import Client
from slipcast.bridge.events import JobChanged, Uploading

ROUNDS, LEAST_CANCELS = 3, 15


def cancel_during_upload(client: Client, job: str, path: Path, number: int) -> list[float]:
    """Milliseconds from cancel() to its answer, while the upload of `path` runs. job: ended, so it stays as it is."""
    upload = client.submit("views", {}, {**script(number=number), "big": path})
    events_until(client, lambda event: isinstance(event, Uploading) and event.job == upload)
    times_ms, uploading = [], True
    while uploading:
        began = time.perf_counter()
        client.cancel(job)
        answered = False
        while not answered:
            event = client.next_event(5.0)
            if isinstance(event, JobChanged):
                answered = event.info.job == job
                uploading = uploading and event.info.job != upload      # accepted: the upload is over
            elif isinstance(event, Uploading):
                uploading = event.done_bytes < event.total_bytes
        times_ms.append((time.perf_counter() - began) * 1000)
        time.sleep(0.001)
    client.wait(upload, timeout_s=60.0)
    return times_ms


def test_a_cancel_during_the_same_clients_50_mb_upload_has_a_median_below_10_ms(engine: Engine, tmp_path: Path):
    """The best of three rounds counts: what else runs on the machine can only add to the bridge's own time."""
    path, medians_ms = tmp_path / "big", []
    with engine.client() as client:
        wait_ready(client)
        ended = client.submit("views", {}, script())
        client.wait(ended, timeout_s=30.0)
        for number in range(ROUNDS):
            path.write_bytes(os.urandom(50_000_000))
            times_ms = cancel_during_upload(client, ended, path, number)
            assert len(times_ms) >= LEAST_CANCELS, "the upload was over too soon for this test to say anything"
            medians_ms.append(statistics.median(times_ms))
    print("cancel round trip, medians:", ", ".join(f"{median:.2f} ms" for median in medians_ms))
    assert min(medians_ms) < 10.0
