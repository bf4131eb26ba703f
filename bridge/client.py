"""The client of an engine, for the add-on, the command line and any other Python program.

    with Client.from_file(default_connection_path()) as client:
        client.connect()
        job = client.submit("views", {"quality": "draft"}, collect_view_folder(folder))
        result = client.wait(job)

No method but `connect`, `wait` and `close` waits for anything. One thread owns the sockets; files are hashed and read
on two more. What happens is told by events (events.py), read from one thread by `next_event`.
"""
from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from . import PROTOCOL_VERSION, VERSION
from .connection import Connection, read_connection
from .conversation import Conversation
from .errands import Errands
from .errors import BadHeader, EngineGone, InternalError, TimedOut
from .event_queue import EventQueue
from .events import Connected, Disconnected, Event, Failed, Finished, Result
from .link import Down, Happening, Link, OnBlob, OnCtl, Up
from .messages import Hello, Welcome
from .model_messages import CancelFetch, FetchModel, RemoveModel, VerifyModel
from .post import Post
from .sending import Order
from .transfers import Source

log = logging.getLogger(__name__)

_STEP_S = 0.25
_JOIN_S = 5.0
_GONE_S = 30.0     # how long `wait` believes that a lost engine comes back


_TELL_US = "This is a bug; the log has the details."
_Command = Callable[[Conversation, Link], None]


def new_job_id() -> str:
    """32 random hex digits."""
    return secrets.token_hex(16)


def _checked_id(job: str) -> str:
    if len(job) != 32 or set(job) - set("0123456789abcdef"):
        raise BadHeader(f"{job!r} is not a job id: 32 lower-case hex digits.")
    return job


class Client:
    """connection: of the engine. name: for the engine's log. path: the connection file, read again before each attempt
    to reconnect, because a restarted engine has other ports and keys."""

    def __init__(self, connection: Connection, name: str = "client", path: Path | None = None) -> None:
        self._connection, self._path = connection, path
        self._hello = Hello(PROTOCOL_VERSION, VERSION, name)
        self._events = EventQueue()
        self._commands: deque[_Command] = deque()
        self._waker = _Waker()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._welcome: Welcome | None = None
        self._trouble: Disconnected | None = None
        self._lost_s: float | None = None

    @classmethod
    def from_file(cls, path: Path, name: str = "client") -> Client:
        """Raises EngineNotFound or BadHeader."""
        return cls(read_connection(path), name, path)

    # --- life -------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to connect; returns at once. Connected or Disconnected tells how it went."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slipcast-client", daemon=True)
            self._thread.start()

    def connect(self, timeout_s: float = 10.0) -> Welcome:
        """Start, and wait until the engine has answered.

        Raises NotAllowed, VersionMismatch, or when the time is over the last error (EngineGone) or TimedOut.
        """
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._welcome or (self._trouble and self._trouble.final), timeout_s)
            if self._welcome:
                return self._welcome
            if self._trouble:
                raise self._trouble.error
            raise TimedOut(f"The engine did not answer in {timeout_s:g} s.", "Restart the engine.")

    def close(self) -> None:
        """End the thread and the sockets. Jobs that the engine has accepted go on."""
        self._closing = True
        self._waker.wake()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():      # sockets must not be closed under it
                log.error("the client's thread does not end")
                return
        self._waker.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def welcome(self) -> Welcome | None:
        """The engine's greeting while connected, else None."""
        return self._welcome

    # --- requests: all return at once -------------------------------------------------------------------------------
    def submit(self, method: str, settings: Mapping[str, Any], inputs: Mapping[str, Source],
               job: str | None = None, label: str | None = None) -> str:
        """Hash, upload and run. inputs: label -> file or bytes. label: what a person calls the input, for the history.
        Returns the job's id; ends in Finished or Failed.

        Giving the id of an earlier attempt with the same content is the same job. Raises BadHeader when `job` is not
        32 hex digits, TypeError when an input is neither a Path nor bytes.
        """
        job = _checked_id(job or new_job_id())
        for name, source in inputs.items():
            if not isinstance(source, (Path, bytes)):   # said here, where the caller can see which line it was
                raise TypeError(f"input {name!r} is {type(source).__name__}, expected Path or bytes")
        order = Order(job, method, dict(settings), dict(inputs), label)
        self._do(lambda conversation, _: conversation.submit(order))
        return job

    def cancel(self, job: str) -> None:
        """Stop this job and no other; ends in Failed(Cancelled), or in Finished when it was done before."""
        self._do(lambda conversation, _: conversation.cancel(job))

    def finish_early(self, job: str) -> None:
        """The mesh is good enough: go on to its texture. Ends in Finished, as without it; a job that does not run is
        left as it is."""
        self._do(lambda conversation, _: conversation.finish_early(job))

    def subscribe(self, job: str) -> None:
        """Follow a job that somebody submitted; ends in Finished or Failed, at once when it has ended."""
        self._do(lambda conversation, _: conversation.subscribe(job))

    def rerun(self, job: str, settings: Mapping[str, Any], new_job: str | None = None) -> str:
        """Run a job again with the inputs the engine still has. settings: what is to differ. Returns the new job's id;
        ends in Finished or Failed. Raises BadHeader when an id is not 32 hex digits."""
        source, new = _checked_id(job), _checked_id(new_job or new_job_id())
        self._do(lambda conversation, _: conversation.rerun(new, source, dict(settings)))
        return new

    def fetch(self, job: str, names: Sequence[str] = ()) -> None:
        """Get the result of a finished job. The same as subscribe: it also waits for one that has not ended.

        names: of single artefacts. Then the answer comes at once: Fetched, with those of them that the job has now, or
        TurnedDown; the job is not followed.
        """
        if names:
            self._do(lambda conversation, _: conversation.fetch(job, tuple(names)))
        else:
            self.subscribe(job)

    def get(self, job: str) -> None:
        """Answer: JobChanged, or Failed(UnknownJob)."""
        self._do(lambda conversation, _: conversation.get(job))

    def list_jobs(self, limit: int = 100, before: str | None = None) -> None:
        """Newest first; before: a job, to go on with those submitted before it. Answer: JobsListed, or TurnedDown with
        job ""."""
        self._do(lambda conversation, _: conversation.list_jobs(limit, before))

    def forget(self, job: str) -> None:
        """Delete a job that has ended. Answer: JobsListed, or TurnedDown(Conflict, UnknownJob)."""
        self._do(lambda conversation, _: conversation.forget(job))

    def list_models(self) -> None:
        """Which models there are. Answer: ModelsListed, again at each change, and ModelMoved for each task; or
        ModelTurnedDown with model ""."""
        self._do(lambda conversation, _: conversation.models.list())

    def fetch_model(self, model: str, place: str = "", mirror: str = "", offline: bool = False,
                    accept_licence: bool = False) -> None:
        """Download the weights of a model, or copy them from `place`, as FetchModel says. Answer: ModelMoved, the last
        one in state done, failed or cancelled; or ModelTurnedDown."""
        message = FetchModel(model, place, mirror, offline, accept_licence)
        self._do(lambda conversation, _: conversation.models.request(message))

    def verify_model(self, model: str) -> None:
        """Compare its weights with what was published. Answer: like fetch_model."""
        self._do(lambda conversation, _: conversation.models.request(VerifyModel(model)))

    def remove_model(self, model: str) -> None:
        """Delete its weights. Answer: like fetch_model."""
        self._do(lambda conversation, _: conversation.models.request(RemoveModel(model)))

    def cancel_fetch(self, model: str) -> None:
        """End what is done with this model. Answer: ModelMoved in the end, or ModelTurnedDown(UnknownJob)."""
        self._do(lambda conversation, _: conversation.models.request(CancelFetch(model)))

    def shutdown(self) -> None:
        """End the engine. Answer: Disconnected, final. Nothing is sent while not connected."""
        self._do(lambda _, link: link.shut_down())

    # --- events -----------------------------------------------------------------------------------------------------
    def next_event(self, timeout_s: float = 0.0) -> Event | None:
        """The next event; None when there is none (in time)."""
        return self._events.get(timeout_s)

    def wait(self, job: str, on_event: Callable[[Event], None] | None = None,
             timeout_s: float | None = None) -> Result:
        """Read events until `job` has ended. on_event gets every event, also those of other jobs.

        Raises the job's own error; EngineGone or the like when the link is lost for good or for more than 30 s;
        TimedOut when `timeout_s` is over (the job goes on).
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            event = self.next_event(_STEP_S)
            if event is not None and on_event is not None:
                on_event(event)
            if isinstance(event, Finished) and event.result.info.job == job:
                return event.result
            if isinstance(event, Failed) and event.job == job:
                raise event.error
            if isinstance(event, Disconnected) and event.final:
                raise event.error
            if event is None:
                self._check_patience(deadline, timeout_s)

    def _check_patience(self, deadline: float | None, timeout_s: float | None) -> None:
        now = time.monotonic()
        if deadline is not None and now > deadline:
            raise TimedOut(f"The job has not ended in {timeout_s:g} s.", "It goes on; fetch its result later.")
        lost_s, trouble = self._lost_s, self._trouble
        if lost_s is not None and trouble is not None and (trouble.final or now - lost_s > _GONE_S):
            raise trouble.error
        if self._thread is None or not self._thread.is_alive():
            raise EngineGone("The client is closed.", "Make a new one.")

    # --- the client's thread ----------------------------------------------------------------------------------------
    def _do(self, command: _Command) -> None:
        self._commands.append(command)
        self._waker.wake()

    def _find(self) -> Connection:
        return self._connection if self._path is None else read_connection(self._path)

    def _run(self) -> None:
        link = Link(self._waker.context, self._waker.receiver(), self._find, self._hello)
        hashing, reading = Errands("hash", self._waker.wake), Errands("read", self._waker.wake)
        conversation = Conversation(Post(link.send_ctl, link.send_blob, self._events.put, hashing, reading))
        try:
            while not self._closing:
                while self._commands:
                    self._commands.popleft()(conversation, link)
                for happening in link.step(_STEP_S):
                    self._handle(happening, conversation)
                hashing.collect()
                reading.collect()
                if link.drained:
                    conversation.on_time()
        finally:
            # Also after a bug of ours (which the thread's excepthook logs): nobody shall wait for a dead thread.
            if not self._closing:
                self._on_down(Down(InternalError("The client has stopped.", _TELL_US), final=True, told=False))
            link.close()
            for errands in (hashing, reading):
                errands.close()

    def _handle(self, happening: Happening, conversation: Conversation) -> None:
        if isinstance(happening, OnCtl):
            conversation.on_ctl(happening.envelope)
        elif isinstance(happening, OnBlob):
            conversation.on_blob(happening.envelope)
        elif isinstance(happening, Up):
            with self._changed:
                self._welcome, self._trouble, self._lost_s = happening.welcome, None, None
                self._changed.notify_all()
            self._events.put(Connected(happening.welcome, happening.new_epoch))
            conversation.on_up(happening.welcome)
        else:
            conversation.on_down()
            self._on_down(happening)

    def _on_down(self, down: Down) -> None:
        event = Disconnected(down.error, down.final)
        with self._changed:
            self._welcome, self._trouble = None, event
            self._lost_s = self._lost_s or time.monotonic()
            self._changed.notify_all()
        if down.final or not down.told:
            self._events.put(event)


class _Waker:
    """Wakes the client's thread from any other: an inproc pair, its sending end under a lock."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context(io_threads=2)
        self._address = f"inproc://wake-{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        sender = self.context.socket(zmq.PAIR)
        sender.bind(self._address)
        self._sender: zmq.Socket[Any] | None = sender

    def receiver(self) -> zmq.Socket[Any]:
        socket = self.context.socket(zmq.PAIR)
        socket.set(zmq.LINGER, 0)
        socket.connect(self._address)
        return socket

    def wake(self) -> None:
        with self._lock:
            if self._sender is None:
                return
            try:
                self._sender.send(b"", zmq.NOBLOCK)
            except zmq.Again:
                pass       # not started, or a thousand wakes are waiting: it will look

    def close(self) -> None:
        with self._lock:
            if self._sender is not None:
                self._sender.close(linger=0)
                self._sender = None
                self.context.destroy(linger=0)
