"""Speed of the rasteriser, against the same operations in plain torch, turn about in one process.

    python -m slipcast.bench.render [--size 512] [--faces 5000 50000] [--repeats 15] [--threads 1]

One view: rasterize + interpolate (three colours and coverage) + antialias, then the gradient of a squared difference to
positions and colours. Medians, in milliseconds of this thread's CPU time (with --threads > 1: of the clock).
"""
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..engine.render import antialias, build_topology, interpolate, rasterize
from . import torch_rasterizer as plain
from .antialias_gradient import geodesic_ball, project

Render = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_ours(faces: torch.Tensor, size: int) -> Render:
    topology = build_topology(faces)

    def render(positions: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        rast = rasterize(positions, faces, (size, size))
        return antialias(interpolate(colors, rast, faces), rast, positions, faces, topology)[0]

    return render


def make_plain(faces: torch.Tensor, size: int) -> Render:
    faces = faces.long()

    def render(positions: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        rast = plain.rasterize(positions, faces, size)
        colored = plain.interpolate(colors, rast, faces)
        return plain.antialias(colored, rast, positions, faces, size).view(size, size, -1)

    return render


def time_once(render: Render, positions: torch.Tensor, colors: torch.Tensor, target: torch.Tensor,
              clock: Callable[[], float]) -> tuple[float, float, torch.Tensor]:
    """(forward ms, backward ms, image); the loss itself is in neither."""
    positions, colors = positions.clone().requires_grad_(), colors.clone().requires_grad_()
    started = clock()
    image = render(positions, colors)
    rendered = clock()
    pull = (image.detach() - target) * (2 / target.numel())      # gradient of the mean squared difference
    before = clock()
    image.backward(pull)
    return (rendered - started) * 1e3, (clock() - before) * 1e3, image.detach()


def compare(face_count: int, size: int, repeats: int, clock: Callable[[], float]) -> list[tuple[str, float, float]]:
    points, indices = geodesic_ball(face_count)
    positions, faces = project(torch.from_numpy(points.astype(np.float32))), torch.from_numpy(indices)
    generator = torch.Generator().manual_seed(0)
    colors = torch.cat([torch.rand(len(positions), 3, generator=generator), torch.ones(len(positions), 1)], 1)
    target = torch.rand(size, size, 4, generator=generator)
    renders = {"ours (warp)": make_ours(faces, size), "plain torch": make_plain(faces, size)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in renders}
    for repeat in range(repeats + 2):
        for name, render in renders.items():
            forward, backward, _ = time_once(render, positions, colors, target, clock)
            if repeat >= 2:     # compiling, caches
                times[name].append((forward, backward))
    return [(name, *(statistics.median(each[k] for each in times[name]) for k in (0, 1))) for name in renders]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="pixels (default 512)")
    parser.add_argument("--faces", type=int, nargs="+", default=[5000, 50000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    print(f"ms a view of {arguments.size} px, {arguments.threads} thread(s); ratio = plain torch / ours")
    print(f"{'faces':>8}  {'renderer':14}{'forward':>9}{'backward':>10}")
    for faces in arguments.faces:
        rows = compare(faces, arguments.size, arguments.repeats, clock)
        for name, forward, backward in rows:
            print(f"{faces:8d}  {name:14}{forward:9.1f}{backward:10.1f}")
        (_, *ours), (_, *torch_only) = rows
        print(f"{faces:8d}  {'ratio':14}{torch_only[0] / ours[0]:9.1f}{torch_only[1] / ours[1]:10.1f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
