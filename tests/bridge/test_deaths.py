"""Processes die: workers, servers, parents. What was accepted is finished all the same, or ends with a reason."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from engines import events_until, is_running, script, until, wait_ready

from slipcast.bridge.client import new_job_id
from slipcast.bridge.errors import Cancelled, StageStuck, WorkerDied
from slipcast.bridge.events import Connected, EngineChanged, Failed, Finished, JobChanged, Progressed


def _run_until_progress(client, **what):
    job = client.submit("views", {}, script(**what))
    events_until(client, lambda event: isinstance(event, Progressed) and event.progress.job == job)
    return job


def test_a_killed_worker_is_seen_at_once_and_its_job_runs_again_on_a_new_one(engine, client):
    wait_ready(client)
    [worker] = engine.workers()
    job = _run_until_progress(client, steps=12, step_s=0.05)
    killed = time.monotonic()
    worker.kill()
    requeued = events_until(client, lambda event: isinstance(event, JobChanged) and event.info.state == "queued")[-1]
    assert time.monotonic() - killed < 0.5 and requeued.info.attempt == 1
    result = client.wait(job, timeout_s=15)
    assert result.info.attempt == 2 and len(result.data["payload"]) == 1024


def test_the_third_death_fails_the_job_with_its_stage_and_the_last_words_and_the_next_job_runs(client):
    job = client.submit("views", {}, script(misfortune="die", steps=1, step_s=0.1))
    with pytest.raises(WorkerDied) as caught:
        client.wait(job, timeout_s=20)
    assert "3 times" in caught.value.message and "'second'" in caught.value.message
    assert "exit code 7" in caught.value.message and "the fake pipeline met its end" in caught.value.message
    client.get(job)
    assert events_until(client, lambda event: isinstance(event, JobChanged))[-1].info.attempt == 3
    assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.attempt == 1


def test_two_deaths_are_survived(client):
    assert client.wait(client.submit("views", {}, script(misfortune="die", until=2)), timeout_s=20).info.attempt == 3


def test_a_stage_without_progress_is_ended_by_the_watchdog(make_engine):
    with make_engine(stage_timeout_s=0.6).start().client() as client:
        wait_ready(client)
        asked = time.monotonic()
        with pytest.raises(StageStuck, match="second"):
            client.wait(client.submit("views", {}, script(misfortune="hang")), timeout_s=15)
        assert time.monotonic() - asked < 3.0
        assert client.wait(client.submit("views", {}, script(steps=20, step_s=0.05)), timeout_s=15).info.attempt == 1


@pytest.mark.skipif(os.name == "nt", reason="needs SIGSTOP")
def test_an_idle_worker_that_falls_silent_is_replaced(make_engine):
    engine = make_engine(worker_silence_s=1.0, worker_heartbeat_s=0.2).start()
    with engine.client() as client:
        wait_ready(client)
        [worker] = engine.workers()
        worker.suspend()
        until(lambda: not is_running(worker), "the stopped worker was not replaced")
        assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.state == "done"


def test_a_job_of_a_killed_server_runs_again_after_its_restart_and_the_client_gets_the_result(engine, client):
    first = client.welcome
    job = _run_until_progress(client, steps=12, step_s=0.05)
    queued = client.submit("views", {}, script(steps=1))
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.job == queued)
    workers = engine.workers()
    engine.kill()
    until(lambda: not any(is_running(worker) for worker in workers), "workers outlived their server", timeout_s=3)
    engine.start()
    events, results = [], {}
    while len(results) < 2:
        events += events_until(client, lambda event: isinstance(event, Finished | Failed), 30)
        assert isinstance(events[-1], Finished), events[-1]
        results[events[-1].result.info.job] = events[-1].result
    [again] = [event for event in events if isinstance(event, Connected)]
    assert again.new_epoch and again.welcome.epoch != first.epoch
    assert results[job].info.attempt == 2 and results[queued].info.attempt == 1
    attempts = [event.progress.attempt for event in events if isinstance(event, Progressed)
                and event.progress.job == job]
    assert 2 in attempts, "progress did not resume after the reconnect"


def test_a_cancel_survives_the_death_of_the_server(engine, client):
    job = _run_until_progress(client, steps=1000, step_s=0.05, ignore_cancel=True)
    client.cancel(job)
    events_until(client, lambda event: isinstance(event, JobChanged) and event.info.state == "cancelling")
    engine.kill()
    engine.start()
    assert isinstance(events_until(client, lambda event: isinstance(event, Failed), 20)[-1].error, Cancelled)


def test_the_same_submit_after_the_death_of_the_server_is_the_same_job(engine, client):
    job = new_job_id()
    done = client.wait(client.submit("views", {}, script(), job), timeout_s=15)
    engine.kill()
    engine.start()
    with engine.client() as other:
        assert other.wait(other.submit("views", {}, script(), job), timeout_s=15).info == done.info


def test_an_engine_whose_worker_cannot_start_says_so_and_does_not_let_jobs_wait_for_ever(make_engine):
    with make_engine(devices=["dies"], respawn_pause_s=0.05).start().client() as client:
        failed = events_until(client, lambda event: isinstance(event, EngineChanged) and event.state.state == "failed")
        assert "cannot load libfake.so" in failed[-1].state.detail
        with pytest.raises(WorkerDied, match=r"libfake\.so"):
            client.wait(client.submit("views", {}, script()), timeout_s=15)


def test_a_device_that_does_not_work_is_reported_in_its_own_words_without_three_tries(make_engine):
    engine = make_engine(devices=["broken"]).start()
    with engine.client() as client:
        failed = events_until(client, lambda event: isinstance(event, EngineChanged) and event.state.state == "failed")
        assert "This device is broken. Choose another one." in failed[-1].state.detail
    assert engine.log().count("is process") == 1


def test_a_command_that_does_not_exist_is_reported(make_engine):
    with make_engine(command=["/nowhere/python"], respawn_pause_s=0.05).start().client() as client:
        failed = events_until(client, lambda event: isinstance(event, EngineChanged) and event.state.state == "failed")
        assert "/nowhere/python" in failed[-1].state.detail


def test_one_bad_device_does_not_stop_the_other(make_engine):
    with make_engine(devices=["broken", "good"]).start().client() as client:
        job = client.submit("views", {}, script())
        assert client.wait(job, timeout_s=15).info.summary["device"] == "good"


def test_closing_standard_input_ends_server_and_workers(make_engine):
    engine = make_engine(stop_with_stdin=True).start()
    with engine.client() as client:
        _run_until_progress(client, steps=1000, step_s=0.05, ignore_cancel=True)
        workers = engine.workers()
        engine.process.stdin.close()
        assert engine.process.wait(10) == 0, engine.log()
    assert workers and not any(is_running(worker) for worker in workers)
    assert not engine.connection_file.exists()


def test_closing_standard_input_ends_nothing_unless_asked(make_engine):
    engine = make_engine(stop_with_stdin=False).start()
    with engine.client() as client:
        engine.process.stdin.close()
        assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.state == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_engine_cleanly_in_the_middle_of_a_job(engine, number):
    with engine.client() as client:
        _run_until_progress(client, steps=1000, step_s=0.05)
        workers = engine.workers()
        engine.process.send_signal(number)
        assert engine.process.wait(10) == 0, engine.log()
    assert not any(is_running(worker) for worker in workers)
    assert not engine.connection_file.exists() and "Traceback" not in engine.log()


def test_shutdown_by_a_client_ends_the_engine_and_its_job_starts_again_with_the_next(engine):
    with engine.client() as client:
        job = _run_until_progress(client, steps=12, step_s=0.05)
        client.shutdown()
        assert engine.process.wait(10) == 0, engine.log()
    with engine.start().client() as client:
        client.subscribe(job)
        assert client.wait(job, timeout_s=15).info.attempt == 2


def test_a_second_engine_on_the_same_data_is_refused_and_the_first_one_goes_on(engine, client, tmp_path):
    serve = Path(__file__).parent / "serve_fake.py"
    second = subprocess.run([sys.executable, str(serve), str(engine.data), str(tmp_path / "other.json"), "{}"],
                            capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1 and not (tmp_path / "other.json").exists()
    assert "engine_failed: Another engine" in second.stderr and str(engine.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.state == "done"


def test_the_lock_of_a_killed_engine_does_not_stand_in_the_way(engine):
    engine.kill()
    assert (engine.data / "lock").exists()
    with engine.start().client() as client:
        assert client.wait(client.submit("views", {}, script()), timeout_s=15).info.state == "done"


def test_a_data_folder_that_is_a_file_is_refused_in_words(make_engine):
    engine = make_engine()
    engine.data.write_text("not a folder")
    engine.launch()
    assert engine.process.wait(15) == 1
    assert "engine_failed: The data folder" in engine.log() and "Traceback" not in engine.log()


def test_a_job_list_that_is_no_database_is_refused_in_words(make_engine):
    engine = make_engine()
    engine.data.mkdir()
    (engine.data / "jobs.sqlite").write_bytes(b"no database at all " * 100)
    engine.launch()
    assert engine.process.wait(15) == 1
    assert "Move that file away" in engine.log() and "Traceback" not in engine.log()


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_what_a_worker_has_started_dies_with_it(engine, client):
    wait_ready(client)
    [worker] = engine.workers()
    job = client.submit("views", {}, script(steps=1000, step_s=0.05, ignore_cancel=True, child=True))
    until(lambda: len(engine.workers()) == 2, "the fake pipeline's child did not start")
    [child] = [process for process in engine.workers() if process != worker]
    client.cancel(job)
    events_until(client, lambda event: isinstance(event, Failed))
    psutil.wait_procs([child], timeout=3)
    assert not is_running(child)
