"""The import graph: addon -> bridge <- engine, and nothing else."""
from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WINGS = ("addon", "bridge", "engine")
MAY_USE = {"addon": {"addon", "bridge"}, "bridge": {"bridge"}, "engine": {"engine", "bridge"}}
# Modules that come with Blender itself; nothing else may the add-on ask for.
WITH_BLENDER = {"bpy", "bpy_extras", "bl_ui", "blf", "bmesh", "gpu", "gpu_extras", "mathutils", "numpy"}

# What a person may install by hand, and the one module that asks for it and says in words when it is not there.
BY_HAND = {"engine/render/nvdiffrast_backend.py": {"nvdiffrast"}}


def imports_of(source: str, package: tuple[str, ...]) -> list[str]:
    """Absolute dotted names of all imports in `source`, also those inside functions. package: of the module."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1]
            stem = (*base, node.module) if node.module else base
            names += [".".join((*stem, alias.name)) for alias in node.names] if len(stem) < 2 else [".".join(stem)]
    return names


def wrong_imports(wing: str, source: str, package: tuple[str, ...], third_party: set[str]) -> list[str]:
    """Imports that a module of `wing` must not have. third_party: top-level modules from outside that it may use."""
    wrong = []
    tree_names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level == 0]
    for name in imports_of(source, package):
        top, *rest = name.split(".")
        if top == "slipcast":
            inside = rest[0] if rest else ""
            if inside in WINGS and inside not in MAY_USE[wing]:
                wrong.append(name)
        elif top != "__future__" and top not in sys.stdlib_module_names and top not in third_party:
            wrong.append(name)
    wrong += [f"absolute {node.module}" for node in tree_names if (node.module or "").split(".")[0] == "slipcast"]
    return wrong


def declared_modules() -> set[str]:
    """Top-level modules of the distributions that pyproject.toml names as dependencies, extras for users too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [*project["dependencies"], *project["optional-dependencies"]["cutout"]]
    spelled = {entry.split(">")[0].split("=")[0].strip() for entry in entries}
    declared = {normal(name) for name in spelled}
    installed = {module for module, names in packages_distributions().items() if declared & set(map(normal, names))}
    # Python 3.11 does not list a module that is one compiled file (xatlas); those are named as their distribution.
    return installed | {name.replace("-", "_") for name in declared | spelled}


def normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def modules_of(wing: str) -> list[Path]:
    return sorted(path for path in (ROOT / wing).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_only_what_it_may(wing: str):
    third_party = {"addon": WITH_BLENDER, "bridge": {"zmq"}, "engine": declared_modules()}[wing]
    wrong = {}
    for path in modules_of(wing):
        package = ("slipcast", *path.relative_to(ROOT).parent.parts)
        name = path.relative_to(ROOT).as_posix()
        allowed = third_party | BY_HAND.get(name, set())
        if found := wrong_imports(wing, path.read_text(encoding="utf-8"), package, allowed):
            wrong[name] = found
    assert not wrong
    assert len(modules_of(wing)) > 3       # the folder was really looked at


@pytest.mark.parametrize(("wing", "source"), [
    ("engine", "from ...addon import session"),
    ("engine", "def late():\n    import bpy"),
    ("engine", "from slipcast.bridge import codec"),
    ("engine", "from ... import addon"),
    ("bridge", "import numpy as np"),
    ("bridge", "from ..engine import settings"),
    ("addon", "from ...engine.pipeline import hull"),
    ("addon", "import torch"),
])
def test_the_check_sees_a_wrong_import(wing: str, source: str):
    depth = {"bridge": ("slipcast", "bridge")}.get(wing, ("slipcast", wing, "inner"))
    allowed = {"addon": WITH_BLENDER, "bridge": {"zmq"}, "engine": {"numpy", "torch"}}[wing]
    assert wrong_imports(wing, source, depth, allowed)


@pytest.mark.parametrize(("wing", "source"), [
    ("engine", "from ...bridge import errors\nfrom ..pipeline.types import Mesh\nimport numpy, json"),
    ("bridge", "import zmq.auth\nfrom .errors import BridgeError\nfrom . import messages"),
    ("addon", "import bpy\nfrom ...bridge.client import Client\nfrom . import x"),
])
def test_the_check_lets_a_right_import_pass(wing: str, source: str):
    depth = {"bridge": ("slipcast", "bridge")}.get(wing, ("slipcast", wing, "inner"))
    allowed = {"addon": WITH_BLENDER, "bridge": {"zmq"}, "engine": {"numpy"}}[wing]
    assert wrong_imports(wing, source, depth, allowed) == []


def loaded_after(statements: str) -> set[str]:
    """Top-level modules in sys.modules of a fresh Python after `statements`."""
    done = subprocess.run([sys.executable, "-c", f"{statements}\nimport sys\nprint(*sys.modules)"],
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_what_the_unit_ring_imports_loads_neither_bpy_nor_torch():
    wanted: set[str] = set()
    for path in (ROOT / "tests" / "unit").glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "slipcast":
                wanted.add(f"from {node.module} import {', '.join(alias.name for alias in node.names)}")
            elif isinstance(node, ast.Import):
                wanted |= {f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] == "slipcast"}
    assert any("slipcast.bridge" in statement for statement in wanted)
    assert not {"bpy", "torch"} & loaded_after("\n".join(sorted(wanted)))


def test_the_bridge_and_the_engine_server_load_no_torch_no_numpy_no_bpy():
    loaded = loaded_after("import slipcast.bridge.client, slipcast.engine.server, slipcast.engine.__main__")
    assert not {"bpy", "torch", "numpy", "cv2", "scipy"} & loaded
    assert "zmq" in loaded


@pytest.mark.parametrize(("before", "after"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_of_the_engine_sleep_while_they_wait_unless_it_was_said_otherwise(before: dict, after: str):
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import slipcast.engine, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=others | before, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [after, "False"]     # it is read when torch is loaded


def test_the_packages_that_are_installed_are_the_packages_there_are():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    inits = [path.parent for wing in (*WINGS, "bench") for path in (ROOT / wing).rglob("__init__.py")]
    there = {"slipcast", *(".".join(("slipcast", *folder.relative_to(ROOT).parts)) for folder in inits)}
    assert set(setup["packages"]) == there
