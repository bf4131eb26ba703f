"""The engine as the add-on starts it, with a pipeline that is played: the job's seed says what happens.

Called in place of Python with "-P <root>/engine/start.py serve ..." (see engines.py), it loads the installed package
from there. Everything but the pipeline is the real thing: server, worker process, sockets, jobs on disk.
"""
from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from array import array
from types import SimpleNamespace

QUICK, SLOW, BAD_MASKS, STREAM, DIE = 0, 1, 2, 3, 4
WORKER = "fake-worker"


def load_package(start_py: str) -> None:
    spec = importlib.util.spec_from_file_location("start", start_py)
    start = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(start)
    start.load_package()


def run(method, settings, files, link, device):
    """A Runner: a textured sheet after `seconds`, with progress and previews on the way."""
    from slipcast.bridge.errors import BadMasks, Cancelled
    from slipcast.engine.workersocket import PreviewState

    seed = settings["seed"]
    steps, vertices = {SLOW: (600, 3), STREAM: (160, 60_000)}.get(seed, (4, 3))
    faces = array("i", [0, 1, 2] * vertices).tobytes()
    started = time.perf_counter()
    for done in range(steps + 1):
        link.report(SimpleNamespace(stage="hull", index=3, count=9, done=done, total=steps, unit="views",
                                    stage_seconds=time.perf_counter() - started, loss=None,
                                    seconds_left=None))
        link.preview(lambda: [("f4", (vertices, 3), bytes(12 * vertices)), ("i4", (vertices, 3), faces)],
                     PreviewState())
        if link.is_cancelled():
            raise Cancelled("Cancelled during hull.")
        if seed == BAD_MASKS:
            raise BadMasks("No object was found in the pictures.", "Give masks beside them.")
        if seed == DIE:
            os._exit(7)
        time.sleep(0.05 if seed == SLOW else 0.02)
    facts = {"mask_source": "centre", "mask_confidence": 0.3} if method == "image" else {}
    made = [*outputs(), *(turn_outputs() if settings.get("turntable") else ()),
            *(picture_outputs(files) if method == "image" else ())]
    return made, {**facts, "method": method, "device": device, "seconds": 0.1, "stages": [["hull", 0.1]], "vertices": 4,
                       "faces": 4, "warnings": []}


def turn_outputs():
    from slipcast.engine.worker import Output

    [pixel] = [item.data for item in outputs() if item.name == "base_color"]
    pictures = [Output(f"turntable_{index:03}", "image/png", pixel) for index in range(30)]
    return [*pictures, Output("turntable_mp4", "video/mp4", b"film")]


def picture_outputs(files):
    """What belongs to one picture; the mask is the one that was sent, or a part of nothing."""
    from slipcast.engine.worker import Output

    mask = files["mask"].read_bytes() if "mask" in files else files["image"].read_bytes()
    return [Output("mask", "image/png", mask), Output("cutout", "image/png", files["image"].read_bytes())]


def outputs():
    """A tetrahedron, every corner with the same texture, 1 x 1 px."""
    import base64

    from slipcast.engine.worker import Output

    pixel = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
                             "hKmMIQAAAABJRU5ErkJggg==")
    corners = array("f", [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1])
    faces = array("i", [0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3])
    uvs = array("f", [0.1, 0.1, 0.9, 0.1, 0.1, 0.9] * 4)
    camera = {"name": "0.png", "width": 64, "height": 48, "fx": 70.0, "fy": 70.0, "cx": 32.0, "cy": 24.0,
              "world_from_camera": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -5], [0, 0, 0, 1]]}
    return [Output("vertices", "array", corners.tobytes(), "f4", (4, 3)),
            Output("faces", "array", faces.tobytes(), "i4", (4, 3)),
            Output("corner_uvs", "array", uvs.tobytes(), "f4", (4, 3, 2)), Output("base_color", "image/png", pixel),
            Output("cameras", "application/json", json.dumps([camera]).encode()),
            Output("thumbnail", "image/png", pixel)]


def serve(start_py: str, argv: list[str]) -> int:
    import argparse
    from pathlib import Path

    from slipcast.bridge.errors import BridgeError
    from slipcast.engine import server
    from slipcast.engine.settings import ServeSettings

    parser = argparse.ArgumentParser()
    server.add_arguments(parser)
    given = parser.parse_args(argv)
    worker = [sys.executable, "-P", str(Path(__file__).resolve()), WORKER, start_py]
    os.environ["PYTHONPATH"] = os.environ.get("SLIPCAST_TEST_PLUGINS", "")    # of the processes that look for models
    settings = ServeSettings(devices=("cpu",), models_folder=str(given.data / "weights"))
    try:
        server.serve(settings, given.data, given.connection, worker, given.stop_with_stdin)
    except BridgeError as error:
        sys.stderr.write(f"slipcast engine: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == WORKER:
        load_package(sys.argv[2])
        from slipcast.engine import worker

        sys.exit(worker.main(run, lambda wanted, threads: (wanted, "fake cpu")))
    assert sys.argv[1] == "-P" and sys.argv[3] == "serve", sys.argv
    load_package(sys.argv[2])
    sys.exit(serve(sys.argv[2], sys.argv[4:]))
