"""An engine as its own process: the real server, the fake worker. argv: data, connection file, settings."""
from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("start", _HERE.parents[1] / "engine" / "start.py")
_start = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_start)
_start.load_package()

from slipcast.bridge.errors import BridgeError  # noqa: E402 - the package is importable only now
from slipcast.bridge.messages import Limits  # noqa: E402
from slipcast.engine.server import serve  # noqa: E402
from slipcast.engine.settings import ServeSettings  # noqa: E402


def main(data, connection, text):
    given = json.loads(text)
    command = given.pop("command", [sys.executable, "-P", str(_HERE / "fake_worker.py")])
    stop_with_stdin = given.pop("stop_with_stdin", False)
    given["limits"] = Limits(**given.get("limits", {}))
    given["devices"] = tuple(given.get("devices", ("cpu",)))
    try:
        serve(ServeSettings(**given), Path(data), Path(connection), command, stop_with_stdin)
    except BridgeError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    unwanted = {"torch", "numpy", "bpy"} & sys.modules.keys()
    assert not unwanted, f"the server has loaded {unwanted}"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
