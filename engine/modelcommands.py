"""The command `models`: what there is, and its weights on this disk."""
from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bridge.errors import BadHeader, BadInput, BadSettings, BridgeError, WeightsMissing
from ..bridge.messages import Limits
from ..bridge.strict_json import dump_json, parse_json
from .modellines import run_in_lines, tell_error
from .models.registry import Models, find_models
from .models.shelf import default_models_folder
from .models.spec import GB, MB, ModelSpec, describe_model
from .models.weights import Source, WeightStore
from .pipeline.progress import Run, Stage

_REASON_CHARS = 1000    # somebody else's words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `models`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, default=default_models_folder(), metavar="DIR",
                        help="where weights are kept (default: %(default)s)")
    shared.add_argument("--debug", action="store_true", help="tell more")
    shared.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)   # for the engine: see modellines.py
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|fetch|verify|remove")
    listing = actions.add_parser("list", parents=[shared], help="models, their licences, sizes, and what is here")
    listing.add_argument("--json", action="store_true", help="as JSON, with the settings of each")
    fetch = actions.add_parser("fetch", parents=[shared], help="download the weights of a model")
    fetch.add_argument("--mirror", default="", metavar="URL", help="download from this host instead")
    fetch.add_argument("--offline", action="store_true", help="never use the network")
    fetch.add_argument("--from", dest="place", type=Path, metavar="PATH", help="take the file, or folder, you have")
    fetch.add_argument("--accept-licence", action="store_true", help="you have read it; asked for where it forbids "
                       "commercial use")
    verify = actions.add_parser("verify", parents=[shared], help="compare the weights with what was published")
    remove = actions.add_parser("remove", parents=[shared], help="delete the weights of a model")
    for action in (fetch, verify, remove):
        action.add_argument("name", metavar="NAME", help="of the model, as `models list` shows it")


def run(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code: 0 done, 1 failed, 2 bad usage or input, 130 stopped with Ctrl-C."""
    logging.basicConfig(level=logging.INFO if arguments.debug else logging.ERROR, stream=sys.stderr,
                        format="%(levelname)s %(name)s: %(message)s")
    store = WeightStore(arguments.folder.expanduser())
    try:
        models = find_models()
        if arguments.action == "list":
            return _list(store, models, arguments.json)
        spec = models.spec(arguments.name)
        return {"fetch": _fetch, "verify": _verify, "remove": _remove}[arguments.action](store, spec, arguments)
    except KeyboardInterrupt:
        return _end("Stopped. What a download has brought so far is kept; fetch again to go on.", 128 + signal.SIGINT)
    except BridgeError as error:
        if arguments.lines:
            return tell_error(error)
        return _end(str(error), 2 if isinstance(error, BadInput) else 1)


def _end(text: str, code: int) -> int:
    sys.stderr.write(f"slipcast: {text}\n")
    return code


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _list(store: WeightStore, models: Models, as_json: bool) -> int:
    described, lines, broken = [], [], dict(models.broken)
    for spec in models.specs:
        try:
            line = f"{_facts(spec)}; {'ready' if _is_ready(store, spec) else 'not fetched'}"
            described.append(_as_sent(describe_model(spec) | _what_is_there(store, spec)))
        except (AttributeError, TypeError, ValueError, BadHeader) as error:   # of a plug-in that states nonsense
            broken[spec.name] = f"what it states of itself cannot be read: {error}"
        else:
            lines.append(line)
    broken = {name: reason[:_REASON_CHARS].encode("utf-8", "replace").decode() for name, reason in broken.items()}
    if as_json:
        _say(json.dumps({"models": described, "broken": broken}))
        return 0
    for line in (*lines, *(f"{name}: cannot be used: {reason}" for name, reason in broken.items())):
        _say(line)
    return 0


def _as_sent(facts: dict[str, Any]) -> dict[str, Any]:
    """The same, as the bridge carries it. Raises BadHeader when it cannot: no JSON, or a number that is not finite."""
    return parse_json(dump_json(facts), Limits().header_bytes)


def _facts(spec: ModelSpec) -> str:
    commercial = "" if spec.commercial_use else ", no commercial use"
    gpu = f" or {spec.vram_bytes / GB:.1f} GB on a GPU" if spec.vram_bytes else ""     # else it never runs on one
    return (f"{spec.name}: {spec.title}, licence {spec.licence}{commercial} ({spec.licence_url}), download "
            f"{spec.download_bytes / MB:,.0f} MB, needs {spec.ram_bytes / GB:.1f} GB of memory on the CPU{gpu}")


def _what_is_there(store: WeightStore, spec: ModelSpec) -> dict[str, Any]:
    states = store.states(spec)
    return {"ready": _is_ready(store, spec), "damaged": any(found.state == "damaged" for found in states),
            "bytes_there": sum(found.bytes_there for found in states)}


def _is_ready(store: WeightStore, spec: ModelSpec) -> bool:
    return all(found.state == "ready" for found in store.states(spec))


def _fetch(store: WeightStore, spec: ModelSpec, arguments: argparse.Namespace) -> int:
    _say(_facts(spec))
    if not spec.commercial_use and not arguments.accept_licence:
        raise BadSettings(f"The licence of {spec.title} forbids commercial use.",
                          f"Read {spec.licence_url}, and add --accept-licence if you agree.")
    if arguments.place is not None:
        place = arguments.place.expanduser()
        _staged("copy", lambda stage: store.adopt(spec, place, stage), arguments.lines)
    else:
        source = Source(arguments.mirror, arguments.offline)
        _staged("download", lambda stage: store.fetch(spec, source, stage), arguments.lines)
    _say(f"{spec.title} is ready.")
    return 0


def _verify(store: WeightStore, spec: ModelSpec, arguments: argparse.Namespace) -> int:
    _staged("verify", lambda stage: store.verify(spec, stage), arguments.lines)
    _say(f"{spec.title} is as its author published it.")
    return 0


def _remove(store: WeightStore, spec: ModelSpec, arguments: argparse.Namespace) -> int:
    freed = store.remove(spec)
    if not freed and not arguments.lines:    # a client may ask twice, and is told what is there
        raise WeightsMissing(f"There is nothing of {spec.title} in {arguments.folder}.")
    _say(f"{spec.title} is removed: {freed / MB:,.0f} MB are free again.")
    return 0


def _staged(name: str, work: Callable[[Stage], None], as_lines: bool) -> None:
    if as_lines:
        run_in_lines(name, work)
        return
    from .terminal import RunDisplay

    with RunDisplay(sys.stdout) as display:
        run_of_one = Run((name,), report=display.show)
        with run_of_one.stage(name, unit="MB") as stage:
            work(stage)
