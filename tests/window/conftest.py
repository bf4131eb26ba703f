"""A real Blender (not the bpy module), the zip for it, a view folder and a played engine.

Blender: SLIPCAST_BLENDER (`make window BLENDER=path`), else `blender` on the PATH. Skipped where there is none.
"""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_SPLASH = "import bpy; bpy.context.preferences.view.show_splash = False; bpy.ops.wm.save_userpref()"
FAKE_ENGINE = ROOT / "tests" / "blender" / "inside" / "fake_engine.py"


@dataclass(frozen=True)
class RealBlender:
    """program: to be run with `environment`. folder: for the test's files. views: holds one view folder, "skull"."""

    program: str
    environment: dict[str, str]
    zip: Path
    folder: Path
    views: Path
    engine_python: Path

    def run(self, *arguments: str, timeout_s: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, *arguments], env=self.environment | variables, capture_output=True,
                              text=True, check=False, timeout=timeout_s)

    def drive(self, script: str, out: Path, *arguments: str, options: tuple[str, ...] = (),
              pictures: str | None = None) -> dict[str, Any]:
        """Open a window with the played engine and let `script`, of this folder, use it; what it found ("checks" of
        what hands.run reports), with Blender's "exit_code" and "output".

        The script is given the zip, `out`, the engine's Python and `arguments`. pictures: where below
        SLIPCAST_WINDOW_PICTURES, if that is set, `out` is copied to. Skips without a screen.
        """
        own = {"BLENDER_USER_RESOURCES": str(out.with_name(f"{out.name}-blender"))}   # preferences are saved at the end
        assert self.run("--background", "--python-expr", NO_SPLASH, **own).returncode == 0
        done = self.run(*options, "--window-geometry", "0", "0", "1280", "800",
                        "--python", str(Path(__file__).resolve().parent / script), "--",
                        str(self.zip), str(out), str(self.engine_python), *arguments, **own)
        output = done.stdout + done.stderr
        if "open a display" in output:
            pytest.skip("no screen for Blender's window: set DISPLAY, or run it under xvfb-run")
        kept = os.environ.get("SLIPCAST_WINDOW_PICTURES")
        if kept and pictures is not None:
            shutil.copytree(out, Path(kept) / pictures, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
        assert (out / "report.json").exists(), output[-3000:]
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        assert not report["error"], f"{report['error']}\n{report['checks']}"
        return report["checks"] | {"exit_code": done.returncode, "output": output}


@pytest.fixture(scope="session")
def real_blender(tmp_path_factory: pytest.TempPathFactory) -> RealBlender:
    program, folder = _blender(), tmp_path_factory.mktemp("window")
    views, python = folder / "views", folder / "python"
    (views / "skull").mkdir(parents=True)
    (views / "skull" / "transforms.json").write_text('{"camera_angle_x": 0.7, "frames": [{"file_path": "0.png"}]}')
    (views / "skull" / "0.png").write_bytes(b"not looked at")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{FAKE_ENGINE}" "$@"\n')
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "SLIPCAST_ENGINE_PYTHON"}
    return RealBlender(program, kept | {"BLENDER_USER_RESOURCES": str(folder / "blender")}, _zip_for(program, folder),
                       folder, views, python)


def _blender() -> str:
    found = os.environ.get("SLIPCAST_BLENDER") or shutil.which("blender")
    if not found:
        pytest.skip("no Blender with a window at hand: make window BLENDER=/path/to/blender")
    return found


def _zip_for(blender: str, out: Path) -> Path:
    ask = "import bpy, sys; print('versions', bpy.app.version[:2], sys.version_info[:2])"
    said = subprocess.run([blender, "--background", "--factory-startup", "--python-expr", ask], capture_output=True,
                          text=True, check=False, timeout=120).stdout
    numbers = re.search(r"versions \((\d+), (\d+)\) \((\d+), (\d+)\)", said)
    assert numbers, f"{blender} said: {said}"
    version, python = (int(numbers[1]), int(numbers[2])), (int(numbers[3]), int(numbers[4]))
    if (version < (5, 1)) != (python < (3, 12)):
        pytest.skip(f"Blender {version} with Python {python} is not Blender's own; no zip is made for it")
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    build_addon = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = build_addon
    spec.loader.exec_module(build_addon)
    earlier, later = build_addon.build([build_addon.this_platform()], out)
    return earlier if version < (5, 1) else later
