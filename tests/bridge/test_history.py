"""The history over the bridge: what a list tells, its pages, single artefacts, running again, and old tables."""
from __future__ import annotations

import hashlib
import json
import sqlite3

import pytest
from engines import Peer, events_until, greet, script

from slipcast.bridge.client import new_job_id
from slipcast.bridge.codec import CTL_FROM_ENGINE
from slipcast.bridge.errors import BadSettings, UnknownBlob, UnknownJob
from slipcast.bridge.events import Failed, Fetched, Finished, JobsListed, TurnedDown
from slipcast.bridge.messages import InputRef, JobInfo, JobList, ListJobs, Rerun, Submit
from slipcast.engine.server.jobs import JobTable


def run(client, settings=None, label=None, **what):
    return client.wait(client.submit("views", settings or {}, script(**what), label=label), timeout_s=15).info


def listed(client, *page):
    client.list_jobs(*page)
    return events_until(client, lambda event: isinstance(event, JobsListed))[-1].jobs


def test_a_list_tells_label_seed_licence_and_bytes(client):
    done = run(client, {"seed": 5}, "a chair", licence="MIT")
    [info] = listed(client).jobs
    assert info == done and (info.label, info.seed, info.licence) == ("a chair", 5, "MIT")
    sizes = sum(item.size for item in info.artefacts) + len(script(licence="MIT")["script.json"])
    assert info.bytes == sizes and info.settings["quality"] == "normal" and info.ended_s >= info.created_s


def test_pages_hold_every_job_once_newest_first_and_say_when_there_are_more(client):
    jobs = [run(client, {"seed": seed}, steps=1).job for seed in range(5)]
    first = listed(client, 2)
    second = listed(client, 2, first.jobs[-1].job)
    third = listed(client, 2, second.jobs[-1].job)
    assert [info.job for page in (first, second, third) for info in page.jobs] == jobs[::-1]
    assert [page.more for page in (first, second, third)] == [True, True, False]
    assert second.before == first.jobs[-1].job
    client.list_jobs(2, "00" * 16)
    assert isinstance(events_until(client, lambda event: isinstance(event, TurnedDown))[-1].error, UnknownJob)


def test_one_artefact_is_fetched_by_its_name_and_the_job_does_not_end_twice(engine):
    with engine.client() as client:
        job = run(client, result_bytes=2 * 1024 * 1024).job
    with engine.client() as client:
        client.fetch(job, ("inputs", "thumbnail"))     # the fake pipeline makes no thumbnail
        events = events_until(client, lambda event: isinstance(event, Fetched))
        result = events[-1].result
        assert set(result.data) == set(result.artefacts) == {"inputs"} and json.loads(bytes(result.data["inputs"]))
        client.fetch(job, ("thumbnail",))
        events += events_until(client, lambda event: isinstance(event, Fetched))
        assert dict(events[-1].result.data) == {} and events[-1].result.info.job == job
        assert not [event for event in events if isinstance(event, (Finished, Failed))]
        client.fetch("00" * 16, ("thumbnail",))
        assert isinstance(events_until(client, lambda event: isinstance(event, TurnedDown))[-1].error, UnknownJob)


def test_running_again_uploads_nothing_and_changes_only_what_was_asked(engine, client):
    first = run(client, {"seed": 3, "quality": "draft"}, "a chair", steps=1)
    stored = sorted(path.name for path in (engine.data / "blobs").rglob("*") if path.is_file())
    with engine.client() as other:      # one that never saw the files
        again = other.wait(other.rerun(first.job, {"seed": 4}), timeout_s=15)
    assert again.info.job != first.job and again.info.label == "a chair"
    assert again.info.settings == {**first.settings, "seed": 4} and again.info.seed == 4
    assert sorted(path.name for path in (engine.data / "blobs").rglob("*") if path.is_file()) == stored
    client.forget(first.job)
    events_until(client, lambda event: isinstance(event, JobsListed))
    assert client.wait(client.rerun(again.info.job, {}), timeout_s=15).info.settings == again.info.settings


def test_running_again_with_a_bad_setting_or_of_no_job_fails_as_such(client):
    first = run(client, steps=1)
    with pytest.raises(BadSettings):
        client.wait(client.rerun(first.job, {"quality": "best"}), timeout_s=10)
    with pytest.raises(UnknownJob):
        client.wait(client.rerun("00" * 16, {}), timeout_s=10)
    assert [info.job for info in listed(client).jobs] == [first.job]


def test_rerun_sent_twice_is_one_job_and_a_lost_input_is_said_so(engine, client):
    first, new = run(client, steps=1), new_job_id()
    connection = engine.connection()
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        for request in ("a", "b"):
            assert peer.ask(Rerun(new, first.job, {"seed": 9}), request, CTL_FROM_ENGINE).job == new
        assert len(peer.ask(ListJobs(), "c", CTL_FROM_ENGINE).jobs) == 2
    client.fetch(new)
    client.wait(new, timeout_s=15)
    engine.kill()
    data = script(steps=1)["script.json"]
    name = hashlib.sha256(data).hexdigest()
    (engine.data / "blobs" / name[:2] / name).unlink()
    engine.start()
    with engine.client() as later, pytest.raises(UnknownBlob, match="not stored any more"):
        later.wait(later.rerun(first.job, {"seed": 10}), timeout_s=10)


def test_the_label_is_not_part_of_the_content(tmp_path):
    table = JobTable(tmp_path / "jobs.sqlite")
    request = Submit("ab" * 16, "views", {"seed": 0}, (InputRef("a", "cd" * 32, 5),), "chair")
    assert table.add(request).label == "chair"
    assert table.add(Submit(request.job, "views", {"seed": 0}, request.inputs, "stool")).label == "chair"


def test_a_table_of_version_1_is_read_and_goes_on(tmp_path):
    path = tmp_path / "jobs.sqlite"
    table = JobTable(path)
    table.add(Submit("ab" * 16, "views", {"seed": 7}, (InputRef("a", "cd" * 32, 5),)))
    table.close()
    old = sqlite3.connect(path)     # version 1 had this table without its last column
    old.executescript("ALTER TABLE jobs DROP COLUMN label; PRAGMA user_version=1;")
    old.close()
    table = JobTable(path)
    [info] = table.newest(10)
    assert (info.label, info.seed, info.licence, info.bytes) == (None, 7, "", 5)
    table.add(Submit("ef" * 16, "views", {}, (), "new"))
    assert [each.label for each in table.newest(10)] == ["new", None]
    table.close()
    assert len(JobTable(path).newest(10)) == 2


def test_a_page_that_does_not_fit_into_a_header_says_that_there_is_more(make_engine):
    engine = make_engine(limits={"header_bytes": 16 * 1024}).start()
    with engine.client() as client:
        for seed in range(4):
            run(client, {"seed": seed}, "x" * 1000, steps=1, note="y" * 10)
        jobs, before = [], None
        while True:
            page = listed(client, 100, before)
            jobs += [info.seed for info in page.jobs]
            assert page.jobs
            if not page.more:
                break
            before = page.jobs[-1].job
    assert jobs == [3, 2, 1, 0] and isinstance(page, JobList) and isinstance(page.jobs[0], JobInfo)
