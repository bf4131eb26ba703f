"""One picture to an object in Blender with the real engine, in its own environment: the one that `make` makes."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE_PYTHON = ROOT / ".venv" / "bin" / "python"
COPIED = ROOT / "tests" / "data" / "pictures"
# where the example pictures lie, if they do: two of them were copied into the project, with their licence
EXAMPLES = ROOT.parent / "shared" / "data" / "images" / "triposr"
NAMES = ("chair", "flamingo", "hamburger", "horse", "iso_house", "marble", "police_woman", "poly_fox", "robot",
         "stripes", "teapot", "tiger_girl", "unicorn")

pytestmark = [pytest.mark.skipif(not ENGINE_PYTHON.exists(), reason="no .venv: make test makes it"),
              pytest.mark.skipif(os.name == "nt", reason="the engine's Python is given by a shell script")]


@pytest.fixture
def engine_python(tmp_path: Path) -> Path:
    """The engine's Python, which finds the plug-in of tests/data/plugins."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}/tests/data/plugins" exec "{ENGINE_PYTHON}" "$@"\n')
    script.chmod(0o755)
    return script


def _run(run_inside, engine_python: Path, *pictures: Path) -> None:
    output = run_inside("real_pictures.py", timeout_s=280, SLIPCAST_ENGINE_PYTHON=str(engine_python),
                        SLIPCAST_TEST_PICTURES=os.pathsep.join(map(str, pictures)))
    print(output)
    assert "2 passed" in output


def test_our_own_pictures_become_objects(run_inside, engine_python):
    _run(run_inside, engine_python)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_example_picture_becomes_an_object(name, run_inside, engine_python):
    place = next((folder / f"{name}.png" for folder in (COPIED, EXAMPLES) if (folder / f"{name}.png").is_file()), None)
    if place is None:
        pytest.skip(f"{name}.png is not copied into the project, and not in {EXAMPLES}")
    _run(run_inside, engine_python, place)
