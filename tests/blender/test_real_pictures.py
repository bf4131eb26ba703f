"""One picture to an object in Blender with the real engine, in its own environment: the one that `make` makes."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE_PYTHON = ROOT / ".venv" / "bin" / "python"
COPIED = ROOT / "tests" / "data" / "pictures"
# all 13 example pictures; they lie beside the project where there are any: not all may be copied into it
EXAMPLES = ROOT.parent / "shared" / "data" / "images" / "triposr"
HOW_MANY = 13

pytestmark = [pytest.mark.skipif(not ENGINE_PYTHON.exists(), reason="no .venv: make test makes it"),
              pytest.mark.skipif(os.name == "nt", reason="the engine's Python is given by a shell script")]


@pytest.fixture
def engine_python(tmp_path: Path) -> Path:
    """The engine's Python, which finds the plug-in of tests/data/plugins."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}/tests/data/plugins" exec "{ENGINE_PYTHON}" "$@"\n')
    script.chmod(0o755)
    return script


def _run(run_inside, engine_python: Path, pictures: list[Path], timeout_s: float) -> None:
    output = run_inside("real_pictures.py", timeout_s=timeout_s, SLIPCAST_ENGINE_PYTHON=str(engine_python),
                        SLIPCAST_TEST_PICTURES=os.pathsep.join(map(str, pictures)))
    print(output)
    assert "2 passed" in output


def test_our_own_pictures_and_one_example_become_objects(run_inside, engine_python):
    _run(run_inside, engine_python, [COPIED / "flamingo.png"], 280)


@pytest.mark.slow
def test_all_example_pictures_become_objects(run_inside, engine_python):
    pictures = sorted(EXAMPLES.glob("*.png"))
    if len(pictures) < HOW_MANY:
        pytest.skip(f"the {HOW_MANY} example pictures are not at hand: only {len(pictures)} lie in {EXAMPLES}")
    _run(run_inside, engine_python, pictures, 2400)
