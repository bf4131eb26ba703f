"""The engine's disk: quota, space, damaged uploads, what is deleted when, and the table of jobs by itself."""
from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import time

import psutil
import pytest
from engines import Peer, events_until, greet, script, until

from slipcast.bridge.codec import BLOB_FROM_ENGINE, CTL_FROM_ENGINE
from slipcast.bridge.errors import Conflict, NoSpace, QuotaReached, UnknownJob
from slipcast.bridge.events import Failed, JobsListed, Progressed
from slipcast.bridge.messages import (
    Artefact,
    Chunk,
    Credit,
    Error,
    ErrorInfo,
    Fetch,
    FetchReady,
    InputRef,
    JobInfo,
    NeedBlobs,
    Put,
    PutReady,
    Stored,
    Submit,
)
from slipcast.engine.server.blobs import BlobStore
from slipcast.engine.server.jobs import JobTable

MIB = 1024**2


def _files(engine):
    return sorted(path.name for folder in ("blobs", "incoming", "spool")
                  for path in (engine.data / folder).rglob("*") if path.is_file())


def _hash(data):
    return hashlib.sha256(data).hexdigest()


def test_a_job_above_the_quota_is_refused_before_its_upload_and_forgetting_makes_room(make_engine):
    engine = make_engine(quota_bytes=400_000).start()
    with engine.client() as client:
        first = client.wait(client.submit("views", {}, script() | {"a.jpg": os.urandom(250_000)}), timeout_s=15)
        stored = _files(engine)
        other = os.urandom(250_000)
        with pytest.raises(QuotaReached, match="quota"):
            client.wait(client.submit("views", {}, script() | {"b.jpg": other}), timeout_s=15)
        assert _files(engine) == stored
        client.forget(first.info.job)
        events_until(client, lambda event: isinstance(event, JobsListed))
        assert client.wait(client.submit("views", {}, script() | {"b.jpg": other}), timeout_s=15)


def test_a_full_disk_is_refused_as_such_and_the_engine_goes_on(make_engine):
    engine = make_engine(min_free_bytes=2**60).start()
    with engine.client() as client:
        for _ in range(2):
            with pytest.raises(NoSpace):
                client.wait(client.submit("views", {}, script()), timeout_s=15)
    assert _files(engine) == []


@pytest.mark.parametrize("fault", ["bit", "order", "too long", "gap"])
def test_a_damaged_upload_is_a_bad_frame_leaves_nothing_and_may_be_repeated(engine, fault):
    data = os.urandom(3000)
    sent = {"bit": [(0, bytes([data[0] ^ 1]) + data[1:])], "order": [(1000, data[1000:2000])],
            "too long": [(0, data + b"x")], "gap": [(0, data[:1000]), (2000, data[2000:])]}[fault]
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        assert isinstance(peer.ask(Put(_hash(data), 3000), "a", BLOB_FROM_ENGINE), PutReady)
        for offset, chunk in sent:
            peer.send(Chunk(_hash(data), offset), id="a", frames=[chunk])
        answers = [peer.receive(BLOB_FROM_ENGINE) for _ in sent]
        assert isinstance(answers[-1].message, Error) and answers[-1].message.code == "bad_frame"
        assert answers[-1].re == "a" and _files(engine) == []
        assert isinstance(peer.ask(Put(_hash(data), 3000), "b", BLOB_FROM_ENGINE), PutReady)
        peer.send(Chunk(_hash(data), 0), id="b", frames=[data])
        assert peer.receive(BLOB_FROM_ENGINE).message == Stored(_hash(data))
        assert peer.ask(Put(_hash(data), 3000), "c", BLOB_FROM_ENGINE) == Stored(_hash(data))
    assert _files(engine) == [_hash(data)]


def test_an_empty_file_is_a_blob_too_but_only_under_its_own_hash(engine):
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        assert peer.ask(Put(_hash(b""), 0), "a", BLOB_FROM_ENGINE) == Stored(_hash(b""))
        assert peer.ask(Fetch(_hash(b""), 4), "b", BLOB_FROM_ENGINE) == FetchReady(_hash(b""), 0)
        assert peer.ask(Put("11" * 32, 0), "c", BLOB_FROM_ENGINE).code == "bad_frame"


def test_two_uploads_of_the_same_blob_at_once_both_end_well(engine):
    data = os.urandom(2 * MIB)
    connection = engine.connection()
    with Peer(connection, connection.blob) as one, Peer(connection, connection.blob) as two:
        for peer in (one, two):
            assert isinstance(peer.ask(Put(_hash(data), len(data)), "a", BLOB_FROM_ENGINE), PutReady)
        for offset in (0, MIB):
            for peer in (one, two):
                peer.send(Chunk(_hash(data), offset), id="a", frames=[data[offset:offset + MIB]])
        for peer in (one, two):
            assert peer.receive(BLOB_FROM_ENGINE).message == Credit(_hash(data), 1)
            assert peer.receive(BLOB_FROM_ENGINE).message == Stored(_hash(data))
    assert _files(engine) == [_hash(data)]


def test_an_upload_that_stands_still_is_dropped_and_said_so_and_gives_its_room_back(make_engine):
    engine = make_engine(transfer_idle_s=0.3, quota_bytes=MIB).start()
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        assert isinstance(peer.ask(Put(_hash(b"x"), MIB), "a", BLOB_FROM_ENGINE), PutReady)
        assert peer.ask(Put(_hash(b"y"), MIB), "b", BLOB_FROM_ENGINE).code == "quota"   # reserved by the first
        answer = peer.receive(BLOB_FROM_ENGINE)
        assert answer.re == "a" and answer.message.code == "timed_out" and _files(engine) == []
        assert isinstance(peer.ask(Put(_hash(b"y"), MIB), "c", BLOB_FROM_ENGINE), PutReady)


def test_what_an_unfinished_upload_and_an_unwanted_blob_left_is_gone_after_a_restart_but_not_what_a_job_needs(engine):
    with engine.client() as client:
        job = client.wait(client.submit("views", {}, script()), timeout_s=15).info.job
    needed = _files(engine)
    connection = engine.connection()
    with Peer(connection, connection.blob) as peer:
        assert isinstance(peer.ask(Put(_hash(b"abc"), 3), "a", BLOB_FROM_ENGINE), PutReady)
        peer.send(Chunk(_hash(b"abc"), 0), id="a", frames=[b"abc"])
        assert peer.receive(BLOB_FROM_ENGINE).message == Stored(_hash(b"abc"))
        assert isinstance(peer.ask(Put(_hash(b"abcd"), 4), "b", BLOB_FROM_ENGINE), PutReady)
    assert len(_files(engine)) == len(needed) + 2
    engine.kill()
    engine.start()
    until(lambda: _files(engine) == needed, "what nobody needs was not deleted")
    with engine.client() as client:
        client.subscribe(job)
        assert client.wait(job, timeout_s=10)


def test_need_blobs_names_what_is_missing_and_nothing_is_accepted_by_it(engine):
    connection = engine.connection()
    data = script()["script.json"]
    with Peer(connection, connection.ctl) as ctl, Peer(connection, connection.blob) as blob:
        greet(ctl)
        submit = Submit("ab" * 16, "views", {}, (InputRef("script.json", _hash(data), len(data)),))
        assert ctl.ask(submit, "a", CTL_FROM_ENGINE) == NeedBlobs("ab" * 16, (_hash(data),))
        assert ctl.ask(submit, "b", CTL_FROM_ENGINE) == NeedBlobs("ab" * 16, (_hash(data),))
        assert isinstance(blob.ask(Put(_hash(data), len(data)), "a", BLOB_FROM_ENGINE), PutReady)
        blob.send(Chunk(_hash(data), 0), id="a", frames=[data])
        assert blob.receive(BLOB_FROM_ENGINE).message == Stored(_hash(data))
        assert isinstance(ctl.ask(submit, "c", CTL_FROM_ENGINE), JobInfo)


def test_a_fetch_that_is_not_read_costs_the_engine_no_memory(make_engine):
    engine = make_engine(heartbeat_timeout_ms=60_000).start()   # or libzmq would cut the sleeper off
    data = os.urandom(24 * MIB)
    with engine.client() as client:
        client.wait(client.submit("views", {}, script() | {"big.exr": data}), timeout_s=30)
    connection, server = engine.connection(), psutil.Process(engine.process.pid)
    with Peer(connection, connection.blob, receive_queue=1) as peer:
        before = server.memory_info().rss
        for index in range(8):
            peer.send(Fetch(_hash(data), 10_000), id=f"f{index}")
        peak = 0
        for _ in range(20):
            peer.send(Credit(_hash(data), 1000), id="f0")
            time.sleep(0.05)
            peak = max(peak, server.memory_info().rss - before)
    # 192 MiB were asked for. Held at most: 8 chunks in libzmq's queue, 4 in ours, some in its buffers: 20 MiB at most.
    assert peak < 40 * MIB


def test_a_job_list_that_cannot_be_written_for_a_while_loses_no_end_of_a_job(engine):
    with engine.client() as client:
        job = client.submit("views", {}, script(steps=10, step_s=0.05))
        events_until(client, lambda event: isinstance(event, Progressed))
        stranger = sqlite3.connect(engine.data / "jobs.sqlite", isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        refused = client.submit("views", {}, script(steps=1))
        failed = events_until(client, lambda event: isinstance(event, Failed))[-1]
        assert failed.job == refused and failed.error.code == "internal" and "job list" in failed.error.message
        until(lambda: "It is tried again" in engine.log(), "the end of the job did not meet the lock")
        stranger.execute("ROLLBACK")
        stranger.close()
        assert client.wait(job, timeout_s=10).info.attempt == 1
        assert client.wait(client.submit("views", {}, script(steps=1)), timeout_s=10).info.state == "done"


# --- the store and the table by themselves ----------------------------------------------------------------------------
def test_a_disk_that_fills_up_in_the_middle_of_an_upload_is_no_space_and_leaves_nothing(tmp_path, monkeypatch):
    store = BlobStore(tmp_path, 10 * MIB, 0)
    incoming = store.receive(_hash(b"abc"), 3)
    assert incoming.write(0, b"abc")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoSpace):
            incoming.finish()
    assert store.used_bytes == 0 and store.size(_hash(b"abc")) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    store.receive(_hash(b"z"), 10 * MIB).abort()   # the reservation was given back


def test_the_store_counts_a_blob_once_however_often_it_comes(tmp_path):
    store = BlobStore(tmp_path, MIB, 0)
    for _ in range(3):
        incoming = store.receive(_hash(b"abc"), 3)
        assert incoming.write(0, b"abc")
        incoming.finish()
    assert store.used_bytes == 3
    assert BlobStore(tmp_path, MIB, 0).used_bytes == 3
    store.drop([_hash(b"abc")])
    store.unlink([_hash(b"abc")])
    assert store.used_bytes == 0 and not store.path(_hash(b"abc")).exists()


def _table(tmp_path):
    table = JobTable(tmp_path / "jobs.sqlite")
    table.add(Submit("ab" * 16, "views", {"seed": 0}, (InputRef("a", "cd" * 32, 5),)))
    return table, "ab" * 16


def test_an_old_attempt_cannot_change_a_job(tmp_path):
    table, job = _table(tmp_path)
    assert table.begin(job).attempt == 1
    assert table.requeue(job, 1) and table.begin(job).attempt == 2
    assert not table.finish(job, 1, (), {}) and not table.requeue(job, 1) and not table.end_cancelled(job, 1)
    assert not table.fail(job, 1, ErrorInfo("internal", "late"))
    assert table.get(job).state == "running"
    assert table.finish(job, 2, (Artefact("x", "image/png", 1, "ef" * 32),), {"faces": 1})
    assert table.get(job).state == "done" and table.referenced() == {"cd" * 32, "ef" * 32}


def test_a_job_that_has_ended_stays_as_it_is(tmp_path):
    table, job = _table(tmp_path)
    table.begin(job)
    assert table.finish(job, 1, (), {})
    done = table.get(job)
    assert table.cancel(job) == done and table.begin(job) is None
    assert not table.fail(job, None, ErrorInfo("internal", "late")) and not table.finish(job, 1, (), {})
    assert table.recover() == () and table.get(job) == done


def test_recovery_covers_running_and_cancelling(tmp_path):
    table, first = _table(tmp_path)
    second = "ef" * 16
    table.add(Submit(second, "views", {}, ()))
    table.begin(first)
    table.begin(second)
    assert table.cancel(second).state == "cancelling"
    table.close()
    table = JobTable(tmp_path / "jobs.sqlite")
    assert set(table.recover()) == {first, second}
    assert table.get(first).state == "queued" and table.get(second).state == "cancelled"
    assert table.begin(first).attempt == 2


def test_every_change_raises_the_revision(tmp_path):
    table, job = _table(tmp_path)
    revisions = [table.get(job).revision]
    for change in (lambda: table.begin(job), lambda: table.requeue(job, 1), lambda: table.begin(job),
                   lambda: table.cancel(job), lambda: table.end_cancelled(job, 2)):
        change()
        revisions.append(table.get(job).revision)
    assert revisions == [1, 2, 3, 4, 5, 6]


def test_the_table_says_what_is_wrong_with_a_request(tmp_path):
    table, job = _table(tmp_path)
    assert table.add(Submit(job, "views", {"seed": 0}, (InputRef("a", "cd" * 32, 5),))).revision == 1
    for other in (Submit(job, "views", {"seed": 1}, (InputRef("a", "cd" * 32, 5),)),
                  Submit(job, "views", {"seed": 0}, (InputRef("b", "cd" * 32, 5),))):
        with pytest.raises(Conflict):
            table.add(other)
    with pytest.raises(Conflict):
        table.forget(job)
    for call in (table.get, table.cancel, table.forget):
        with pytest.raises(UnknownJob):
            call("00" * 16)
    table.cancel(job)
    assert table.forget(job) == ("cd" * 32,) and table.newest(10) == ()
