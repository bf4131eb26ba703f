"""The worker process: one device, one job at a time. Started and watched by the engine (server/process.py).

Three threads: the main one finds the device and runs jobs; one owns the socket to the engine; one reads stdin, whose
end means that the engine is gone. What a job does is a Runner's business (runners.py); nothing in here needs torch
or numpy.
"""
from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..bridge.arrays import flat_bytes, sha256_hex
from ..bridge.codec import from_plain
from ..bridge.errors import BridgeError, InternalError, NoSpace, OutOfMemory
from ..bridge.messages import Artefact
from ..bridge.strict_json import parse_json
from .models.memory import is_out_of_memory
from .server.blobs import sync_folder
from .server.workerlink import Broken, Done, Ready, Start, Unusable, WorkerConfig
from .workersocket import RunLink, WorkerSocket

log = logging.getLogger(__name__)
_CONFIG_BYTES = 64 * 1024
_MESSAGE_CHARS = 4000


@dataclass(frozen=True)
class Output:
    """One artefact of a job. data: its bytes; arrays little-endian, C order, with dtype ("f4"...) and shape."""

    name: str
    media_type: str
    data: bytes | memoryview
    dtype: str = ""
    shape: tuple[int, ...] = ()


class Runner(Protocol):
    """Does a job. Raises BridgeError for what a person should know; checks run.is_cancelled() and raises Cancelled."""

    def __call__(self, method: str, settings: Mapping[str, Any], files: Mapping[str, Path], run: RunLink,
                 device: str) -> tuple[Sequence[Output], Mapping[str, Any]]:
        """files: label -> file without a suffix. Returns artefacts and the summary of JobInfo."""
        ...


FindDevice = Callable[[str, int], tuple[str, str]]
"""(wanted device, threads) -> (device, what a person calls it); raises BridgeError when it does not work."""


def main(runner: Runner | None = None, find_device: FindDevice | None = None) -> int:
    """Run until stdin closes. The config comes as the first line of stdin; without arguments the real pipeline runs."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)   # Ctrl-C is for the engine, which then closes our stdin
    config = _read_config()
    threading.Thread(target=_die_with_parent, name="parent watch", daemon=True).start()
    socket = WorkerSocket(config)
    socket.start()
    try:
        device, label = (find_device or _real_find_device)(config.device, config.threads)
    except BridgeError as error:
        log.error("no device: %s", error)
        socket.send_last(Unusable(error.code, error.message, error.hint))
        return 1
    socket.send(Ready(label))
    worker = _Worker(config, socket, runner or _real_runner(config), device)
    while True:
        worker.run_job(socket.next_job())


def _read_config() -> WorkerConfig:
    line = b""
    while not line.endswith(b"\n") and len(line) < _CONFIG_BYTES:
        byte = os.read(0, 1)   # one by one: what follows the line belongs to the watch
        if not byte:
            break
        line += byte
    return from_plain(WorkerConfig, parse_json(line, _CONFIG_BYTES))


def _die_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)   # us, and whatever the pipeline has started
    os._exit(1)


def _real_find_device(wanted: str, threads: int) -> tuple[str, str]:
    # Late: it imports torch.
    from .runners import find_device

    return find_device(wanted, threads)


def _real_runner(config: WorkerConfig) -> Runner:
    from .models.shelf import open_shelf
    from .runners import run_method

    return partial(run_method, shelf=open_shelf(Path(config.models_folder) if config.models_folder else None))


class _Worker:
    def __init__(self, config: WorkerConfig, socket: WorkerSocket, runner: Runner, device: str) -> None:
        self._config, self._socket, self._runner, self._device = config, socket, runner, device

    def run_job(self, start: Start) -> None:
        """Run one job and say how it ended."""
        run = self._socket.begin(start)
        try:
            files = {file.label: Path(file.path) for file in start.files}
            outputs, summary = self._runner(start.method, start.settings, files, run, self._device)
            artefacts = tuple(_store(Path(start.spool), outputs))
        except BridgeError as error:
            self._fail(start, error, isinstance(error, OutOfMemory))
        except Exception as error:   # the last place that can tell the person of a bug
            if is_out_of_memory(error):
                log.warning("out of memory", exc_info=True)
                self._fail(start, OutOfMemory("The engine ran out of memory.", "Choose a lower quality or a smaller "
                                              "texture, or close other programs."), True)
            else:
                log.exception("a bug in stage %s", run.stage)
                self._fail(start, InternalError(f"The engine failed in stage {run.stage!r}: "
                                                f"{type(error).__name__}: {error}",
                                                f"This is a bug of Slipcast; {self._config.log_file} has the details."))
        else:
            self._socket.end(Done(start.job, start.attempt, artefacts, summary))

    def _fail(self, start: Start, error: BridgeError, recycle: bool = False) -> None:
        self._socket.end(Broken(start.job, start.attempt, error.code, error.message[:_MESSAGE_CHARS],
                                error.hint[:_MESSAGE_CHARS], recycle))


def _store(spool: Path, outputs: Sequence[Output]) -> list[Artefact]:
    """Write the artefacts, each under its sha256, and sync them. Raises NoSpace."""
    artefacts: list[Artefact] = []
    try:
        spool.mkdir(parents=True, exist_ok=True)
        for output in outputs:
            data = flat_bytes(output.data)
            sha256 = sha256_hex(data)
            with (spool / sha256).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            artefacts.append(Artefact(output.name, output.media_type, data.nbytes, sha256, output.dtype, output.shape))
        sync_folder(spool)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("The engine's disk is full: the result could not be stored.",
                          "Free some space and run the job again.") from error
        raise
    return artefacts
