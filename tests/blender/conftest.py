"""The Blender ring: the built zip is installed into a clean Blender, and what runs in it runs in a process of its own.

Blender is the bpy module of the Python that runs the ring (5.0 in .venv, and .venv-4.2, .venv-4.5, .venv-5.2).
"""
from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).resolve().parent / "inside"
collect_ignore = ["inside"]   # run by test_inside.py, each file in a Blender of its own
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "SLIPCAST_ENGINE_PYTHON", "BLENDER_USER_RESOURCES", "PYTEST_ADDOPTS")

# Blender 4.2 as a module dies while it ends once its glTF exporter has run, without Slipcast, too.
DIES_AT_THE_END = version("bpy").startswith("4.2.")

RunInside = Callable[..., str]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"} | dict(extra)


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip for this Blender's generation, built as a person would build it."""
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    assert spec is not None and spec.loader is not None
    build_addon = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = build_addon  # dataclasses look their module up
    spec.loader.exec_module(build_addon)
    zips = build_addon.build([build_addon.this_platform()], tmp_path_factory.mktemp("dist"))
    generations = dict(zip((generation.name for generation in build_addon.GENERATIONS), zips))
    return generations["blender-4.2-to-5.0" if sys.version_info < (3, 12) else "blender-5.1-and-later"]


@pytest.fixture
def run_inside(extension_zip: Path, tmp_path: Path) -> RunInside:
    """run_inside("check_x.py", timeout_s=..., NAME=value...): run a file of inside/ with pytest in a clean Blender.

    Names in capitals are environment variables. Returns what it wrote; fails with it when a check in it fails.
    """
    def run(name: str, timeout_s: float = 120.0, **variables: str) -> str:
        command = [sys.executable, "-P", "-m", "pytest", "-q", "--durations=12", "-p", "no:cacheprovider",
                   "-c", os.devnull, "--rootdir", str(INSIDE), "--confcutdir", str(INSIDE),
                   "--basetemp", str(tmp_path / "inside"), str(INSIDE / name)]
        environment = _environment({"BLENDER_USER_RESOURCES": str(tmp_path / "blender"),
                                    "SLIPCAST_TEST_ZIP": str(extension_zip), **variables})
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
                              timeout=timeout_s)
        output = done.stdout + done.stderr
        passed = re.search(r"^\d+ passed in ", output, re.MULTILINE)
        if DIES_AT_THE_END and done.returncode == -signal.SIGSEGV and passed:
            return output
        assert done.returncode == 0, f"{name} ended with {done.returncode}\n{output}"
        return output

    return run
