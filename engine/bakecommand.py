"""The command `bake`: the colours of views on a mesh that there is, in this process."""
from __future__ import annotations

import argparse
from pathlib import Path

from ..bridge.folders import collect_view_folder
from ..bridge.settings import BakeSettings
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


def add_bake_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bake`; those of the method come from its settings."""
    parser.add_argument("mesh", type=Path, metavar="MESH", help="the mesh to paint: .glb, .obj, .ply, .stl or .npz")
    parser.add_argument("views", type=Path, metavar="VIEWS",
                        help="folder of views: transforms.json or a COLMAP model, beside its images")
    add_shared_arguments(parser, BakeSettings)


def bake(arguments: argparse.Namespace) -> int:
    """Run the job and write the files. Returns the exit code (see __main__.main)."""
    return run_guarded(arguments, _bake)


def _bake(arguments: argparse.Namespace, stop: Stop) -> int:
    settings = settings_from_arguments(BakeSettings, arguments)
    outputs = checked_outputs(arguments)
    files = collect_view_folder(arguments.views)
    from .pipeline.bake_job import STAGES, bake_from_views
    from .pipeline.mesh_files import check_mesh_file
    from .pipeline.refine_job import mesh_label

    check_mesh_file(arguments.mesh)
    check_keeps_input(arguments, outputs, [*files.values(), arguments.mesh])
    files[mesh_label(arguments.mesh.suffix)] = arguments.mesh
    return run_and_write(arguments, stop, Job("bake", STAGES, outputs, lambda run, device:
                                              bake_from_views(files, settings, run, device)))
