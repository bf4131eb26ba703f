"""The worker's socket to its engine, on a thread of its own, so that a cancel is heard while a stage computes."""
from __future__ import annotations

import logging
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import zmq

from ..bridge.arrays import describe_buffer
from ..bridge.codec import decode, encode
from ..bridge.errors import BridgeError
from ..bridge.messages import Preview, Progress
from .server.mailbox import Mailbox
from .server.workerlink import LINK_LIMITS, TO_WORKER, Abort, Beat, Broken, Done, Settle, Start, WorkerConfig

log = logging.getLogger(__name__)
Buffers = Sequence[tuple[str, tuple[int, ...], bytes | memoryview]]   # dtype, shape, bytes
_SEND_QUEUE = 4
_LAST_WORDS_S = 2.0


class StageReport(Protocol):
    """What pipeline/progress.StageProgress is; only read here."""

    @property
    def stage(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def stage_seconds(self) -> float: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def seconds_left(self) -> float | None: ...


class PreviewState(NamedTuple):
    """Where the shown mesh stands; the fields of a Preview."""

    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    seconds_left: float | None = None


class _Waiting(NamedTuple):
    stage: str
    pack: Callable[[], Buffers]
    state: PreviewState


class RunLink:
    """How a running job talks to the outside. Called from the main thread; cheap; never waits."""

    def __init__(self, start: Start, wake: Callable[[], None]) -> None:
        self.job, self.attempt, self._wake = start.job, start.attempt, wake
        self.is_urgent = False          # a new stage began: say so at once
        self.stage = "start"
        self._started = time.monotonic()
        self._seq = 0
        self._cancelled = threading.Event()
        self._settled = threading.Event()
        self._progress: Progress | None = None
        self._preview: _Waiting | None = None

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()

    def is_enough(self) -> bool:
        """Whether the person finds the mesh good enough as it is."""
        return self._settled.is_set()

    def settle(self) -> None:
        self._settled.set()

    def report(self, progress: StageReport) -> None:
        """Newest wins until it is sent."""
        self._seq += 1
        self._progress = Progress(self.job, self.attempt, self._seq, progress.stage, progress.index, progress.count,
                                  progress.done, progress.total, progress.unit, progress.stage_seconds,
                                  time.monotonic() - self._started, _finite(progress.loss),
                                  _finite(progress.seconds_left))
        if progress.stage != self.stage:
            self.stage, self.is_urgent = progress.stage, True
            self._wake()

    def preview(self, pack: Callable[[], Buffers], state: PreviewState) -> None:
        """Newest wins until it is sent; `pack` is called, on another thread, only for one that is.

        pack: positions f4 (V, 3) world, faces i4 (F, 3), and if there are colours u1 (V, 3) sRGB.
        """
        self._preview = _Waiting(self.stage, pack, state)

    def take_progress(self) -> Progress | None:
        progress, self._progress = self._progress, None
        return progress

    def keep_progress(self, progress: Progress) -> None:
        """It could not be sent; a newer one goes first."""
        if self._progress is None:
            self._progress = progress

    def take_preview(self) -> _Waiting | None:
        preview, self._preview = self._preview, None
        return preview


class WorkerSocket:
    """Hears Start, Abort and Settle; sends what the job says, at bounded rates."""

    def __init__(self, config: WorkerConfig) -> None:
        self._thread = threading.Thread(target=self._speak, name="engine link", daemon=True)
        self._config = config
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._mailbox = Mailbox()
        self._words: deque[Any] = deque()       # in order, not to be lost
        self._jobs: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._run: RunLink | None = None
        self._early: list[Abort | Settle] = []  # came between Start and begin()
        self._previews = 0
        self._ending = False

    def start(self) -> None:
        self._thread.start()

    # --- main thread -----------------------------------------------------------------------------------------------
    def next_job(self) -> Start:
        """Wait for work."""
        return self._jobs.get()

    def begin(self, start: Start) -> RunLink:
        """The job begins; what it says to the RunLink is sent from now on."""
        self._run = run = RunLink(start, self._wake)
        for early in list(self._early):
            _tell(run, early)
        self._wake()
        return run

    def end(self, message: Done | Broken) -> None:
        """The job has ended; nothing more of it is sent after this."""
        self._run = None
        self.send(message)

    def send(self, message: Any) -> None:
        self._words.append(message)
        self._wake()

    def send_last(self, message: Any) -> None:
        """Send before the process ends."""
        self.send(message)
        self._ending = True
        self._wake()
        self._thread.join(2 * _LAST_WORDS_S)

    def _wake(self) -> None:
        self._mailbox.post(lambda: None)

    # --- this thread -----------------------------------------------------------------------------------------------
    def _speak(self) -> None:
        try:
            self._serve(self._connect())
        except Exception:   # a worker that cannot speak must end, so that its engine sees it
            log.exception("the link to the engine broke")
            logging.shutdown()
            os._exit(1)

    def _serve(self, socket: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._mailbox.fileno(), zmq.POLLIN)
        beat = progress = preview = -1e9
        while self._words or not self._ending:
            wait_s = self._config.progress_interval_s if self._run or self._words else self._config.heartbeat_s
            poller.poll(max(1, int(1000 * wait_s)))
            self._mailbox.run_all()
            self._read(socket)
            while self._words and _try_send(socket, self._words[0]):
                self._words.popleft()
            now, run = time.monotonic(), self._run
            if now - beat >= self._config.heartbeat_s and _try_send(socket, Beat()):
                beat = now
            if run is not None and (run.is_urgent or now - progress >= self._config.progress_interval_s):
                progress, run.is_urgent = now, False
                self._send_progress(socket, run)
            if run is not None and now - preview >= self._config.preview_interval_s and self._send_preview(socket, run):
                preview = now
        socket.close(linger=int(1000 * _LAST_WORDS_S))
        self._context.term()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.curve_serverkey = self._config.server_public.encode()
        socket.curve_publickey = self._config.public.encode()
        socket.curve_secretkey = self._config.secret.encode()
        socket.sndhwm = _SEND_QUEUE
        socket.connect(self._config.endpoint)
        return socket

    def _read(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = decode(parts, TO_WORKER, LINK_LIMITS).message
            except BridgeError:
                log.exception("the engine sent nonsense")
                continue
            if isinstance(message, Start):
                self._early = []
                self._jobs.put(message)
            elif isinstance(message, Abort | Settle):
                self._early.append(message)
                run = self._run     # end() may set it to None meanwhile
                if run is not None:
                    _tell(run, message)

    def _send_progress(self, socket: zmq.Socket[bytes], run: RunLink) -> None:
        progress = run.take_progress()
        if progress is not None and not _try_send(socket, progress):
            run.keep_progress(progress)

    def _send_preview(self, socket: zmq.Socket[bytes], run: RunLink) -> bool:
        waiting = run.take_preview()
        if waiting is None:
            return False
        buffers = waiting.pack()
        size = sum(memoryview(data).nbytes for _, _, data in buffers)
        if size > self._config.preview_bytes:
            log.info("a preview of %d bytes is left out", size)
            return True
        specs = tuple(describe_buffer(data, dtype, shape) for dtype, shape, data in buffers)
        self._previews += 1
        state = waiting.state
        message = Preview(run.job, run.attempt, self._previews, waiting.stage, len(buffers) == 3, specs,
                          state.iteration, state.iterations, _finite(state.loss), _finite(state.seconds_left))
        _try_send(socket, message, [data for _, _, data in buffers])
        return True


def _finite(value: float | None) -> float | None:
    # A header has no NaN or infinity; a number that is none is not known.
    return value if value is not None and math.isfinite(value) else None


def _tell(run: RunLink, message: Abort | Settle) -> None:
    if (run.job, run.attempt) != (message.job, message.attempt):
        return
    if isinstance(message, Abort):
        run.cancel()
    else:
        run.settle()


def _try_send(socket: zmq.Socket[bytes], message: Any, frames: Sequence[bytes | memoryview] = ()) -> bool:
    try:
        socket.send_multipart(encode(message, frames=frames, limits=LINK_LIMITS), zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return False
    return True
