"""A worker whose pipeline does what the job's "script.json" says. The rest of it is the engine's own worker."""
from __future__ import annotations

import array
import importlib.util
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

_START = Path(__file__).resolve().parents[2] / "engine" / "start.py"
_spec = importlib.util.spec_from_file_location("start", _START)
_start = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_start)
_start.load_package()

from slipcast.bridge import errors  # noqa: E402 - the package is importable only now
from slipcast.engine.worker import Output, main  # noqa: E402
from slipcast.engine.workersocket import PreviewState  # noqa: E402

STAGES = ("first", "second")


def run_script(method, settings, files, run, device):
    """script: steps a stage, step_s, and at most one misfortune; `until` is the last attempt that it strikes."""
    script, short = json.loads(files["script.json"].read_bytes()), {}
    struck = run.attempt <= script.get("until", 1_000_000)
    if script.get("child"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    steps, step_s = script.get("steps", 3), script.get("step_s", 0.0)
    for index, stage in enumerate(STAGES):
        for done in range(steps + 1):
            run.report(SimpleNamespace(stage=stage, index=index, count=len(STAGES), done=done, total=steps,
                                       unit="steps", stage_seconds=done * step_s, loss=1 / (1 + done),
                                       seconds_left=(steps - done) * step_s))
            if script.get("preview_vertices"):
                run.preview(partial(_preview, script["preview_vertices"], done),
                            PreviewState(done, steps, 1 / (1 + done), 0.5))
            if done and stage == "second" and struck:
                _suffer(script, run)
            if run.is_cancelled() and not script.get("ignore_cancel"):
                raise errors.Cancelled("Cancelled.")
            if run.is_enough():
                short = {"finished_early": True}
                break
            time.sleep(step_s)
    payload = bytes(range(256)) * (script.get("result_bytes", 1024) // 256)
    echo = json.dumps({label: path.stat().st_size for label, path in sorted(files.items())}).encode()
    return ([Output("vertices", "array", array.array("f", [0, 0, 0, 1, 0, 0, 0, 1, 0]).tobytes(), "f4", (3, 3)),
             Output("payload", "image/png", payload), Output("inputs", "application/json", echo)],
            {**short, "method": method, "device": device, "seconds": 0.0, "stages": [[s, 0.0] for s in STAGES],
             "vertices": 3, "faces": 1, "warnings": [], "licence": script.get("licence", ""),
             "modules": sorted({"torch", "numpy"} & sys.modules.keys())})


def _preview(vertices, done):
    return [("f4", (vertices, 3), array.array("f", [float(done)] * (3 * vertices)).tobytes()),
            ("i4", (1, 3), array.array("i", [0, 1, 2]).tobytes()), ("u1", (vertices, 3), bytes([done]) * 3 * vertices)]


def _suffer(script, run):
    misfortune = script.get("misfortune")
    if misfortune == "die":
        sys.stderr.write("the fake pipeline met its end\n")
        sys.stderr.flush()
        os._exit(7)
    if misfortune == "hang":
        time.sleep(600)
    if misfortune == "memory":
        raise MemoryError
    if misfortune == "bug":
        raise KeyError("nobody expected this")
    if misfortune == "masks":
        raise errors.BadMasks("No object was found.", "Give masks.")


def find_device(wanted, threads):
    if wanted == "broken":
        raise errors.EngineFailed("This device is broken.", "Choose another one.")
    if wanted == "dies":
        sys.stderr.write("cannot load libfake.so\n")
        sys.stderr.flush()
        os._exit(3)
    return wanted, f"fake {wanted}"


if __name__ == "__main__":
    sys.exit(main(run_script, find_device))
