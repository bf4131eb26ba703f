"""`python -m slipcast.engine serve | generate | refine | bake | models | jobs`. Everything heavy is imported late."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; argv: without the program's name, None = those of this process.

    Returns the exit code: 0 done, 1 failed, 2 bad usage or input, 130 stopped with Ctrl-C.
    """
    from .bakecommand import add_bake_arguments
    from .commands import add_generate_arguments
    from .refinecommand import add_refine_arguments

    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="slipcast.engine", description="The compute engine of Slipcast.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|generate|refine|bake|models|jobs")
    serve = commands.add_parser("serve", help="do jobs for Blender and other clients")
    generate = commands.add_parser("generate", help="make a textured mesh from a folder of views, here and now")
    models = commands.add_parser("models", help="single-image models: list them, fetch, verify, remove their weights")
    jobs = commands.add_parser("jobs", help="what was made before: list, show, export, run again, delete")
    commands.add_parser("worker")   # started by serve
    refine = commands.add_parser("refine", help="fit a mesh that there is to a folder of views, here and now")
    bake = commands.add_parser("bake", help="paint a mesh that there is from a folder of views, here and now")
    add_bake_arguments(bake)
    add_generate_arguments(generate)
    add_refine_arguments(refine)
    wanted = argv[0] if argv else ""
    if wanted == "serve":
        from .server import add_arguments

        add_arguments(serve)
    if wanted == "models":
        from .modelcommands import add_arguments as add_model_arguments

        add_model_arguments(models)
    if wanted == "jobs":
        from .jobscommand import add_arguments as add_job_arguments

        add_job_arguments(jobs)
    arguments = parser.parse_args(argv)
    if arguments.command == "serve":
        from .server import run

        return run(arguments)
    if arguments.command == "worker":
        from .worker import main as work

        return work()
    if arguments.command == "models":
        from .modelcommands import run as run_models

        return run_models(arguments)
    if arguments.command == "refine":
        from .refinecommand import refine as run_refine

        return run_refine(arguments)
    if arguments.command == "bake":
        from .bakecommand import bake as run_bake

        return run_bake(arguments)
    if arguments.command == "jobs":
        from .jobscommand import run as run_jobs

        return run_jobs(arguments)
    from .commands import generate as run_generate

    return run_generate(arguments)


if __name__ == "__main__":
    sys.exit(main())
