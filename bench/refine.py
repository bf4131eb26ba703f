"""Refine and its rasteriser beside their peers, in one run, written to docs/benchmarks.md.

    python -m slipcast.bench.refine [--only speed threads quality memory] [--mesh FILE...] [--shapes NAME...]
        [--cameras rings round] [--faces 5000 50000] [--repeats 9] [--quality normal] [-o docs/benchmarks.md]

speed: a step of each renderer that is there (peers.py). threads: ours with one thread and with two. quality: shapes
made by code, and meshes given as files, each rendered by ourselves from 24 cameras (on rings from 25 degrees below the
horizon to 60 above it, or all round), then found again: by the hull with fitted outlines, by refine, and by a displaced
sphere with point splatting. memory: 100 000 faces, 60 views of 1024 px.
Each section is written when it is done, so that a run that is stopped leaves what it has; sections that were not asked
for stay as they are in the file.
"""
from __future__ import annotations

import argparse
import itertools
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..bridge.folders import collect_view_folder
from ..bridge.settings import QUALITIES, ViewsSettings
from ..engine.pipeline.images import load_views
from ..engine.pipeline.matting import mask_views
from ..engine.pipeline.presets import views_preset
from ..engine.pipeline.progress import Run
from ..engine.pipeline.texture_fit import texture_preset
from . import left_out
from .displaced_sphere import fit_sphere
from .known_mesh import KnownMesh, load_known_mesh, orbit_cameras, round_cameras, write_views
from .peers import PEERS, measure, measure_together
from .quality import as_known, compare
from .refine_memory import BAR_GIB, measure_memory
from .shape_scores import score_shape
from .shapes import SHAPES, make_shape

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
TITLE = """# Benchmarks of refine

Written by `python -m slipcast.bench.refine`; figures of other peers and machines come from running it there.
"""
TITLES = {"speed": "The rasteriser beside its peers", "threads": "Two threads", "quality": "What comes back",
          "memory": "Memory"}
VIEWS, VIEW_PX = 24, 512
CAMERAS = {"rings": orbit_cameras, "round": round_cameras}

Row = Sequence[object]


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def table(head: Row, rows: Sequence[Row]) -> str:
    """Markdown. The first column is text, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(each) for each in line) + " |" for line in lines)


def put_section(report: Path, name: str, text: str) -> None:
    """Replace one section of the file, or add it in its place; the others stay."""
    old = report.read_text() if report.exists() else ""
    parts = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in re.split(r"^## ", old, flags=re.M)[1:]}
    parts[TITLES[name]] = f"\n{text.strip()}\n\n{machine()}\n"
    order = [title for title in TITLES.values() if title in parts]
    body = "".join(f"\n## {title}\n\n{parts[title].strip()}\n" for title in order)
    report.write_text(TITLE + body)
    say(f"{name}: written to {report.name}")


def machine() -> str:
    """One line on what it ran on."""
    busy = f", {os.getloadavg()[0]:.1f} processes running at the end" if hasattr(os, "getloadavg") else ""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return (f"Measured {time.strftime('%Y-%m-%d')}: {platform.machine()}, {os.cpu_count()} cores{busy}, {gpu}, torch "
            f"{torch.__version__}.")


def speed(arguments: argparse.Namespace) -> str:
    """A step of each renderer, processor time of one thread."""
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for faces in arguments.faces:
        found = measure(list(PEERS), faces, size=arguments.size, repeats=arguments.repeats)
        times = {name: each for name, each in found.items() if not isinstance(each, str)}
        skipped |= {name: each for name, each in found.items() if isinstance(each, str)}
        for name, (forward, backward) in times.items():
            ratio = (forward + backward) / sum(times["Slipcast"])
            rows.append((name, f"{faces:,}", f"{forward:.1f}", f"{backward:.1f}", f"{ratio:.1f}"))
            say(f"{faces} faces: {name} {forward:.1f} + {backward:.1f} ms, {ratio:.1f}x")
    note = "".join(f"\n\n{name} is left out: {reason}." for name, reason in skipped.items())
    return (f"Rasterise, interpolate and antialias 8 views of {arguments.size} px, forward and backward to positions "
            "and colours. Milliseconds of one thread's processor time a view, medians; Mitsuba 3 with one sample a "
            "pixel, one for outlines and no bounce, so its gradient is far noisier.\n\n"
            + table(("renderer", "faces", "forward", "backward", "times ours"), rows) + note)


def threads(arguments: argparse.Namespace) -> str:
    """Ours with one thread and with two, by the clock."""
    rows = []
    for faces in arguments.faces:
        totals = []
        for count in (1, 2, 1, 2):      # turn about, and the better of each: other programs run too
            times = measure_together(["Slipcast"], faces, 8, arguments.size, arguments.repeats, count, True)["Slipcast"]
            assert not isinstance(times, str), "ours is always there"
            totals.append(sum(times))
        one, two = (min(totals[each::2]) for each in (0, 1))
        rows.append((f"{faces:,}", f"{one:.1f}", f"{two:.1f}", f"{one / two:.2f}"))
        say(f"{faces} faces: {one:.1f} ms with one thread, {two:.1f} with two, {one / two:.2f}x")
    return ("The same step of ours, milliseconds of the clock a view. Meaningful on idle cores only.\n\n"
            + table(("faces", "one thread", "two", "gain"), rows))


def quality(arguments: argparse.Namespace) -> str:
    """Shapes rendered, then found again in three ways."""
    sources: dict[str, Callable[[], KnownMesh]] = {
        **{name: (lambda name=name: make_shape(name)) for name in arguments.shapes},
        **{path.stem: (lambda path=path: load_known_mesh(path)) for path in arguments.mesh}}
    rows: list[Row] = []
    head = ("shape and method", "IoU", "F .5 %", "normals", "chamfer %", "outlines", "dB", "CPU s")
    for (name, make), cameras in itertools.product(sources.items(), arguments.cameras):
        truth = make()
        seen = name if cameras == "rings" else f"{name} seen all round"
        for method, (found, seconds) in reconstruct(truth, arguments.quality, seen, cameras).items():
            row = score_shape(found, truth) | compare(found, truth)
            rows.append((f"{seen}, {method}", f"{row['iou']:.4f}", f"{row['f']:.4f}", f"{row['normals']:.3f}",
                         f"{100 * row['chamfer']:.3f}", f"{row['silhouette_iou']:.4f}", f"{row['psnr_db']:.1f}",
                         f"{seconds:.0f}"))
            say(" ".join(str(each) for each in rows[-1]))
            put_section(arguments.output, "quality", _quality_text(arguments.quality, table(head, rows)))
    return _quality_text(arguments.quality, table(head, rows))


def _quality_text(level: str, rows: str) -> str:
    return (f"{VIEWS} views of {VIEW_PX} px rendered by ourselves, on rings from 25 degrees below the horizon to 60 "
            f"above it or, where it is said, all round; quality `{level}`, one thread. IoU of volumes; F at .5 % of "
            "the diagonal; mean cosine of normals; Chamfer distance in percent of the diagonal; IoU of outlines and "
            "dB in the foreground from 12 other cameras (the sphere has colours at its vertices, the others a "
            "texture). Seconds of processor: to the shape, without its texture.\n\n" + rows)


def reconstruct(truth: KnownMesh, level: str, name: str, cameras: str) -> dict[str, tuple[KnownMesh, float]]:
    """method -> (what it made of the views, processor seconds of its shape)."""
    settings = ViewsSettings(quality=level)
    run, found = Run(("load", "shape", "refine", "texture")), {}
    with tempfile.TemporaryDirectory() as folder:
        say(f"{name}: rendering {VIEWS} views")
        write_views(truth, Path(folder), VIEWS, VIEW_PX, CAMERAS[cameras])
        with run.stage("load") as stage:
            preset = views_preset(level)
            views = load_views(collect_view_folder(Path(folder)), preset.working_px, stage)
            masks = mask_views(views, stage, preset.cutout_px)
    say(f"{name}: displaced sphere")
    began = time.process_time()
    bounds = truth.corners.reshape(-1, 3).min(0), truth.corners.reshape(-1, 3).max(0)
    sphere = fit_sphere(list(views.views), list(masks), (bounds[0] + bounds[1]) / 2,
                        float((bounds[1] - bounds[0]).mean()) / 2)
    found["displaced sphere"] = sphere, time.process_time() - began
    say(f"{name}: hull and refine")
    began = time.process_time()
    made = left_out.shapes(views, masks, settings, run)
    spent = {"refined": time.process_time() - began}
    shape = next(stage for stage in run.times if stage.name == "shape")
    spent["outlines"] = shape.seconds
    for method, key in (("hull with outlines", "outlines"), ("refined", "refined")):
        textured, _ = left_out.textured(made[key], views, masks, settings, run, texture_preset(settings.quality))
        found[method] = as_known(textured), spent[key]
    return found


def memory(arguments: argparse.Namespace) -> str:
    """100 000 faces, 60 views of 1024 px: the most memory a process of its own held."""
    peak, seconds, faces = measure_memory()
    say(f"{faces} faces, 60 views of 1024 px: {peak:.2f} GiB at most, {seconds:.2f} s of processor an iteration")
    return (f"A refine level of {faces:,} faces with 60 views of 1024 px, one thread, in a process of its own: "
            f"**{peak:.2f} GiB** at most (bar: {BAR_GIB:g}), {seconds:.2f} s of processor an iteration.")


SECTIONS: dict[str, Callable[[argparse.Namespace], str]] = {"speed": speed, "threads": threads, "quality": quality,
                                                            "memory": memory}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--mesh", type=Path, nargs="+", default=[], help="textured meshes to measure on as well")
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES), default=list(SHAPES), metavar="NAME")
    parser.add_argument("--cameras", nargs="+", choices=list(CAMERAS), default=["rings"], metavar="CAMERAS")
    parser.add_argument("--faces", type=int, nargs="+", default=[5000, 50_000])
    parser.add_argument("--size", type=int, default=512, metavar="PX")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("-o", "--output", type=Path, default=REPORT)
    arguments = parser.parse_args(argv)
    for name in arguments.only:
        torch.set_num_threads(1)
        say(f"{name} ...")
        put_section(arguments.output, name, SECTIONS[name](arguments))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
