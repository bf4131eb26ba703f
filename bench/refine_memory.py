"""The most memory that refine holds on a large job, measured in a process of its own.

    python -m slipcast.bench.refine_memory [--faces 100000] [--views 60] [--size 1024] [--iterations 6]

It really runs refine_mesh on views of that size, all levels but a few iterations each, the last at full size.
"""
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from ..engine.pipeline.progress import Run
from ..engine.pipeline.refine import refine_mesh
from ..engine.pipeline.refine_settings import RefineLevel, RefineSettings
from ..engine.pipeline.types import Mask, Mesh, View, ViewSet
from .antialias_gradient import geodesic_ball
from .known_mesh import KnownMesh, orbit_cameras, render
from .shapes import painted

BAR_GIB = 6.0
CHILD_S = 3600.0


def views_of_ball(count: int, size_px: int) -> tuple[ViewSet, tuple[Mask, ...]]:
    """Painted views of a bumpy ball, as load_views and mask_views would give them."""
    points, faces = geodesic_ball(20_000)
    points = points * (1 + 0.1 * np.sin(points * 5).sum(1, keepdims=True) / 3)
    corners = points.astype(np.float32)[faces]
    known = KnownMesh(corners, colours=painted(corners))
    views, masks = [], []
    for number, camera in enumerate(orbit_cameras(known, count, size_px)):
        colour, cover = render(known, camera)
        views.append(View(f"{number:03d}.png", camera, (colour * 255 + 0.5).astype(np.uint8),
                          (cover * 255 + 0.5).astype(np.uint8)))
        masks.append(Mask(cover, "alpha", 1.0))
    return ViewSet(tuple(views)), tuple(masks)


def run_once(faces: int, views: int, size_px: int, iterations: int) -> dict[str, float]:
    """peak_gib of this process, seconds of processor an iteration at full size, faces of the result."""
    torch.set_num_threads(1)
    given, masks = views_of_ball(views, size_px)
    points, indices = geodesic_ball(faces)
    start = Mesh(points.astype(np.float32), indices)
    levels = (RefineLevel(size_px, faces, iterations, 0.6, 0.4),)
    moments: list[float] = []
    run = Run(("refine",), report=lambda progress: moments.append(time.process_time()), preview=lambda mesh: None)
    settings = RefineSettings(levels=levels, seconds=float("inf"))
    with run.stage("refine") as stage:
        mesh = refine_mesh(start, given, masks, settings, torch.device("cpu"), stage, run.preview)
    each = float(np.median(np.diff(moments[-iterations:])))
    return {"peak_gib": peak_gib(), "seconds": each, "faces": len(mesh.faces)}


def peak_gib() -> float:
    """The most memory this process has held until now."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**3 if sys.platform == "darwin" else 1024**2)


def measure_memory(faces: int = 100_000, views: int = 60, size_px: int = 1024,
                   iterations: int = 6) -> tuple[float, float, int]:
    """(peak GiB, seconds an iteration, faces) of run_once in a new process."""
    knobs = {"faces": faces, "views": views, "size": size_px, "iterations": iterations}
    command = [sys.executable, "-m", __spec__.name, *(text for name, value in knobs.items()
                                                      for text in (f"--{name}", str(value)))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=CHILD_S, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["peak_gib"], found["seconds"], int(found["faces"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("faces", 100_000), ("views", 60), ("size", 1024), ("iterations", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args(argv)
    print(json.dumps(run_once(arguments.faces, arguments.views, arguments.size, arguments.iterations)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
