"""What is shown of a refinement on its way: whole, coloured, with a time that is measured, and cheap."""
from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from scenes import make_stage
from skin import CPU, ball, painted_views

from slipcast.bridge.arrays import describe_buffer
from slipcast.engine.pipeline import refine, refine_clock
from slipcast.engine.pipeline.progress import Run, Stage
from slipcast.engine.pipeline.refine import refine_mesh
from slipcast.engine.pipeline.refine_clock import Forecast, Watch
from slipcast.engine.pipeline.refine_settings import RefineLevel, RefineSettings
from slipcast.engine.pipeline.snapshots import colour_bytes, recoloured
from slipcast.engine.pipeline.types import Mesh, Snapshot
from slipcast.engine.runners import pack_mesh, show_mesh
from slipcast.engine.workersocket import PreviewState

LEFT, RIGHT = (200, 40, 30), (30, 60, 220)
TWO = RefineSettings(levels=(RefineLevel(48, 400, 20), RefineLevel(96, 800, 20)), hold_out=0)


@pytest.fixture(scope="module")
def two_colours():
    """Views of a ball that is red where x < 0 and blue elsewhere."""
    shape = ball(4)
    return painted_views(shape, np.where(shape.vertices[:, :1] < 0, LEFT, RIGHT), 8, 160)


def test_a_refinement_shows_its_mesh_in_the_colours_of_its_views_with_where_it_stands(two_colours, monkeypatch):
    monkeypatch.setattr("slipcast.engine.pipeline.refine.PREVIEW_S", 0.0)
    monkeypatch.setattr("slipcast.engine.pipeline.refine.PREVIEW_SHARE", 1.0)
    shown: list[Mesh] = []
    stage = make_stage()
    mesh = refine_mesh(ball(3, 0.9), *two_colours, TWO, CPU, stage, shown.append)
    snapshots = [each for each in shown if isinstance(each, Snapshot)]
    assert len(snapshots) == len(shown) >= 4 and (shown[-1].vertices == mesh.vertices).all()
    for each in snapshots:
        assert each.colours is not None and each.colours.dtype == np.uint8 and each.colours.shape == each.vertices.shape
        assert each.faces.max() < len(each.vertices) and each.loss is not None and each.iterations == 40
    assert [each.iteration for each in snapshots] == sorted(each.iteration for each in snapshots)
    assert all(each.seconds_left is not None and 0 <= each.seconds_left < 60 for each in snapshots[:-1])
    assert stage.seconds_left is None       # the stage goes on with other work, about which nothing was measured
    last = snapshots[-1]
    assert last.colours is not None
    for colour, side in ((LEFT, last.vertices[:, 0] < -0.2), (RIGHT, last.vertices[:, 0] > 0.2)):
        assert np.abs(np.median(last.colours[side], 0) - colour).max() < 40     # the light may take its share


def test_packed_previews_have_three_arrays_with_colours_and_two_without():
    mesh = ball(1)
    colours = np.arange(3 * len(mesh.vertices), dtype=np.uint8).reshape(-1, 3)
    positions, faces, bytes_of_colours = pack_mesh(Snapshot(mesh.vertices, mesh.faces, colours))
    assert bytes_of_colours == ("u1", colours.shape, colours.tobytes())
    assert pack_mesh(mesh) == [positions, faces] == pack_mesh(Snapshot(mesh.vertices, mesh.faces))
    assert (positions[0], faces[0]) == ("f4", "i4")


class Offered:
    """A RunLink that keeps what it is offered."""

    def preview(self, pack, state: PreviewState) -> None:
        self.pack, self.state = pack, state


def test_what_a_snapshot_knows_of_itself_goes_with_it():
    mesh, link = ball(1), Offered()
    show_mesh(Snapshot(mesh.vertices, mesh.faces, None, 7, 40, 0.25, 12.5), link)      # type: ignore[arg-type]
    assert link.state == PreviewState(7, 40, 0.25, 12.5)
    show_mesh(mesh, link)       # type: ignore[arg-type]
    assert link.state == PreviewState() and len(link.pack()) == 2


def test_once_colours_were_shown_a_mesh_without_any_gets_those_of_the_nearest_vertices():
    shown: list[Mesh] = []
    run = Run(("one",), preview=shown.append)
    fine, coarse = ball(3), ball(1)
    run.preview(coarse)
    assert shown.pop() is coarse
    run.preview(Snapshot(fine.vertices, fine.faces, np.where(fine.vertices[:, :1] < 0, LEFT, RIGHT).astype(np.uint8)))
    run.preview(coarse)
    last = shown[-1]
    assert isinstance(last, Snapshot) and last.colours is not None and (last.faces == coarse.faces).all()
    away = np.abs(coarse.vertices[:, 0]) > 0.1
    assert (last.colours == np.where(coarse.vertices[:, :1] < 0, LEFT, RIGHT))[away].all()


def test_colours_outside_their_range_and_meshes_without_numbers_do_not_end_a_run():
    assert colour_bytes(np.array([[-1.0, 0.5, 2.0], [np.nan, np.inf, 1.0]])).tolist() == [[0, 128, 255], [0, 255, 255]]
    mesh = ball(1)
    coloured = Snapshot(mesh.vertices, mesh.faces, np.zeros(mesh.vertices.shape, np.uint8))
    broken = Mesh(np.full_like(mesh.vertices, np.nan), mesh.faces)
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert recoloured(broken, coloured) is broken and recoloured(empty, coloured) is empty


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_what_iterations_take_and_never_more_than_the_budget(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "process_time", lambda: clock.now / 2)      # half of the machine is ours
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    settings = dataclasses.replace(TWO, levels=(RefineLevel(64, 0, 100), RefineLevel(128, 0, 50)))
    forecast = Forecast(settings, Watch(1000.0, CPU))
    forecast.begin(0)
    assert forecast.seconds_left is None
    for _ in range(refine_clock.SETTLE):
        clock.now += 5.0                    # compiling is not counted
        forecast.step()
    for _ in range(20):
        clock.now += 0.1
        forecast.step()
    # 77 iterations of 0.1 s, and 50 with four times the pixels
    assert forecast.seconds_left == pytest.approx(77 * 0.1 + 50 * 0.4)
    forecast.begin(1)
    assert forecast.seconds_left == pytest.approx(50 * 0.4)     # until this level's own are measured
    for _ in range(10):
        clock.now += 0.3
        forecast.step()
    assert forecast.seconds_left == pytest.approx(40 * 0.3)
    short = Forecast(settings, Watch(4.0, CPU))
    short.begin(0)
    for _ in range(10):
        clock.now += 0.1
        short.step()
    assert short.seconds_left == pytest.approx(7.0)     # 4 s of processor are 8 s of the clock, 1 is gone


def test_a_level_is_told_to_be_no_larger_than_the_views_show_the_object(two_colours, monkeypatch):
    planned: list[int] = []

    class Noted(Forecast):
        def __init__(self, settings: RefineSettings, watch: Watch) -> None:
            super().__init__(settings, watch)
            planned.extend(level.side_px for level in settings.levels)

    refine.warm_up(CPU)         # its forecast is another
    monkeypatch.setattr(refine, "Forecast", Noted)
    settings = dataclasses.replace(TWO, levels=(RefineLevel(48, 400, 3), RefineLevel(4096, 800, 3)))
    refine_mesh(ball(2), *two_colours, settings, CPU, make_stage())
    assert planned[0] == 48 < planned[1] <= 160


def iterations_until_done(forecast: Forecast, level: int, clock: Clock, seconds: float) -> int:
    forecast.begin(level)
    done = 0
    while forecast.level_done < 1:
        clock.now += seconds
        forecast.step()
        done += 1
    return done


def test_levels_become_shorter_alike_where_the_time_is_too_short_and_stay_whole_where_it_is_not(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "process_time", clock)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    settings = dataclasses.replace(TWO, levels=(RefineLevel(64, 0, 400), RefineLevel(128, 0, 200)), seconds=20.0)
    enough = Forecast(settings, Watch(130.0, CPU))      # 40 and 80 are needed
    assert [iterations_until_done(enough, 0, clock, 0.1), iterations_until_done(enough, 1, clock, 0.4)] == [400, 200]
    began = clock.now
    watch = Watch(60.0, CPU)
    short = Forecast(settings, watch)
    done = [iterations_until_done(short, 0, clock, 0.1), iterations_until_done(short, 1, clock, 0.4)]
    assert [done[0] / 400, done[1] / 200] == pytest.approx([0.5, 0.5], abs=0.03)
    assert clock.now - began == pytest.approx(60, rel=0.02)
    # one slow moment is not taken for the pace of the whole
    clock.now = 0.0
    hiccup = Forecast(settings, Watch(130.0, CPU))
    hiccup.begin(0)
    for each in range(10):
        clock.now += 0.3 if each == 4 else 0.01
        hiccup.step()
    assert hiccup.level_done == pytest.approx(10 / 400)


def test_the_time_counts_the_remesh_and_the_light_before_the_first_iteration_but_not_what_compiles(two_colours,
                                                                                                  monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "process_time", clock)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)

    def takes(name: str, seconds: float) -> None:
        work = getattr(refine, name)

        def slow(*arguments):
            clock.now += seconds
            return work(*arguments)

        monkeypatch.setattr(refine, name, slow)

    settings = dataclasses.replace(TWO, seconds=40.0, levels=(RefineLevel(48, 400, 20),))
    takes("warm_up", 1000.0)
    takes("fit_light", 30.0)
    takes("bending", 1.0)       # an iteration
    stage = make_stage()
    refine_mesh(ball(2), *two_colours, settings, CPU, stage)
    assert stage.done == 10
    stage = make_stage()
    refine_mesh(ball(2), *two_colours, dataclasses.replace(settings, seconds=5.0), CPU, stage)
    assert stage.done == refine.LEAST_STEPS     # a time that is too short is not for nothing


def test_before_the_time_begins_all_kernels_of_a_refinement_are_compiled():
    """In a process of its own: here they are."""
    program = """
import torch
from slipcast.engine.pipeline import refine
from slipcast.engine.render import backend
refine.warm_up(torch.device("cpu"))
print(sorted(name.rpartition(".")[2] for name, device in backend._loaded))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(told.stdout) == ["antialias_kernels", "contour_kernels", "crossing_kernels",
                                             "interpolate_kernels", "mesh_colours_kernels", "raster_kernels",
                                             "rasterize_kernels", "refine_points_kernels", "remesh_kernels"]


def test_previews_cost_at_most_a_twentieth_of_the_loop(two_colours, monkeypatch):
    """Processor seconds of previews packed, hashed and counted, against all of the refinement they are part of, so that
    a busy machine slows both. The least of three turns."""
    settings = dataclasses.replace(TWO, levels=(RefineLevel(64, 1000, 50),))
    show, spent, shares = refine.Refinement.show, [0.0], []

    def send(mesh: Mesh) -> None:
        for dtype, shape, data in pack_mesh(mesh):
            describe_buffer(data, dtype, shape)

    def timed(refinement: refine.Refinement) -> None:
        started = time.process_time()
        show(refinement)
        spent[0] += time.process_time() - started

    refine_mesh(ball(3), *two_colours, dataclasses.replace(settings, seconds=0.1), CPU, make_stage())     # compiles
    monkeypatch.setattr(refine.Refinement, "show", timed)
    for _ in range(3):
        started, spent[0] = time.process_time(), 0.0
        refine_mesh(ball(3), *two_colours, settings, CPU, make_stage(), send)
        shares.append(spent[0] / (time.process_time() - started))
    assert 0 < min(shares) <= 0.05, shares


def test_dear_previews_are_shown_less_often(two_colours):
    """A preview that takes half as long as all iterations together is shown once and at the end."""
    shown: list[float] = []

    def dear(mesh: Mesh) -> None:
        shown.append(time.perf_counter())
        time.sleep(0.3)

    settings = dataclasses.replace(TWO, levels=(RefineLevel(64, 1000, 50),))
    refine_mesh(ball(3), *two_colours, settings, CPU, make_stage(), dear)
    assert len(shown) == 2


def test_a_stage_reports_its_loss_and_the_time_left():
    told = []
    stage = Stage(Run(("one",), report=told.append), "one", 0, 10, "steps")
    stage.loss, stage.seconds_left = 0.5, 3.0
    stage.advance()
    assert (told[-1].loss, told[-1].seconds_left) == (0.5, 3.0)
