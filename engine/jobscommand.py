"""The command `jobs`: the results kept on this machine."""
from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bridge.codec import to_plain
from ..bridge.connection import default_connection_path, default_data_folder
from ..bridge.errors import BadInput, BadOutput, BadSettings, BridgeError, UnknownJob
from ..bridge.filenames import file_name, result_folder_name
from ..bridge.messages import JobInfo
from ..bridge.settings import METHODS
from .contactsheet import PICTURES, Card, contact_sheet, facts, when
from .history import History, StoredHistory, find_job, open_history

_OWN_SUFFIXES = (".glb", ".obj", ".stl", ".ply")
MESH = ("vertices", "faces", "corner_uvs", "base_color", "normal_map")
_JOB_HELP = "the first digits of its id, as `jobs list` shows it, or last"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jobs`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, default=default_data_folder(), metavar="DIR",
                        help="where the engine keeps jobs and results (default: %(default)s)")
    shared.add_argument("--connection", type=Path, default=default_connection_path(), metavar="FILE",
                        help="of the engine, should it run (default: %(default)s)")
    shared.add_argument("--debug", action="store_true", help="tell more")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|export|sheet|rerun|delete")
    listing = actions.add_parser("list", parents=[shared], help="all jobs, newest first")
    show = actions.add_parser("show", parents=[shared], help="settings, licence, times and files of one job")
    export = actions.add_parser("export", parents=[shared], help="write a result to files")
    sheet = actions.add_parser("sheet", parents=[shared], help="all jobs with their pictures as one HTML page")
    rerun = actions.add_parser("rerun", parents=[shared], help="the same inputs once more, with other settings")
    delete = actions.add_parser("delete", parents=[shared], help="delete jobs that have ended, with their files")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="as JSON")
    for action in (show, export, rerun):
        action.add_argument("job", metavar="JOB", help=_JOB_HELP)
    delete.add_argument("jobs", metavar="JOB", nargs="+", help=_JOB_HELP)
    export.add_argument("-o", "--output", type=Path, action="append", default=[], metavar="OUT",
                        help="file to write: .glb, .obj (with .mtl and pictures), .stl, .ply, .npz or .mp4; several "
                        "times. Without any: all but .npz, and the turntable, into results/NAME of the data folder")
    export.add_argument("--turntable", type=Path, metavar="FOLDER", help="write 30 pictures and a film of a turn")
    sheet.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .html file to write")
    rerun.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE",
                       help="a setting that is to differ; several times")


def run(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code: 0 done, 1 failed, 2 bad usage or input, 130 stopped with Ctrl-C."""
    logging.basicConfig(level=logging.INFO if arguments.debug else logging.ERROR, stream=sys.stderr,
                        format="%(levelname)s %(name)s: %(message)s")
    actions = {"list": _list, "show": _show, "export": _export, "sheet": _sheet, "rerun": _rerun, "delete": _delete}
    try:
        with open_history(arguments.data.expanduser(), arguments.connection.expanduser()) as history:
            actions[arguments.action](history, arguments)
    except KeyboardInterrupt:
        return _end("Stopped.", 128 + signal.SIGINT)
    except BridgeError as error:
        usage = isinstance(error, (BadInput, BadOutput, BadSettings, UnknownJob))
        return _end(str(error), 2 if usage else 1)
    return 0


def _end(text: str, code: int) -> int:
    sys.stderr.write(f"slipcast: {text}\n")
    return code


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _list(history: History, arguments: argparse.Namespace) -> None:
    jobs = history.jobs()
    if arguments.json:
        _say(json.dumps([to_plain(info) for info in jobs]))
        return
    for info in jobs:
        _say(f"{info.job[:8]}  {when(info.created_s)}  {info.state:<10}  {info.method:<7} {info.bytes / 1e6:8.1f} MB  "
             f"{_one_line(info.label or '')}")
    if not jobs:
        _say("No jobs yet.")


def _one_line(text: str) -> str:
    """Without what would move the cursor of a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _show(history: History, arguments: argparse.Namespace) -> None:
    info = find_job(history.jobs(), arguments.job)
    if arguments.json:
        _say(json.dumps(to_plain(info)))
        return
    rows = {"input": info.label or "-", **facts(info)}
    rows |= {f"file {item.name}": f"{item.media_type}, {item.size:,} bytes" for item in info.artefacts}
    for name, text in rows.items():
        _say(f"{name + ':':<24} {_one_line(text)}")


def _export(history: History, arguments: argparse.Namespace) -> None:
    info = find_job(history.jobs(), arguments.job)
    from .pipeline.export import check_output, write_mesh
    from .pipeline.thumbnails import textured_from_artefacts
    from .pipeline.turntable import check_turntable, write_turn

    for path in arguments.output:
        check_output(path)
    if arguments.turntable is not None:
        check_turntable(arguments.turntable)
    textured = textured_from_artefacts(history.artefacts(info, MESH))
    if textured is None:
        raise UnknownJob(f"Job {info.job[:8]} ({info.state}) has no textured mesh to write.",
                         "Choose one that is done.")
    if not arguments.output and arguments.turntable is None:
        _choose_own_folder(info, arguments)
    written = [file for path in dict.fromkeys(arguments.output) for file in write_mesh(path, textured)]
    if arguments.turntable is not None:
        written += write_turn(arguments.turntable, textured)
    _say("Written: " + ", ".join(map(str, written)))


def _choose_own_folder(info: JobInfo, arguments: argparse.Namespace) -> None:
    """Nothing was named: all there is, into the job's own folder below that of the data. Raises BadOutput."""
    label = info.label or info.method
    folder = arguments.data.expanduser() / "results" / result_folder_name(label, info.job)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOutput(f"The folder {folder} cannot be made ({error.strerror}).", "Name files with -o.") from error
    arguments.output = [folder / f"{file_name(label)}{suffix}" for suffix in _OWN_SUFFIXES]
    arguments.turntable = folder


def _sheet(history: History, arguments: argparse.Namespace) -> None:
    if arguments.output.suffix.lower() not in (".html", ".htm"):
        raise BadOutput(f"{arguments.output.name} is no name of a web page.", "Let it end in .html.")
    cards = [Card(info, history.artefacts(info, PICTURES)) for info in history.jobs()]
    from .pipeline.export import write_all

    write_all({arguments.output: contact_sheet(cards).encode()})
    _say(f"{len(cards)} jobs in {arguments.output}")


def _rerun(history: History, arguments: argparse.Namespace) -> None:
    source = find_job(history.jobs(), arguments.job)
    info = history.rerun(source, _changes(source, arguments.changes))
    waits = isinstance(history, StoredHistory)
    _say(f"Job {info.job[:8]} is queued" + ("; it runs when the engine starts next." if waits else "."))


def _changes(source: JobInfo, given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts as settings of the job's method, in the type of each default. Raises BadSettings."""
    kind = METHODS.get(source.method)
    knobs = {knob.name: knob for knob in dataclasses.fields(kind)} if kind is not None else {}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in knobs:
            raise BadSettings(f"{text!r} is no setting of method {source.method}.",
                              f"Write NAME=VALUE with one of {', '.join(knobs)}.")
        found[name] = _value(name, value, type(knobs[name].default))
    return found


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadSettings(f"{name} is either true or false, not {text!r}.")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise BadSettings(f"{name} is a number, not {text!r}.") from None


def _delete(history: History, arguments: argparse.Namespace) -> None:
    jobs = history.jobs()
    chosen = {info.job: info for info in (find_job(jobs, name) for name in arguments.jobs)}   # all, before any is gone
    for info in chosen.values():
        history.delete(info)
        _say(f"Job {info.job[:8]} is deleted.")
