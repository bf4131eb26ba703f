"""Jobs through a real engine: what comes back, what comes back only once, and what a second client sees."""
from __future__ import annotations

import contextlib
import json
import time

import pytest
from engines import events_until, script, wait_ready

from slipcast.bridge.client import new_job_id
from slipcast.bridge.errors import BadMasks, BadSettings, Conflict, InternalError, OutOfMemory, TooLarge, UnknownJob
from slipcast.bridge.events import EngineChanged, Failed, JobChanged, JobsListed, Previewed, Progressed
from slipcast.bridge.messages import TERMINAL_STATES


def test_a_job_gives_progress_previews_and_exactly_the_bytes_of_its_artefacts(client):
    events = []
    inputs = script(steps=12, step_s=0.05, preview_vertices=100, result_bytes=3 * 1024 * 1024) | {"a/b.jpg": b"x" * 999}
    result = client.wait(client.submit("views", {"quality": "draft"}, inputs), events.append, 20)
    assert result.data["payload"] == bytes(range(256)) * (3 * 4096)
    assert json.loads(bytes(result.data["inputs"])) == {"a/b.jpg": 999, "script.json": len(inputs["script.json"])}
    assert result.artefacts["vertices"].shape == (3, 3) and len(result.data["vertices"]) == 36
    assert result.info.settings["quality"] == "draft" and result.info.attempt == 1
    states = [event.info.state for event in events if isinstance(event, JobChanged)]
    assert states == ["queued", "running", "done"]
    progress = [event.progress for event in events if isinstance(event, Progressed)]
    assert {item.stage for item in progress} == {"first", "second"} and all(item.total == 12 for item in progress)
    assert [item.seq for item in progress] == sorted({item.seq for item in progress})
    previews = [event for event in events if isinstance(event, Previewed)]
    assert previews and all([len(frame) for frame in event.frames] == [1200, 12, 300] for event in previews)
    for event in previews:      # where it stood comes with the mesh, and belongs to it
        state = event.preview
        assert state.has_colors and set(event.frames[2]) == {state.iteration} and state.iterations == 12
        assert state.loss == 1 / (1 + state.iteration) and state.seconds_left == 0.5
    assert all(item.loss == 1 / (1 + item.done) and item.seconds_left is not None for item in progress)
    # 1.2 s of work, at most one preview every 0.5 s and one progress every 0.05 s, and one of each to begin with.
    assert len(previews) <= 4 and len(progress) <= 30


def test_neither_server_nor_idle_worker_loads_torch_or_numpy(client):
    result = client.wait(client.submit("views", {}, script()), timeout_s=20)
    assert result.info.summary["modules"] == []   # serve_fake.py asserts the same of the server when it ends


def test_the_same_job_twice_is_one_job_and_defaults_given_or_left_out_are_the_same(engine, client):
    job = new_job_id()
    first = client.wait(client.submit("views", {}, script(steps=1), job), timeout_s=20)
    with engine.client() as other:
        again = other.wait(other.submit("views", {"quality": "normal"}, script(steps=1), job), timeout_s=20)
        other.list_jobs()
        listed = events_until(other, lambda event: isinstance(event, JobsListed))[-1].jobs.jobs
    assert again.info == first.info and again.info.attempt == 1
    assert [info.job for info in listed] == [job]


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(engine, client):
    job = client.submit("views", {}, script(steps=1))
    done = client.wait(job, timeout_s=20)
    with engine.client() as other:
        for settings, inputs in (({"seed": 7}, script(steps=1)), ({}, script(steps=2))):
            with pytest.raises(Conflict):
                other.wait(other.submit("views", settings, inputs, job), timeout_s=10)
        other.subscribe(job)
        assert other.wait(job, timeout_s=10).info == done.info


def test_a_client_that_comes_later_gets_the_result(engine, client):
    job = client.submit("views", {}, script(steps=10, step_s=0.05))
    events_until(client, lambda event: isinstance(event, JobChanged))
    client.close()
    with engine.client() as other:
        other.subscribe(job)
        assert len(other.wait(job, timeout_s=15).data["payload"]) == 1024


def test_progress_resumes_for_a_client_that_comes_back_at_once_even_if_the_stage_stands_still(engine, client):
    job = client.submit("views", {}, script(steps=1, step_s=30, preview_vertices=5))
    events_until(client, lambda event: isinstance(event, Previewed))
    client.close()
    with engine.client() as other:
        other.subscribe(job)
        seen = events_until(other, lambda event: isinstance(event, Previewed), 5)
        assert any(isinstance(event, Progressed) for event in seen)
        other.cancel(job)
        events_until(other, lambda event: isinstance(event, Failed))


def test_jobs_run_in_the_order_in_which_they_came_and_two_devices_run_two(make_engine):
    with make_engine(devices=["a", "b"]).start().client() as client:
        events_until(client, lambda event: isinstance(event, EngineChanged)
                     and event.state.devices == ("fake a", "fake b"))
        jobs = [client.submit("views", {}, script(steps=4, step_s=0.05, number=number)) for number in range(4)]
        infos = {}
        while sum(info.state == "done" for info in infos.values()) < 4:
            event = events_until(client, lambda event: isinstance(event, JobChanged))[-1]
            infos[event.info.job] = event.info
        assert {info.summary["device"] for info in infos.values()} == {"a", "b"}
        assert max(infos[job].started_s for job in jobs[:2]) <= min(infos[job].started_s for job in jobs[2:])


@pytest.mark.parametrize(("misfortune", "error"),
                         [("masks", BadMasks), ("memory", OutOfMemory), ("bug", InternalError)])
def test_what_goes_wrong_in_a_pipeline_is_typed_and_the_next_job_runs(engine, client, misfortune, error):
    with pytest.raises(error) as caught:
        client.wait(client.submit("views", {}, script(misfortune=misfortune)), timeout_s=20)
    if error is InternalError:
        assert "second" in caught.value.message and str(engine.data / "engine.log") in caught.value.hint
        assert "nobody expected this" in (engine.data / "engine.log").read_text()   # the traceback
    else:
        assert caught.value.hint
    client.wait(client.submit("views", {}, script()), timeout_s=20)


def test_out_of_memory_recycles_the_worker(engine, client):
    wait_ready(client)
    [before] = engine.workers()
    with pytest.raises(OutOfMemory):
        client.wait(client.submit("views", {}, script(misfortune="memory")), timeout_s=20)
    client.wait(client.submit("views", {}, script()), timeout_s=20)
    [after] = engine.workers()
    assert before.pid != after.pid


@pytest.mark.parametrize("settings", [{"quality": "best"}, {"face_budget": 1}, {"nonsense": 1}, {"seed": True}])
def test_settings_are_checked_before_a_job_is_accepted(client, settings):
    with pytest.raises(BadSettings):
        client.wait(client.submit("views", settings, script()), timeout_s=10)


def test_an_unknown_method_and_an_unknown_job_are_named_as_such(client):
    with pytest.raises(BadSettings):
        client.wait(client.submit("sculpt", {}, script()), timeout_s=10)
    job = new_job_id()
    client.subscribe(job)
    with pytest.raises(UnknownJob):
        client.wait(job, timeout_s=10)


def test_a_forgotten_job_is_gone_and_its_files_with_it_but_not_those_that_another_needs(engine, client):
    shared = {"shared.jpg": b"s" * 5000}
    one = client.wait(client.submit("views", {}, script(steps=1) | shared), timeout_s=20).info.job
    two = client.wait(client.submit("views", {}, script(steps=2) | shared | {"own.jpg": b"o" * 7000}), timeout_s=20)
    client.forget(two.info.job)
    listed = events_until(client, lambda event: isinstance(event, JobsListed))[-1].jobs.jobs
    assert [info.job for info in listed] == [one]

    def kept() -> list[int]:
        sizes = []
        for path in (engine.data / "blobs").rglob("*"):
            with contextlib.suppress(FileNotFoundError):    # deleted between being listed and being looked at
                sizes.append(path.stat().st_size)
        return sizes

    deadline = time.monotonic() + 10    # the job is gone when the answer comes; its files go on the thread of the blobs
    while 7000 in kept() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 7000 not in kept() and kept().count(5000) == 1
    client.subscribe(one)
    assert client.wait(one, timeout_s=10).info.state == "done"


def test_a_running_job_cannot_be_forgotten(client):
    job = client.submit("views", {}, script(steps=20, step_s=0.05))
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.state == "running")
    client.forget(job)
    refused = events_until(client, lambda event: isinstance(getattr(event, "error", None), Conflict))[-1]
    assert refused.error.code == "conflict"
    assert client.wait(job, timeout_s=15).info.state == "done"


def test_more_jobs_than_may_wait_are_turned_down(make_engine):
    with make_engine(limits={"queued_jobs": 2}).start().client() as client:
        jobs = [client.submit("views", {}, script(steps=1, step_s=20, number=number)) for number in range(3)]
        failed = events_until(client, lambda event: isinstance(event, Failed))[-1]
        assert failed.job in jobs and isinstance(failed.error, TooLarge)
        for job in set(jobs) - {failed.job}:
            client.cancel(job)
        ended = 0
        while ended < 2:
            event = events_until(client, lambda event: isinstance(event, JobChanged))[-1]
            ended += event.info.state in TERMINAL_STATES
