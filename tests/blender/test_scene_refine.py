"""The bars of refining with the scene's own renders, as bench/scene_refine.py measures them: minutes each."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LONGEST_S = 360.0     # three minutes of two cores, in seconds of a processor: other programs may run beside it


def measured(scene: str) -> dict:
    pytest.importorskip("torch", reason="the bench has engine and Blender in one process")
    done = subprocess.run([sys.executable, "-m", "slipcast.bench.scene_refine", "--scene", scene], capture_output=True,
                          text=True, check=False, timeout=1700)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_sphere_becomes_a_displaced_suzanne_from_16_renders_of_it():
    found = measured("suzanne")
    assert found["volume_iou"] >= 0.98 and found["psnr_db"] >= 28.0
    assert found["lit_psnr_db"] >= 28.0
    assert found["refine_processor_s"] <= LONGEST_S and found["views"] == 16


def test_a_sculpt_of_20_000_faces_in_3_000_with_a_normal_map_looks_like_it_in_the_light_of_a_lamp():
    found = measured("sculpt")
    assert found["faces"] <= 3_000
    assert found["psnr_db"] >= 26.0 and found["lit_psnr_db"] >= 26.0
    assert found["lit_psnr_db"] > found["lit_flat_psnr_db"] + 1.0     # what the map is for
