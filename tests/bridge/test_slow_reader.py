"""A client that does not read costs no memory, delays nobody, and finds the newest state when it reads again."""
from __future__ import annotations

import time

import psutil
from engines import Peer, events_until, greet, script

from slipcast.bridge.codec import CTL_FROM_ENGINE
from slipcast.bridge.events import Finished, JobChanged, Previewed
from slipcast.bridge.messages import Get, JobInfo, Ping, Preview, Progress, Subscribe

MIB = 1024**2
# libzmq's heartbeat would cut off a peer whose queue is full after 1.5 s; here it is to stay, and stay asleep.
PATIENT = {"heartbeat_timeout_ms": 60_000}
VERTICES = 87_381   # 1 MiB of positions


def test_previews_that_are_not_read_cost_no_memory_delay_nobody_and_the_newest_arrives(make_engine):
    engine = make_engine(**PATIENT, preview_interval_s=0.02, progress_interval_s=0.02).start()
    connection, server = engine.connection(), psutil.Process(engine.process.pid)
    with engine.client() as reader, Peer(connection, connection.ctl, receive_queue=1) as sleeper:
        greet(sleeper)
        job = reader.submit("views", {}, script(steps=90, step_s=0.025, preview_vertices=VERTICES))
        events_until(reader, lambda event: isinstance(event, JobChanged))
        sleeper.ask(Subscribe(job), "s", CTL_FROM_ENGINE)
        events_until(reader, lambda event: isinstance(event, Previewed), 15)
        before, peak, seen = server.memory_info().rss, 0, 0
        while True:
            event = events_until(reader, lambda event: isinstance(event, Previewed | Finished), 30)[-1]
            peak = max(peak, server.memory_info().rss - before)
            if isinstance(event, Finished):
                break
            seen += 1
        assert seen > 40, "the reader got too few previews for this test to say anything"
        # Held for the sleeper: 4 in libzmq's queue, 1 in ours, some in buffers, and the newest for late subscribers.
        assert peak < 30 * MIB
        newest = _last_of_each(sleeper)
        assert newest[JobInfo].state == "done" and len(newest) >= 3
        assert newest[Preview].seq > 40 and newest[Progress].stage == "second"


def _last_of_each(peer):
    newest = {}
    while (envelope := peer.receive(CTL_FROM_ENGINE, 1.0)) is not None:
        newest[type(envelope.message)] = envelope.message
    return newest


def test_a_client_that_asks_without_reading_is_dropped_and_the_others_are_served(make_engine):
    engine = make_engine(**PATIENT, replies_waiting=20).start()
    connection, server = engine.connection(), psutil.Process(engine.process.pid)
    with engine.client() as client, Peer(connection, connection.ctl, receive_queue=1) as rude:
        job = client.wait(client.submit("views", {}, script()), timeout_s=15).info.job
        greet(rude)
        before = server.memory_info().rss
        for index in range(20_000):   # 1 KB answers: more than the buffers of TCP take
            rude.send(Get(job), id=f"g{index}")
        time.sleep(1.0)
        assert server.memory_info().rss - before < 30 * MIB
        with Peer(connection, connection.ctl) as polite:
            greet(polite)
            assert polite.ask(Ping(), "p", CTL_FROM_ENGINE) is not None
        assert client.wait(client.submit("views", {}, script(steps=1)), timeout_s=15)
