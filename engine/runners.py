"""The real runner: from a job's method to the pipeline and back to artefacts. torch and numpy are imported late."""
from __future__ import annotations

import dataclasses
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..bridge.errors import BadOutput, BadSettings, EngineFailed
from ..bridge.settings import (
    METHODS,
    TURNTABLE,
    BakeSettings,
    ImageSettings,
    RefineMeshSettings,
    ViewsSettings,
    settings_from_mapping,
)
from .worker import Output
from .workersocket import Buffers, PreviewState, RunLink

if TYPE_CHECKING:
    import numpy as np

    from .models.shelf import ModelShelf
    from .pipeline.progress import Run
    from .pipeline.types import Camera, Mesh, PipelineResult

log = logging.getLogger(__name__)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_KERNEL_SIZE = 64
_WARNINGS, _WARNING_CHARS = 50, 500


def find_device(wanted: str, threads: int) -> tuple[str, str]:
    """(device for the pipeline, what a person calls it). The device has run a real kernel by then.

    wanted: "auto" (a GPU that works, else the CPU), "cpu", "cuda" or "cuda:<n>". threads: CPU threads of this process.
    Raises BadSettings when that is no device, EngineFailed when it does not work or PyTorch is not there.
    """
    if not _DEVICE.fullmatch(wanted):
        raise BadSettings(f"There is no device called {wanted!r}.", "Use auto, cpu, or cuda:0.")
    try:
        import torch
    except (ImportError, OSError) as error:
        raise EngineFailed(f"PyTorch cannot be loaded ({error}).", "Install the engine's environment again.") from error
    torch.set_num_threads(threads)
    if wanted == "cpu":
        return "cpu", "cpu"
    device = "cuda:0" if wanted in ("auto", "cuda") else wanted
    problem = _why_not(torch, device)
    if problem is None:
        return device, f"{device} {torch.cuda.get_device_name(device)}"
    if wanted != "auto":
        raise EngineFailed(f"{wanted} cannot be used: {problem}.", "Choose another device, or install the build of "
                           "PyTorch that fits this GPU.")
    if torch.cuda.is_available():
        log.warning("the GPU is there but cannot be used, so the CPU is: %s", problem)
        return "cpu", "cpu (the GPU cannot be used)"
    return "cpu", "cpu"


def _why_not(torch: Any, device: str) -> str | None:
    """What goes wrong when a kernel runs on `device`; None when its result is right."""
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    try:
        ones = torch.ones(_KERNEL_SIZE, _KERNEL_SIZE, device=device)
        total = float((ones @ ones).sum().item())
    except (RuntimeError, AssertionError) as error:   # what torch raises for a wrong index or a missing kernel
        return str(error).strip().splitlines()[0]
    return None if total == _KERNEL_SIZE**3 else "it computes wrong results"


def run_method(method: str, settings: Mapping[str, Any], files: Mapping[str, Path], run: RunLink, device: str,
               shelf: ModelShelf) -> tuple[Sequence[Output], Mapping[str, Any]]:
    """A Runner (see worker.py) for the methods of bridge/settings.py. Raises BridgeError.

    shelf: keeps the model that method "image" has loaded for the next job, until another method needs the memory.
    """
    runners: dict[str, Callable[..., _Made]] = {
        "views": _run_views, "refine": _run_refine, "bake": _run_bake, "image": partial(_run_image, shelf)}
    if method not in runners:
        raise BadSettings(f"There is no method called {method!r}.", f"Known: {', '.join(runners)}.")
    wishes = settings_from_mapping(METHODS[method], settings)
    if method != "image":
        shelf.release()
    started = time.perf_counter()
    made = runners[method](wishes, files, run, device)
    outputs = [*pack_result(made.result), *(Output(name, media_type, data)
                                            for name, (media_type, data) in made.run.extras.items()), *made.turn]
    summary = summarise(method, made.result, time.perf_counter() - started, made.run.finished_early)
    return [*outputs, *_thumbnails(outputs, files, device)], summary


def _thumbnails(outputs: Sequence[Output], files: Mapping[str, Path], device: str) -> list[Output]:
    """Small pictures of result and input, for the history of every method."""
    import torch

    from .pipeline.thumbnails import input_thumbnail, result_thumbnail, textured_from_artefacts

    textured = textured_from_artefacts({item.name: item.data for item in outputs})
    made = {"thumbnail": None if textured is None else result_thumbnail(textured, torch.device(device)),
            "input_thumbnail": input_thumbnail(files)}
    return [Output(name, "image/png", data) for name, data in made.items() if data is not None]


class _Made(NamedTuple):
    """What a method has made, by its run; turn: pictures and film, where they were wanted."""

    result: PipelineResult
    run: Run
    turn: Sequence[Output] = ()


def _new_run(stages: Sequence[str], link: RunLink) -> Run:
    from .pipeline.progress import Run

    return Run(tuple(stages), report=link.report, is_cancelled=link.is_cancelled,
               preview=lambda mesh: show_mesh(mesh, link), is_enough=link.is_enough)


def _run_views(settings: ViewsSettings, files: Mapping[str, Path], link: RunLink, device: str) -> _Made:
    from .pipeline.generate import STAGES, generate_from_views

    run = _new_run((*STAGES, *((TURNTABLE,) if settings.turntable else ())), link)
    result, turn = with_turn(generate_from_views(files, settings, run, device), settings.turntable, run, device)
    return _Made(result, run, turn)


def _run_refine(settings: RefineMeshSettings, files: Mapping[str, Path], link: RunLink, device: str) -> _Made:
    from .pipeline.refine_job import STAGES, refine_from_views

    run = _new_run(STAGES, link)
    return _Made(refine_from_views(files, settings, run, device), run)


def _run_bake(settings: BakeSettings, files: Mapping[str, Path], link: RunLink, device: str) -> _Made:
    from .pipeline.bake_job import STAGES, bake_from_views

    run = _new_run(STAGES, link)
    return _Made(bake_from_views(files, settings, run, device), run)


def show_mesh(mesh: Mesh, link: RunLink) -> None:
    """Offer a mesh, or a Snapshot with what it knows of itself, as the newest preview. Packed only if it is sent."""
    state = PreviewState(**{name: getattr(mesh, name, default) for name, default in PreviewState()._asdict().items()})
    link.preview(lambda: pack_mesh(mesh), state)


def _run_image(shelf: ModelShelf, settings: ImageSettings, files: Mapping[str, Path], link: RunLink,
               device: str) -> _Made:
    from .pipeline.generate_image import generate_from_image, image_stages

    choice = shelf.choose(settings.model, device)
    run = _new_run(image_stages(choice.model.spec, settings.turntable), link)
    result, turn = with_turn(generate_from_image(files, settings, shelf, choice, run, device), settings.turntable, run,
                             device)
    return _Made(result, run, turn)


def with_turn(result: PipelineResult, wanted: bool, run: Run, device: str) -> tuple[PipelineResult, list[Output]]:
    """(the result with what its last stage took and told; the pictures and the film of a turn around it, if `wanted`).

    The result is not lost with its film: where that cannot be encoded, it is a warning. Raises Cancelled.
    """
    if not wanted:
        return result, []
    import torch

    from .pipeline.png import png_bytes
    from .pipeline.turntable import TURN_FRAMES, TURN_PX, film_bytes, render_turntable

    outputs = []
    with run.stage(TURNTABLE, unit="pictures") as stage:
        frames = render_turntable(result.textured, TURN_FRAMES, TURN_PX, torch.device(device), stage)
        for index, frame in enumerate(frames):
            outputs.append(Output(f"{TURNTABLE}_{index:03}", "image/png", png_bytes(frame)))
        try:
            outputs.append(Output(f"{TURNTABLE}_mp4", "video/mp4", film_bytes(frames)))
        except BadOutput as error:
            stage.warn(str(error))
    return dataclasses.replace(result, stages=tuple(run.times), warnings=tuple(run.warnings)), outputs


def pack_mesh(mesh: Mesh) -> Buffers:
    """A Preview's frames: positions f4 (V, 3), faces i4 (F, 3), and u1 (V, 3) sRGB where the mesh has colours."""
    buffers = [_array(mesh.vertices, "<f4"), _array(mesh.faces, "<i4")]
    colours = getattr(mesh, "colours", None)
    return buffers if colours is None else [*buffers, _array(colours, "|u1")]


def pack_result(result: PipelineResult) -> list[Output]:
    """The artefacts of a method, as bridge/events.py's Result describes them."""
    from .pipeline.png import png_bytes

    textured = result.textured
    cameras = [_describe_camera(name, camera) for name, camera in result.cameras]
    arrays = {"vertices": _array(textured.mesh.vertices, "<f4"), "faces": _array(textured.mesh.faces, "<i4"),
              "corner_uvs": _array(textured.corner_uvs, "<f4")}
    maps = {"base_color": textured.base_color, "normal_map": textured.normal_map}
    return [*(Output(name, "array", data, dtype, shape) for name, (dtype, shape, data) in arrays.items()),
            *(Output(name, "image/png", png_bytes(image)) for name, image in maps.items() if image is not None),
            Output("cameras", "application/json", json.dumps(cameras, allow_nan=False).encode()),
            *(Output(name, "image/png", png_bytes(picture)) for name, picture in result.pictures.items())]


def summarise(method: str, result: PipelineResult, seconds: float, finished_early: bool = False) -> dict[str, Any]:
    """The summary of JobInfo. finished_early: the person found the mesh good enough before its stages had ended."""
    mesh = result.textured.mesh
    told = {"finished_early": True} if finished_early else {}
    return {**told, "method": method, "device": result.device, "seconds": round(seconds, 3),
            "stages": [[stage.name, round(stage.seconds, 3)] for stage in result.stages],
            "vertices": len(mesh.vertices), "faces": len(mesh.faces), **result.facts,
            "warnings": [text[:_WARNING_CHARS] for text in result.warnings[:_WARNINGS]]}


def _array(values: np.ndarray, dtype: str) -> tuple[str, tuple[int, ...], bytes]:
    import numpy as np

    data = np.ascontiguousarray(values, dtype=dtype)
    return dtype[1:], data.shape, data.tobytes()


def _describe_camera(name: str, camera: Camera) -> dict[str, Any]:
    return {"name": name, "width": camera.width, "height": camera.height, "fx": camera.fx, "fy": camera.fy,
            "cx": camera.cx, "cy": camera.cy, "world_from_camera": camera.world_from_camera.tolist()}
