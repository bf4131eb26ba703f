"""The command `refine`: an artist's mesh fitted to its views, in this process."""
from __future__ import annotations

import argparse
from pathlib import Path

from ..bridge.folders import collect_view_folder
from ..bridge.settings import RefineMeshSettings
from .commands import (
    Job,
    Stop,
    add_shared_arguments,
    check_keeps_input,
    checked_outputs,
    run_and_write,
    run_guarded,
    settings_from_arguments,
)


def add_refine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `refine`; those of the method come from its settings."""
    parser.add_argument("mesh", type=Path, metavar="MESH", help="the mesh to fit: .glb, .obj, .ply, .stl or .npz")
    parser.add_argument("views", type=Path, metavar="VIEWS",
                        help="folder of views: transforms.json or a COLMAP model, beside its images")
    add_shared_arguments(parser, RefineMeshSettings)
    parser.add_argument("--scores", action=argparse.BooleanOptionalAction, default=None,
                        help="leave every 8th view out of the fit and judge the mesh by it, before and after (default: "
                             "with --json only)")


def refine(arguments: argparse.Namespace) -> int:
    """Run the job and write the files. Returns the exit code (see __main__.main)."""
    return run_guarded(arguments, _refine)


def _refine(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(RefineMeshSettings, arguments)
    outputs = checked_outputs(arguments)
    files = collect_view_folder(arguments.views)
    from .pipeline.mesh_files import check_mesh_file
    from .pipeline.refine_job import SCORED_STAGES, STAGES, mesh_label, refine_from_views

    check_mesh_file(arguments.mesh)
    check_keeps_input(arguments, outputs, [*files.values(), arguments.mesh])
    files[mesh_label(arguments.mesh.suffix)] = arguments.mesh
    score = arguments.json if arguments.scores is None else arguments.scores
    return run_and_write(arguments, stop, Job("refine", SCORED_STAGES if score else STAGES, outputs, lambda run, device:
                                              refine_from_views(files, settings, run, device, score)))
