"""Differentiable renderers side by side: each takes the same ball, the same views and the same gradient of the picture.

What a step is: positions in, the picture of every view out (three colours; coverage too where the renderer has it), and
back to the gradients of positions and colours.

    python -m slipcast.bench.peers NAME... [--faces 5000] [--views 8] [--size 512] [--repeats 5] [--threads 1 [--clock]]
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.render import antialias, build_topology, interpolate, rasterize
from . import torch_rasterizer as plain
from .antialias_gradient import DISTANCE, FOCAL, geodesic_ball, project


class PeerMissing(Exception):
    """This renderer cannot run here. Its text says why."""


@dataclass(frozen=True)
class Ball:
    """points: (V, 3), faces: (F, 3), colours: (V, 4) with a last channel of ones, clip: (N, V, 4), turns: (N,) radians
    about the y axis, pull: (N, size, size, 4), the gradient of the pictures. All float32 but faces int32."""

    points: np.ndarray
    faces: torch.Tensor
    colours: torch.Tensor
    clip: torch.Tensor
    turns: np.ndarray
    pull: torch.Tensor
    size: int


Step = Callable[[Callable[[], float]], tuple[float, float]]
"""clock -> (seconds forward, seconds backward) of all views."""


def make_ball(face_count: int, views: int, size: int, device: str = "cpu") -> Ball:
    """A ball of about `face_count` faces from `views` sides, colours and gradients at random but repeatable."""
    points, indices = geodesic_ball(face_count)
    generator = torch.Generator().manual_seed(0)
    colours = torch.cat([torch.rand(len(points), 3, generator=generator), torch.ones(len(points), 1)], 1)
    turns = 2 * np.pi * np.arange(views) / views
    clip = torch.stack([project(torch.from_numpy(turned(points, turn).astype(np.float32))) for turn in turns])
    pull = (torch.rand(views, size, size, 4, generator=generator) - 0.5) / size**2
    return Ball(points.astype(np.float32), torch.from_numpy(indices).to(device), colours.to(device), clip.to(device),
                turns, pull.to(device), size)


def turned(points: np.ndarray, turn: float) -> np.ndarray:
    """(V, 3) about the y axis."""
    c, s = np.cos(turn), np.sin(turn)
    return points @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def _torch_step(render: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ball: Ball) -> Step:
    def step(clock: Callable[[], float]) -> tuple[float, float]:
        clip, colours = ball.clip.clone().requires_grad_(), ball.colours.clone().requires_grad_()
        started = clock()
        image = render(clip, colours)
        rendered = clock()
        image.backward(ball.pull)
        return rendered - started, clock() - rendered

    return step


def ours(ball: Ball, backend: Any = "warp") -> Step:
    """Slipcast's own operations, all views in one call."""
    topology = build_topology(ball.faces)

    def render(clip: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        rast = rasterize(clip, ball.faces, (ball.size, ball.size), backend=backend)
        shown = interpolate(colours, rast, ball.faces, backend=backend)
        return antialias(shown, rast, clip, ball.faces, topology, backend=backend)

    return _torch_step(render, ball)


def plain_torch(ball: Ball) -> Step:
    """torch_rasterizer.py, a view at a time."""
    faces, size = ball.faces.long(), ball.size

    def one(clip: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        rast = plain.rasterize(clip, faces, size)
        return plain.antialias(plain.interpolate(colours, rast, faces), rast, clip, faces, size).view(size, size, -1)

    return _torch_step(lambda clip, colours: torch.stack([one(each, colours) for each in clip]), ball)


def nvdiffrast(ball: Ball) -> Step:
    """nvdiffrast through our own operations. Raises PeerMissing."""
    if not torch.cuda.is_available():
        raise PeerMissing("no CUDA device here")
    if importlib.util.find_spec("nvdiffrast") is None:
        raise PeerMissing("nvdiffrast is not installed")
    return ours(ball, "nvdiffrast")


def mitsuba(ball: Ball) -> Step:
    """Mitsuba 3's projective sampling, at the least work it can be asked for: glowing vertices, no bounce, one sample a
    pixel for the picture and one for the outlines. Its threads: as torch's. Raises PeerMissing."""
    mi, dr = _load_mitsuba()
    with tempfile.TemporaryDirectory() as folder:
        scene, integrator = _mitsuba_scene(mi, ball, Path(folder) / "ball.ply")
    parameters = mi.traverse(scene)
    places, tints = "ball.vertex_positions", "ball.vertex_color"
    start = dr.detach(parameters[places]), dr.detach(parameters[tints])
    pulls = [mi.TensorXf(np.ascontiguousarray(each[..., :3].numpy())) for each in ball.pull]

    def step(clock: Callable[[], float]) -> tuple[float, float]:
        forward = backward = 0.0
        for number, pull in enumerate(pulls):
            began = clock()
            parameters[places], parameters[tints] = type(start[0])(start[0]), type(start[1])(start[1])
            dr.enable_grad(parameters[places], parameters[tints])
            parameters.update()
            image = mi.render(scene, parameters, sensor=number, integrator=integrator, spp=1)
            dr.eval(image)
            dr.sync_thread()
            rendered = clock()
            dr.backward(dr.sum(image * pull))
            dr.eval(dr.grad(parameters[places]), dr.grad(parameters[tints]))
            dr.sync_thread()
            forward, backward = forward + rendered - began, backward + clock() - rendered
        return forward, backward

    return step


def _load_mitsuba() -> tuple[Any, Any]:
    try:
        import drjit  # pyright: ignore[reportMissingImports]
        import mitsuba  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise PeerMissing("Mitsuba 3 is not installed (pip install mitsuba)") from None
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    mitsuba.set_variant("llvm_ad_rgb")
    drjit.set_thread_count(torch.get_num_threads())
    try:
        drjit.eval(drjit.llvm.Float(1.0) + 1)
    except RuntimeError as error:
        raise PeerMissing(f"Mitsuba 3 finds no libLLVM ({str(error).splitlines()[0][:80]})") from None
    return mitsuba, drjit


def _mitsuba_scene(mi: Any, ball: Ball, path: Path) -> tuple[Any, Any]:
    mesh = mi.Mesh("ball", len(ball.points), len(ball.faces))
    mesh.add_attribute("vertex_color", 3, ball.colours[:, :3].numpy().ravel())
    shape = mi.traverse(mesh)
    shape["vertex_positions"], shape["faces"] = ball.points.ravel(), ball.faces.numpy().ravel()
    shape.update()
    mesh.write_ply(str(path))
    glow = {"type": "area", "radiance": {"type": "mesh_attribute", "name": "vertex_color"}}
    scene: dict[str, Any] = {"type": "scene", "ball": {"type": "ply", "filename": str(path), "face_normals": True,
                                                       "emitter": glow}}
    film = {"type": "hdrfilm", "width": ball.size, "height": ball.size, "rfilter": {"type": "box"},
            "pixel_format": "rgb"}
    for number, turn in enumerate(ball.turns):
        place = turned(np.array([[0.0, 0.0, DISTANCE]]), -turn)[0].tolist()
        way = mi.ScalarTransform4f().look_at(origin=place, target=[0, 0, 0], up=[0, 1, 0])
        scene[f"view{number}"] = {"type": "perspective", "fov": float(np.rad2deg(2 * np.arctan(1 / FOCAL))),
                                  "to_world": way, "film": film, "sampler": {"type": "independent"}}
    integrator = mi.load_dict({"type": "direct_projective", "sppc": 1, "sppp": 1, "sppi": 0})
    return mi.load_dict(scene), integrator


PEERS: dict[str, Callable[[Ball], Step]] = {"Slipcast": ours, "plain torch": plain_torch, "Mitsuba 3": mitsuba,
                                            "nvdiffrast": nvdiffrast}
IN_A_CHILD = ("Mitsuba 3",)      # a libLLVM that is too old for it ends the whole process
CHILD_S = 1800.0


def measure_together(names: Sequence[str], faces: int, views: int, size: int, repeats: int, threads: int,
                     by_clock: bool = False) -> dict[str, tuple[float, float] | str]:
    """Milliseconds a view, (forward, backward), medians of `repeats` turns about; or why there are none.

    Processor time of the whole process, or by the clock.
    """
    torch.set_num_threads(threads)
    clock = time.perf_counter if by_clock else time.process_time
    ball = make_ball(faces, views, size)
    steps: dict[str, Step] = {}
    found: dict[str, tuple[float, float] | str] = {}
    for name in names:
        try:
            steps[name] = PEERS[name](ball)
        except PeerMissing as reason:
            found[name] = str(reason)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            seconds = step(clock)
            if turn:        # the first compiles and fills caches
                times[name].append(seconds)
    for name, rows in times.items():
        forward, backward = (statistics.median(row[each] for row in rows) * 1e3 / views for each in (0, 1))
        found[name] = forward, backward
    return found


def measure(names: Sequence[str], faces: int, views: int = 8, size: int = 512,
            repeats: int = 5) -> dict[str, tuple[float, float] | str]:
    """measure_together with one thread, those that might end the process each in one of its own."""
    here = [name for name in names if name not in IN_A_CHILD]
    found = measure_together(here, faces, views, size, repeats, 1)
    for name in names:
        if name in IN_A_CHILD:
            found[name] = _measure_in_child(name, faces, views, size, repeats)
    return {name: found[name] for name in names}


def _measure_in_child(name: str, faces: int, views: int, size: int, repeats: int) -> tuple[float, float] | str:
    knobs = {"faces": faces, "views": views, "size": size, "repeats": repeats}
    command = [sys.executable, "-m", __spec__.name, name, "--json",
               *(text for knob, value in knobs.items() for text in (f"--{knob}", str(value)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["no word"])[0]
        return f"it ended with code {done.returncode}: {words[:120]}"
    result = json.loads(done.stdout.splitlines()[-1])[name]
    return result if isinstance(result, str) else tuple(result)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    for knob, default in (("faces", 5000), ("views", 8), ("size", 512), ("repeats", 5), ("threads", 1)):
        parser.add_argument(f"--{knob}", type=int, default=default)
    parser.add_argument("--clock", action="store_true", help="measure by the clock, not processor time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    measured = measure_together(arguments.names, arguments.faces, arguments.views, arguments.size, arguments.repeats,
                                arguments.threads, arguments.clock)
    if arguments.json:
        print(json.dumps(measured))
        return 0
    for name, result in measured.items():
        words = result if isinstance(result, str) else "forward {:.1f} ms, backward {:.1f} ms a view".format(*result)
        print(f"{name}: {words}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
