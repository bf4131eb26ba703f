"""`blender -c slipcast batch FOLDER -o OUT`, and the same as a function for the bpy module and `blender -b`.

FOLDER holds view folders, pictures (each becomes a mesh of its own), or both.

    from bl_ext.user_default.slipcast.addon import cli
    exit_code = cli.batch(["FOLDER", "-o", "OUT", "--quality", "draft"])

Exit code 0: all done; 1: some failed; 2: bad usage. It opens new, empty files: the open one is left.
"""
from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ..bridge import VERSION
from ..bridge.errors import BadOutput, BridgeError
from .batch_inputs import BatchInput, find_inputs, given_settings, make_parser, settings_of
from .job import GenerateRequest, Outcome
from .operators.generate import run_job
from .scene.results import Placement

log = logging.getLogger(__name__)

COMMAND = "slipcast"
ALL_DONE, SOME_FAILED, BAD_USAGE = 0, 1, 2
REPORT_NAME = "report.json"

_handle: Any = None     # of the registered command


@dataclasses.dataclass(frozen=True)
class Report:
    """One line of the table. error is None when it went well; then blend and glb are there."""

    made_from: BatchInput
    settings: Any
    seconds: float
    outcome: Outcome | None = None
    blend: Path | None = None
    glb: Path | None = None
    error: BridgeError | None = None


def main(argv: Sequence[str]) -> int:
    """What `blender -c slipcast ...` runs; returns the exit code."""
    if argv and argv[0] == "batch":
        return batch(argv[1:])
    print("usage: blender -c slipcast batch FOLDER -o OUT [--quality ...]", file=sys.stderr)
    return ALL_DONE if argv and argv[0] in ("-h", "--help") else BAD_USAGE


def batch(argv: Sequence[str]) -> int:
    """Make a .blend and a .glb of each view folder and picture in a folder, also after a failure; write report.json."""
    try:
        given = make_parser().parse_args(list(argv))
    except SystemExit as ending:  # argparse has said why
        return BAD_USAGE if ending.code else ALL_DONE
    try:
        knobs = given_settings(given)
        jobs = [(found, settings_of(found.method, knobs)) for found in find_inputs(given.folder)]
        _make_folder(given.out)
    except BridgeError as error:
        print(f"slipcast: {error}", file=sys.stderr)
        return BAD_USAGE
    reports = [_run_one(found, given, settings) for found, settings in jobs]
    _write_report(given.out / REPORT_NAME, reports, knobs)
    print(_table(reports))
    return SOME_FAILED if any(report.error for report in reports) else ALL_DONE


def _run_one(found: BatchInput, given: argparse.Namespace, settings: Any) -> Report:
    started_s = time.monotonic()
    try:
        outcome = _generate(found, given, settings)
        blend, glb = given.out / f"{found.name}.blend", given.out / f"{found.name}.glb"
        _save(outcome.object_name, blend, glb)
    except BridgeError as error:
        log.info("%s failed: %s", found.path, error)
        print(f"slipcast: {found.name}: {error}", file=sys.stderr)
        return Report(found, settings, time.monotonic() - started_s, error=error)
    return Report(found, settings, time.monotonic() - started_s, outcome, blend, glb)


def _generate(found: BatchInput, given: argparse.Namespace, settings: Any) -> Outcome:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    placement = Placement(found.name, target_size=given.target_size, import_cameras=given.import_cameras)
    outcome = run_job(GenerateRequest(found.path.absolute(), settings, placement, method=found.method,
                                      files=found.files))
    assert outcome is not None     # there is no window
    return outcome


def _save(object_name: str, blend: Path, glb: Path) -> None:
    """Raises BadOutput when a file cannot be written; a file of an earlier batch is replaced."""
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(blend), check_existing=False, compress=True)
        bpy.ops.object.select_all(action="DESELECT")
        bpy.data.objects[object_name].select_set(True)
        bpy.ops.export_scene.gltf(filepath=str(glb), export_format="GLB", use_selection=True)
    except (RuntimeError, OSError) as error:
        raise BadOutput(f"{blend.stem} could not be saved: {error}.",
                        f"Is there room, and may you write, in {blend.parent}?") from error


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{REPORT_NAME}.part"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise BadOutput(f"Cannot write to {out}: {error.strerror}.", "Choose another folder with -o.") from error


def _write_report(path: Path, reports: Sequence[Report], knobs: dict[str, Any]) -> None:
    """knobs: those that were given; each entry has the complete settings of its method."""
    entries = [_entry(report) for report in reports]
    report = {"slipcast": VERSION, "blender": bpy.app.version_string, "settings": knobs,
              "done": sum(entry["state"] == "done" for entry in entries), "of": len(entries), "results": entries}
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _entry(report: Report) -> dict[str, Any]:
    found = report.made_from
    entry: dict[str, Any] = {"folder" if found.method == "views" else "picture": str(found.path),
                             "method": found.method, "settings": dataclasses.asdict(report.settings),
                             "seconds": round(report.seconds, 3)}
    if report.error is not None:
        return entry | {"state": "failed", "error": {"code": report.error.code, "message": report.error.message,
                                                     "hint": report.error.hint}}
    assert report.outcome is not None
    return entry | {"state": "done", "blend": str(report.blend), "glb": str(report.glb),
                    "vertices": report.outcome.vertices, "faces": report.outcome.faces, "device": report.outcome.device,
                    "stages": [list(stage) for stage in report.outcome.stages],
                    "warnings": list(report.outcome.warnings)}


def _table(reports: Sequence[Report]) -> str:
    width = max(5, *(len(report.made_from.name) for report in reports))
    lines = [f"{'input':<{width}}  {'seconds':>8}  {'faces':>8}  result"]
    for report in reports:
        faces = f"{report.outcome.faces:>8}" if report.outcome else f"{'-':>8}"
        result = report.error.message if report.error else f"{report.blend}, {report.glb}"
        lines.append(f"{report.made_from.name:<{width}}  {report.seconds:>8.1f}  {faces}  {result}")
    return "\n".join(lines)


def register() -> None:
    global _handle
    _handle = bpy.utils.register_cli_command(COMMAND, main)


def unregister() -> None:
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
    _handle = None
