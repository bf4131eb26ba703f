"""`python -m slipcast.engine serve | generate | refine | bake | models | jobs`. Everything heavy is imported late."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

_HELP = {
    "serve": "do jobs for Blender and other clients",
    "generate": "make a textured mesh from a folder of views, here and now",
    "refine": "fit a mesh that there is to a folder of views, here and now",
    "bake": "paint a mesh that there is from a folder of views, here and now",
    "models": "single-image models: list them, fetch, verify, remove their weights",
    "jobs": "what was made before: list, show, export, run again, delete",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; argv: without the program's name, None = those of this process.

    Returns the exit code: 0 done, 1 failed, 2 bad usage or input, 130 stopped with Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="slipcast.engine", description="The compute engine of Slipcast.")
    commands = parser.add_subparsers(required=True, metavar="|".join(_HELP))
    parsers = {name: commands.add_parser(name, help=text) for name, text in _HELP.items()}
    parsers["worker"] = commands.add_parser("worker")   # started by serve
    wanted = next((word for word in argv if word in parsers), None)
    run = None if wanted is None else _prepare(wanted, parsers[wanted])
    arguments = parser.parse_args(argv)
    assert run is not None, "the parser takes no other command"
    return run(arguments)


def _prepare(command: str, parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Give the command its options; returns what runs it. Of the others nothing is imported."""
    if command == "worker":
        from .worker import main as work

        return lambda arguments: work()
    if command == "serve":
        from .server import add_arguments, run
    elif command == "models":
        from .modelcommands import add_arguments, run
    elif command == "jobs":
        from .jobscommand import add_arguments, run
    elif command == "refine":
        from .meshcommands import add_refine_arguments as add_arguments
        from .meshcommands import refine as run
    elif command == "bake":
        from .meshcommands import add_bake_arguments as add_arguments
        from .meshcommands import bake as run
    else:
        from .commands import add_generate_arguments as add_arguments
        from .commands import generate as run
    add_arguments(parser)
    return run


if __name__ == "__main__":
    sys.exit(main())
