"""engine/start.py: the engine starts by file path from a folder of any name, and nothing beside it is importable."""
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_engine_starts_from_a_copy_in_a_folder_of_any_name_and_makes_no_neighbour_importable(tmp_path):
    copy = tmp_path / "some extension-1.2"
    copy.mkdir()
    shutil.copy(ROOT / "__init__.py", copy)
    for wing in ("bridge", "engine"):
        shutil.copytree(ROOT / wing, copy / wing, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "neighbour.py").write_text("")
    (copy / "engine" / "neighbour_too.py").write_text("")
    helped = subprocess.run([sys.executable, "-P", str(copy / "engine" / "start.py"), "serve", "--help"],
                            capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert helped.returncode == 0 and "--stop-with-stdin" in helped.stdout, helped.stderr
    look = (f"import importlib.util as u; s = u.spec_from_file_location('start', {str(copy / 'engine/start.py')!r});"
            "m = u.module_from_spec(s); s.loader.exec_module(m); m.load_package();"
            "import slipcast.engine.server.process as p; print(p.__file__); print(p.engine_command('worker')[2]);"
            "print([n for n in ('neighbour', 'neighbour_too', 'bridge', 'engine') if u.find_spec(n)])")
    seen = subprocess.run([sys.executable, "-P", "-c", look], capture_output=True, text=True, timeout=60, check=True,
                          cwd="/").stdout.splitlines()
    assert Path(seen[0]) == copy / "engine" / "server" / "process.py"   # this copy, not an installed one
    assert Path(seen[1]) == copy / "engine" / "start.py"
    assert seen[2] == "[]"
