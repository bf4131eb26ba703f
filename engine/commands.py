"""Commands that are a job in this process, without server or client: what they share, and `generate`."""
from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..bridge.errors import BadImage, BadInput, BadOutput, BadSettings, BridgeError, Cancelled
from ..bridge.folders import collect_view_folder
from ..bridge.settings import METHODS, TURNTABLE, ImageSettings, ViewsSettings, settings_from_mapping
from .models.memory import is_out_of_memory

if TYPE_CHECKING:
    from .pipeline.progress import Run
    from .pipeline.types import PipelineResult

log = logging.getLogger(__name__)
S = TypeVar("S")
CANCELLED = "Cancelled. Nothing was written."
STOP_PATIENCE_S = 1.0      # for the pipeline to come to its next check and clean up
SAME_PRESS_S = 0.3         # `timeout` and some terminals send one request to stop twice
SHOW_CURSOR = "\x1b[?25h"  # a live display hides it


@dataclasses.dataclass
class Stop:
    """number: of the signal that asked for a stop (at asked_s); 0: none. writing: the files, which will be finished."""

    number: int = 0
    asked_s: float = 0.0
    writing: bool = False


def add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `generate`; those of the method come from its settings."""
    parser.add_argument("input", type=Path, metavar="INPUT",
                        help="folder of views: transforms.json or a COLMAP model, beside its images; or one picture")
    parser.add_argument("--method", choices=("auto", "views", "image"), default="auto",
                        help="auto: by what INPUT is (default)")
    parser.add_argument("--mask", type=Path, metavar="MASK", help="for a picture: white on the object, black elsewhere")
    parser.add_argument("--models-folder", type=Path, metavar="DIR", help="for a picture: where `models` keeps weights")
    add_shared_arguments(parser, ViewsSettings, ImageSettings)


def add_shared_arguments(parser: argparse.ArgumentParser, *kinds: type) -> None:
    """Output, device and the like, and one option for each knob of the settings of the methods (`kinds`).

    What is not given is not among the parsed arguments, so that each method has defaults of its own.
    """
    parser.add_argument("-o", "--output", type=Path, action="append", required=True, metavar="OUT",
                        help="file to write: .glb, .obj, .ply, .stl, .npz, or .mp4 (a turn around it); several times")
    parser.add_argument("--turntable", type=Path, metavar="FOLDER",
                        help="write 30 pictures and a film of a turn around it")
    knobs = [knob for kind in kinds for knob in dataclasses.fields(kind)]
    for name in dict.fromkeys(knob.name for knob in knobs if knob.name != TURNTABLE):
        _add_option(parser, [knob for knob in knobs if knob.name == name])
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda:0", help="where to compute (default: auto)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    parser.add_argument("--debug", action="store_true", help="tell more, and show tracebacks")


def _add_option(parser: argparse.ArgumentParser, knobs: list[dataclasses.Field[Any]]) -> None:
    """One option for a knob that may be in several methods, with a default in each."""
    knob, facts = knobs[0], knobs[0].metadata
    if isinstance(knob.default, bool):
        parser.add_argument(_option(knob), dest=knob.name, default=argparse.SUPPRESS, help=facts["tip"],
                            action=argparse.BooleanOptionalAction if knob.default else "store_true")
        return
    defaults = " or ".join(dict.fromkeys(str(each.default or "none") if isinstance(each.default, str)
                                         else str(each.default) for each in knobs))
    parser.add_argument(_option(knob), dest=knob.name, type=type(knob.default), default=argparse.SUPPRESS,
                        choices=facts.get("choices"), help=f"{facts['tip']} (default: {defaults})".replace("%", "%%"),
                        metavar=None if facts.get("choices") else facts.get("unit", "n").upper())


def settings_from_arguments(kind: type[S], arguments: argparse.Namespace) -> S:
    """Of what was given; the rest keeps its defaults. Raises BadSettings."""
    names = [knob.name for knob in dataclasses.fields(kind) if knob.name != TURNTABLE]    # type: ignore[arg-type]
    return settings_from_mapping(kind, {name: getattr(arguments, name) for name in names if hasattr(arguments, name)})


def _option(knob: dataclasses.Field[Any]) -> str:
    return "--" + knob.metadata["label"].lower().replace(" ", "-")


def generate(arguments: argparse.Namespace) -> int:
    """Run the job and write the files. Returns the exit code (see __main__.main)."""
    return run_guarded(arguments, _generate)


def run_guarded(arguments: argparse.Namespace, command: Callable[[argparse.Namespace, Stop], int]) -> int:
    """Run a command so that every end of it is one line and an exit code (see __main__.main), and Ctrl-C stops it."""
    logging.basicConfig(level=logging.INFO if arguments.debug else logging.WARNING, stream=sys.stderr,
                        format="%(levelname)s %(name)s: %(message)s")
    try:
        with warnings.catch_warnings(), _stop_by_signal() as stop:
            if not arguments.debug:
                warnings.simplefilter("ignore")   # those of libraries: they speak to programmers
            return command(arguments, stop)
    except Cancelled:
        return _end(arguments, CANCELLED, 128 + (stop.number or signal.SIGINT))
    except BadInput as error:
        return _end(arguments, str(error), 2)
    except BridgeError as error:
        return _end(arguments, str(error), 1)
    except Exception as error:   # noqa: BLE001  the outermost edge: a line and an exit code; --debug adds the traceback
        if is_out_of_memory(error):
            return _end(arguments, "There is not enough memory. Try --device cpu, or a lower quality.", 1)
        return _end(arguments, f"Something went wrong inside Slipcast: {error!r}. --debug shows where.", 1)


def _end(arguments: argparse.Namespace, text: str, code: int) -> int:
    if arguments.debug and sys.exc_info()[0] is not None:
        log.exception("ended with code %d", code)
    sys.stderr.write(f"slipcast: {text}\n")
    return code


def _generate(arguments: argparse.Namespace, stop: Stop) -> int:
    method = ("views" if arguments.input.is_dir() else "image") if arguments.method == "auto" else arguments.method
    _check_options(arguments, method)
    return {"views": _generate_from_views, "image": _generate_from_image}[method](arguments, stop)


def _check_options(arguments: argparse.Namespace, method: str) -> None:
    """Raises BadSettings when an option was given that the method does not have."""
    other = {"views": ImageSettings, "image": ViewsSettings}[method]
    own = {knob.name for knob in dataclasses.fields(METHODS[method])}
    strange = [_option(knob) for knob in dataclasses.fields(other) if knob.name not in own
               and hasattr(arguments, knob.name)]
    if method == "views":
        strange += [option for option, value in (("--mask", arguments.mask),
                                                 ("--models-folder", arguments.models_folder)) if value is not None]
    if strange:
        what = "a folder of views" if method == "views" else "one picture"
        raise BadSettings(f"{', '.join(strange)} cannot be used with {what}.", "Leave it out, or give other input.")


def _generate_from_image(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(ImageSettings, arguments)
    outputs = checked_outputs(arguments)
    if not arguments.input.exists():
        raise BadImage(f"{arguments.input} does not exist.", "Give a picture, or a folder of views.")
    files = {"image": arguments.input} | ({} if arguments.mask is None else {"mask": arguments.mask})
    check_keeps_input(arguments, outputs, files.values())
    from .models.shelf import open_shelf
    from .pipeline.generate_image import generate_from_image, image_stages

    folder = arguments.models_folder
    shelf = open_shelf(None if folder is None else folder.expanduser())
    place = found_device(arguments)
    choice = shelf.choose(settings.model, place.device)
    return run_and_write(arguments, stop, Job("image", image_stages(choice.model.spec), outputs, place, lambda run:
                                              generate_from_image(files, settings, shelf, choice, run, place.device)))


def _generate_from_views(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(ViewsSettings, arguments)
    outputs = checked_outputs(arguments)
    files = collect_view_folder(arguments.input)
    check_keeps_input(arguments, outputs, files.values())
    from .pipeline.generate import STAGES, generate_from_views

    place = found_device(arguments)
    return run_and_write(arguments, stop, Job("views", STAGES, outputs, place, lambda run:
                                              generate_from_views(files, settings, run, place.device)))


class Place(NamedTuple):
    """A device that works; label: what a person calls it."""

    device: str
    label: str


@dataclasses.dataclass(frozen=True)
class Job:
    """method: what the summary calls it. outputs: files to write. work: does it at that place."""

    method: str
    stages: tuple[str, ...]
    outputs: list[Path]
    place: Place
    work: Callable[[Run], PipelineResult]


def checked_outputs(arguments: argparse.Namespace) -> list[Path]:
    """The files to write, each once. Raises BadOutput where one cannot be written."""
    from .pipeline.export import check_output

    outputs = list(dict.fromkeys(arguments.output))
    for path in outputs:
        check_output(path)
    return outputs


def run_and_write(arguments: argparse.Namespace, stop: Stop, job: Job) -> int:
    """Run a job with a display, write its files, tell what came of it. Returns 0. Raises BridgeError."""
    started = time.perf_counter()
    from .pipeline.export import write_mesh
    from .pipeline.progress import Run
    from .terminal import RunDisplay

    label = job.place.label
    with RunDisplay(sys.stderr if arguments.json else sys.stdout) as display:
        run = Run(job.stages, report=display.show, is_cancelled=lambda: bool(stop.number))
        result = job.work(run)
    stop.writing = True
    if stop.number:
        raise Cancelled("Cancelled before writing.")
    written = [file for path in job.outputs for file in write_mesh(path, result.textured)]
    if arguments.turntable is not None:
        from .pipeline.turntable import write_turn

        written += write_turn(arguments.turntable, result.textured)
    for text in result.warnings:
        display.say(f"Warning: {text}")
    seconds = time.perf_counter() - started
    display.say(f"{len(result.textured.mesh.faces):,} faces in {seconds:.1f} s on {label}: "
                + ", ".join(str(file) for file in written))
    if result.facts.get("light_evened"):
        display.say("A light that moved with the camera was taken out of the texture (--no-even-light keeps it).")
    if result.scores is not None:
        before, after = result.scores.before, result.scores.after
        display.say(f"On {len(result.scores.views)} views left out: outlines overlap by {before.iou:.3f} before, "
                    f"{after.iou:.3f} after; colours {before.psnr_db:.1f} dB before, {after.psnr_db:.1f} dB after, "
                    f"{result.scores.texture_psnr_db:.1f} dB with the texture in their light.")
    if arguments.json:
        sys.stdout.write(json.dumps(_summary(job.method, result, label, seconds, written)) + "\n")
    return 0


def check_keeps_input(arguments: argparse.Namespace, outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises BadOutput when a file to write (with what goes beside an .obj, or into the turntable's folder) is one of
    the pictures, cameras or the mesh that is read."""
    from .pipeline.export import files_beside

    inputs = list(inputs)
    if arguments.turntable is not None:
        from .pipeline.turntable import check_turntable

        check_turntable(arguments.turntable, inputs)
    kept = {path.resolve() for path in inputs}
    for path in outputs:
        lost = next((file for file in (path, *files_beside(path)) if file.resolve() in kept), None)
        if lost is not None:
            raise BadOutput(f"Writing {path} would overwrite {lost}, which is read.",
                            "Choose another name or place.")


def found_device(arguments: argparse.Namespace) -> Place:
    """That of --device, with all CPU threads. Raises BadSettings, EngineFailed."""
    from .runners import find_device

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Place(*find_device(arguments.device, threads))


def _summary(method: str, result: PipelineResult, device: str, seconds: float, written: list[Path]) -> dict[str, Any]:
    mesh = result.textured.mesh
    scores = {} if result.scores is None else {"scores": dataclasses.asdict(result.scores)}
    return {"job": uuid.uuid4().hex, "method": method, "device": device, "seconds": round(seconds, 3),
            "stages": [{"name": stage.name, "seconds": round(stage.seconds, 3)} for stage in result.stages],
            "vertices": len(mesh.vertices), "faces": len(mesh.faces), "files": [str(file) for file in written],
            "warnings": list(result.warnings), **result.facts, **scores}


@contextmanager
def _stop_by_signal() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for a stop. The process ends at once on a second one, and when the pipeline has not seen
    the first within STOP_PATIENCE_S (one call into a library may take longer)."""
    stop = Stop()
    timer = threading.Timer(STOP_PATIENCE_S, _end_process, (stop,))
    timer.daemon = True
    before: dict[int, Any] = {}

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if not stop.number:
            stop.number, stop.asked_s = number, time.monotonic()
            sys.stderr.write("\nStopping ...\n")
            timer.start()
        elif time.monotonic() - stop.asked_s > SAME_PRESS_S:
            os._exit(128 + number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask_to_stop)
    except ValueError:
        pass   # not the main thread: whoever started us handles signals
    try:
        yield stop
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_process(stop: Stop) -> None:
    if stop.writing:
        return   # a moment, and then there is something to show for it
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            stream.write(SHOW_CURSOR)
    sys.stderr.write(f"slipcast: {CANCELLED}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + stop.number)
