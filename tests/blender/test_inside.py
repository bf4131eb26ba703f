"""Each file of inside/ in a clean Blender of its own."""
from __future__ import annotations

from pathlib import Path

import pytest

CHECKS = sorted(path.name for path in (Path(__file__).parent / "inside").glob("check_*.py"))


@pytest.mark.parametrize("name", CHECKS)
def test_installed_extension_passes(name, run_inside):
    output = run_inside(name)
    print(output)  # with -s, or when a later line fails
    assert " passed" in output
