"""Start the engine by file path: `python -P <root>/engine/start.py serve ...`.

The root folder is the package `slipcast` whatever it is called on disk, and nothing beside it becomes importable:
the package is loaded from its own location and no path is added to sys.path.
"""
from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "slipcast"


def load_package() -> None:
    """Make the package that this file lies in importable as `slipcast`. Does nothing when it is loaded already."""
    if PACKAGE in sys.modules:
        return
    root = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def main(argv: Sequence[str]) -> int:
    """Hand over to `python -m slipcast.engine`."""
    load_package()
    return importlib.import_module(f"{PACKAGE}.engine.__main__").main(list(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
