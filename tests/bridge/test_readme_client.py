"""The program in the README does what the README says: against a real engine, with the real pipeline."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def readme_program() -> str:
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return program


def test_the_program_in_the_readme_is_ten_lines():
    assert len([line for line in readme_program().splitlines() if line.strip()]) <= 10
    compile(readme_program(), "README.md", "exec")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_program_in_the_readme_makes_a_mesh(tmp_path: Path):
    home = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA")}
    environment = os.environ | home
    engine = subprocess.Popen([sys.executable, "-m", "slipcast.engine", "serve", "--stop-with-stdin"], cwd=tmp_path,
                              env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        wait_for_connection_file(tmp_path, engine)
        done = subprocess.run([sys.executable, "-c", readme_program()], cwd=ROOT, env=environment, timeout=560,
                              capture_output=True, text=True, check=False)
    finally:
        assert engine.stdin is not None
        engine.stdin.close()
        ended = engine.wait(30)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"(\d+) faces: base_color, cameras, corner_uvs, faces, "
                         r"input_thumbnail, masks, (?:normal_map, )?thumbnail, vertices", done.stdout.strip())
    assert found, done.stdout
    assert 500 <= int(found[1]) <= 20_000      # the smallest and the default budget
    assert ended == 0


def wait_for_connection_file(folder: Path, engine: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.rglob("engine.json")):
        assert engine.poll() is None, "the engine ended while starting"
        assert time.monotonic() < deadline
        time.sleep(0.1)
