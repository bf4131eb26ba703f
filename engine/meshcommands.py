"""The commands `refine` and `bake`: a mesh that there is, fitted to its views or painted from them, in this process."""
from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ..bridge.folders import collect_view_folder
from ..bridge.settings import BakeSettings, RefineMeshSettings
from .commands import (
    Job,
    Stop,
    add_shared_arguments,
    check_keeps_input,
    checked_outputs,
    found_device,
    run_and_write,
    run_guarded,
    settings_from_arguments,
)


def add_refine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `refine`; those of the method come from its settings."""
    _add_inputs(parser, "fit")
    add_shared_arguments(parser, RefineMeshSettings)
    parser.add_argument("--scores", action=argparse.BooleanOptionalAction, default=None,
                        help="leave every 8th view out of the fit and judge the mesh by it, before and after (default: "
                             "with --json only)")


def add_bake_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bake`; those of the method come from its settings."""
    _add_inputs(parser, "paint")
    add_shared_arguments(parser, BakeSettings)


def refine(arguments: argparse.Namespace) -> int:
    """Run the job and write the files. Returns the exit code (see __main__.main)."""
    return run_guarded(arguments, _refine)


def bake(arguments: argparse.Namespace) -> int:
    """Run the job and write the files. Returns the exit code (see __main__.main)."""
    return run_guarded(arguments, _bake)


def _refine(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(RefineMeshSettings, arguments)
    outputs = checked_outputs(arguments)
    files = _collect_inputs(arguments, outputs)
    from .pipeline.refine_job import SCORED_STAGES, STAGES, refine_from_views

    place = found_device(arguments)
    score = arguments.json if arguments.scores is None else arguments.scores
    return run_and_write(arguments, stop, Job("refine", SCORED_STAGES if score else STAGES, outputs, place, lambda run:
                                              refine_from_views(files, settings, run, place.device, score)))


def _bake(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(BakeSettings, arguments)
    outputs = checked_outputs(arguments)
    files = _collect_inputs(arguments, outputs)
    from .pipeline.bake_job import STAGES, bake_from_views

    place = found_device(arguments)
    return run_and_write(arguments, stop, Job("bake", STAGES, outputs, place, lambda run:
                                              bake_from_views(files, settings, run, place.device)))


def _add_inputs(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("mesh", type=Path, metavar="MESH", help=f"the mesh to {verb}: .glb, .obj, .ply, .stl or .npz")
    parser.add_argument("views", type=Path, metavar="VIEWS",
                        help="folder of views: transforms.json or a COLMAP model, beside its images")


def _collect_inputs(arguments: argparse.Namespace, outputs: Iterable[Path]) -> dict[str, Path]:
    """Label -> file of the views and the mesh. Raises BadInput (its leaves), BadOutput: none may be written over."""
    files = collect_view_folder(arguments.views)
    from .pipeline.mesh_files import check_mesh_file
    from .pipeline.refine_job import mesh_label

    check_mesh_file(arguments.mesh)
    check_keeps_input(arguments, outputs, [*files.values(), arguments.mesh])
    return {**files, mesh_label(arguments.mesh.suffix): arguments.mesh}
