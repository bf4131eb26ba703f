"""What a job costs the one who works in Blender meanwhile: nothing when there is none, little while one runs."""
from __future__ import annotations

import time

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import pump
from fakes import finished
from live_stage import Stage, co, previewed, srgb, thing
from shapes import grid

STALL_MS = 12.0
RATE_HZ, TICK_S = 4, 0.05


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, in_place=True)


def test_no_timer_and_no_work_when_nothing_is_under_way(stage):
    stage.show(*grid()[:2])
    assert pump._tick() == pump.TICK_S
    stage.come(finished())
    stage.until(lambda: stage.session.job is None)
    assert pump._tick() is None                                       # what ends the timer
    assert not bpy.app.timers.is_registered(pump._tick)
    assert stage.live.job == "" and not stage.live.has_mesh


def test_ticks_stay_within_their_budget_with_200_000_coloured_faces_four_times_a_second(stage, capsys):
    """20 s of a job, played: 20 ticks and 4 previews a second, new faces every 5 s, as refine's levels have them.

    Seconds of the main thread, as other programs may have the processor meanwhile; the clock's are told.
    """
    played, each_s = previews(counts=(317, 318, 316, 317)), int(1 / TICK_S)
    ticks, clock, swaps, key = [], [], [], None
    for number in range(20 * each_s):
        if number % (each_s // RATE_HZ) == 0:
            stage.client.events.append(played[number // (each_s // RATE_HZ)][0])
        began, clock_began = time.thread_time(), time.perf_counter()
        pump._tick()
        ticks.append(1000 * (time.thread_time() - began))
        clock.append(1000 * (time.perf_counter() - clock_began))
        shown = stage.live._shown
        if shown is not None and shown.key != key:
            key, _ = shown.key, swaps.append(ticks[-1])
        time.sleep(0.01)                                              # the thread that looks for edges needs some
    p99 = float(np.percentile(ticks, 99))
    with capsys.disabled():
        print(f"live mesh, 200,000 faces: p50 {np.median(ticks):.2f} ms, p99 {p99:.2f} ms, max {max(ticks):.1f} ms; "
              f"new faces {', '.join(f'{each:.1f}' for each in swaps)} ms; "
              f"by the clock p99 {np.percentile(clock, 99):.2f} ms, max {max(clock):.1f} ms")
    stage.until(lambda: stage.live._frame is None)
    _, vertices, colours = played[-1]
    mesh = thing().data
    assert len(swaps) == 4 and len(mesh.polygons) == 2 * 316**2 and np.array_equal(co(mesh), vertices)
    assert np.abs(srgb(mesh) - colours / 255).max() < 5e-4            # as in check_live.py
    assert p99 <= STALL_MS


def previews(counts: tuple[int, ...]) -> list[tuple]:
    """Four a second for 20 s, (event, vertices, colours) each; all vertices and colours change every time."""
    random, made = np.random.default_rng(1), []
    for index in range(20 * RATE_HZ):
        vertices, faces, _ = grid(counts[index // (20 * RATE_HZ // len(counts))])
        vertices = vertices + np.float32(0.001 * index)
        colours = random.integers(0, 256, (len(vertices), 3), dtype=np.uint8)
        made.append((previewed(vertices, faces, index, colours), vertices, colours))
    return made
