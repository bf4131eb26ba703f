"""`serve`: one engine on one data folder, from lock to last word.

frontend.py  the ctl socket and the loop that owns all state      supervisor.py  slots, deaths, cancels, silence
blobdesk.py  the blob socket, its own thread                      process.py     child processes
jobs.py      the table of jobs (sqlite)                           link.py, workerlink.py  how workers are talked to
models.py    models and their weights, by child processes
blobs.py     the content-addressed store                          zap.py, sockets.py, mailbox.py, datalock.py  tools
"""
from __future__ import annotations

import argparse
import logging
import logging.handlers
import math
import os
import queue
import signal
import sys
import threading
import types
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import zmq

from ...bridge import VERSION
from ...bridge.connection import (
    Connection,
    default_connection_path,
    default_data_folder,
    read_connection,
    write_connection,
)
from ...bridge.errors import BadHeader, BridgeError, EngineFailed, EngineNotFound
from ..settings import ServeSettings
from .blobdesk import BlobDesk
from .blobs import BlobStore
from .datalock import DataLock
from .frontend import Frontend
from .jobs import JobTable
from .link import WorkerLink
from .process import engine_command
from .sockets import BLOB_LANE, CTL_LANE, LANES, bind_router, endpoint_of
from .supervisor import Supervisor
from .zap import Doorman, make_keys

log = logging.getLogger(__name__)
LOG_NAME = "engine.log"
_CLIENTS = "clients"
_SWITCH_S = 0.001    # Python's 5 ms is what a cancel may wait for the blob desk's thread
_GIB = 1024**3
_PACKAGE = __name__.rsplit(".", 2)[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    default = ServeSettings()
    parser.add_argument("--connection", type=Path, default=None, metavar="FILE",
                        help=f"where to write address and keys (default: {default_connection_path()})")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR",
                        help=f"jobs, inputs and results (default: {default_data_folder()})")
    parser.add_argument("--quota-gb", type=_positive, default=default.quota_bytes / _GIB, metavar="N",
                        help="storage for inputs and results, GiB (default: %(default)g)")
    parser.add_argument("--device", action="append", default=None, metavar="auto|cpu|cuda:0",
                        help="one worker for each (default: auto); may be given several times")
    parser.add_argument("--models-folder", type=Path, default=None, metavar="DIR",
                        help="where weights are kept (default: where `models` keeps them)")
    parser.add_argument("--stop-with-stdin", action="store_true", help="end when standard input closes")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """`serve` from the command line. 0: ended as asked; 1: could not start, and the log and stderr say why."""
    settings = ServeSettings(devices=tuple(args.device or ("auto",)), quota_bytes=int(args.quota_gb * _GIB),
                             models_folder=str(args.models_folder.expanduser()) if args.models_folder else "")
    try:
        serve(settings, args.data or default_data_folder(), args.connection or default_connection_path(),
              stop_with_stdin=args.stop_with_stdin)
    except BridgeError as error:
        sys.stderr.write(f"slipcast engine: {error}\n")
        return 1
    return 0


def serve(settings: ServeSettings, data: Path, connection: Path, worker_command: Sequence[str] | None = None,
          stop_with_stdin: bool = False) -> None:
    """Serve until SIGTERM, SIGINT, a client's Shutdown, or (stop_with_stdin) the end of standard input.

    data: folder of this engine alone. connection: file to write, removed at the end. worker_command: see process.py;
    the default is this Python and this copy of the code. Call it from the main thread.
    Raises EngineFailed when another engine serves `data`, or a place cannot be written.
    """
    with ExitStack() as stack:
        lock = DataLock(data)
        stack.callback(lock.release)
        stack.callback(_start_logging(data, settings))
        try:
            _serve_locked(settings, data, connection, tuple(worker_command or engine_command("worker")),
                          stop_with_stdin, stack)
        except OSError as error:
            raise EngineFailed(f"The engine cannot use {error.filename or data} ({error.strerror or error}).",
                               "Look at its permissions and the space on that disk.") from error
        except BridgeError:
            raise
        except Exception:
            log.exception("the engine failed")   # here, because its log file ends with this block
            raise


def _serve_locked(settings: ServeSettings, data: Path, connection: Path, command: tuple[str, ...],
                  stop_with_stdin: bool, stack: ExitStack) -> None:
    sys.setswitchinterval(_SWITCH_S)
    table = JobTable(data / "jobs.sqlite")
    stack.callback(table.close)
    recovered = table.recover()
    store = BlobStore(data, settings.quota_bytes, settings.min_free_bytes)
    log.info("engine %s, process %d, data in %s, %d jobs recovered", VERSION, os.getpid(), data, len(recovered))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(LANES)
    stack.callback(context.term)   # last of all sockets; the Doorman ends with it
    doorman = Doorman(context)
    doorman.start()
    keys, client_keys, epoch = make_keys(), make_keys(), uuid.uuid4().hex
    doorman.admit(_CLIENTS, client_keys.public, "client")
    limits = settings.limits
    ctl = bind_router(context, _CLIENTS, keys, settings, limits.header_bytes, settings.send_queue, CTL_LANE)
    stack.callback(ctl.close)
    blob = bind_router(context, _CLIENTS, keys, settings, max(limits.chunk_bytes, limits.header_bytes),
                       2 * limits.credits, BLOB_LANE)
    desk = BlobDesk(blob, store, settings)
    link = WorkerLink(context, doorman, make_keys(), settings, str(data / LOG_NAME))
    stack.callback(link.socket.close)
    frontend = Frontend(settings, ctl, table, store, desk, epoch, VERSION)
    stack.callback(frontend.mailbox.close)
    stack.callback(frontend.models.stop)
    supervisor = Supervisor(settings, command, table, store, frontend.mailbox, link, frontend)
    desk.start()
    stack.callback(desk.stop)
    frontend.collect(0.0)   # what an earlier engine left behind
    stack.callback(supervisor.stop)
    stack.enter_context(_Stopping(frontend.stop, stop_with_stdin))
    write_connection(connection, Connection(endpoint_of(ctl), endpoint_of(blob), keys.public, client_keys.public,
                                            client_keys.secret, os.getpid(), epoch, VERSION))
    stack.callback(_remove_connection, connection, epoch)
    frontend.run(link, supervisor)
    log.info("engine ends")


class _Stopping:
    """While inside: signals, and if asked the end of stdin, call `stop`."""

    def __init__(self, stop: Callable[[], None], with_stdin: bool) -> None:
        self._stop, self._with_stdin = stop, with_stdin
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        if self._with_stdin:
            threading.Thread(target=self._watch_stdin, name="stdin", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)   # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        self._stop()

    def _watch_stdin(self) -> None:
        # The descriptor, not sys.stdin: its lock would block the interpreter's end while this thread reads.
        while os.read(0, 4096):
            pass
        log.info("standard input was closed")
        self._stop()


def _remove_connection(path: Path, epoch: str) -> None:
    """Remove the connection file, unless a later engine has replaced it."""
    try:
        if read_connection(path).epoch == epoch:
            path.unlink(missing_ok=True)
    except (EngineNotFound, BadHeader) as error:
        log.info("connection file: %s", error)


def _start_logging(data: Path, settings: ServeSettings) -> Callable[[], None]:
    """Log of the package to a rotating file and to stderr; returns what ends it."""
    logger = logging.getLogger(_PACKAGE)
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        file = logging.handlers.RotatingFileHandler(data / LOG_NAME, maxBytes=settings.log_bytes,
                                                    backupCount=settings.log_files, encoding="utf-8", delay=False)
    except OSError as error:
        raise EngineFailed(f"The data folder {data} cannot be written ({error.strerror}).",
                           "Choose another one with --data.") from error
    # Through a queue: a slow disk or a parent that does not read our stderr must not hold up a request.
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handlers: tuple[logging.Handler, ...] = (file, logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(form)
    entry = logging.handlers.QueueHandler(records)   # type: ignore[arg-type]
    listener = logging.handlers.QueueListener(records, *handlers)   # type: ignore[arg-type]
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(entry)
    listener.start()

    def end() -> None:
        logger.setLevel(level)
        logger.removeHandler(entry)
        listener.stop()
        for handler in handlers:
            handler.close()

    return end
