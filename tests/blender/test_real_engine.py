"""Once, with the real engine in its own environment: the one that `make` makes, whatever Python this Blender has."""
from __future__ import annotations

from pathlib import Path

import pytest

ENGINE_PYTHON = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "python"


@pytest.mark.skipif(not ENGINE_PYTHON.exists(), reason="no .venv: make test makes it")
def test_pictures_become_an_object_through_the_whole_chain(run_inside):
    output = run_inside("real_engine.py", timeout_s=280, SLIPCAST_ENGINE_PYTHON=str(ENGINE_PYTHON))
    print(output)
    assert "3 passed" in output
