"""Models for clients: the list, and one task at a time, each in a child process that imports them (modelcommands.py).

The engine itself imports no model: they may be plug-ins, and slow. Everything here runs on the frontend's thread;
the threads that read the children only post.
"""
from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...bridge.codec import from_plain
from ...bridge.errors import BadHeader, BadSettings, BridgeError, Conflict, InternalError, UnknownJob
from ...bridge.messages import ErrorInfo
from ...bridge.model_messages import (
    CancelFetch,
    FetchModel,
    ModelInfo,
    ModelList,
    ModelProgress,
    RemoveModel,
    VerifyModel,
)
from .mailbox import Mailbox

log = logging.getLogger(__name__)
_MB = 1_000_000
_LINE_CHARS = 1_000_000     # a list with the settings of all models is one line
_WORDS_CHARS = 2000
_TASKS = {"VerifyModel": "verify", "RemoveModel": "remove"}

Line = Mapping[str, Any]


def default_models_command() -> tuple[str, ...]:
    """This Python, this very copy of the code."""
    return (sys.executable, "-P", str(Path(__file__).resolve().parents[1] / "start.py"), "models")


class Child:
    """A `models` command as a child process. on_line and on_exit(code, last words) are called from its own thread."""

    def __init__(self, command: Sequence[str], on_line: Callable[[Line], None],
                 on_exit: Callable[[int, str], None]) -> None:
        """Raises OSError when it cannot be started."""
        posix = os.name == "posix"
        flags = 0 if posix else subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
        self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, start_new_session=posix, creationflags=flags)
        self._on_line, self._on_exit = on_line, on_exit
        threading.Thread(target=self._read, name=f"models {self._process.pid}", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        words = ""
        for raw in iter(lambda: self._process.stdout.readline(_LINE_CHARS), b""):   # type: ignore[union-attr]
            text = raw.decode("utf-8", "replace").strip()
            try:
                line = json.loads(text)
            except ValueError:
                words = text or words
                continue
            if isinstance(line, dict):
                self._on_line(line)
        self._on_exit(self._process.wait(), words[-_WORDS_CHARS:])

    def cancel(self) -> None:
        """Ask it to end: its standard input closes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            log.debug("models: %s", error)   # it is gone already

    def kill(self) -> None:
        """End it now, with what it started. Harmless when it has ended."""
        self.cancel()
        if self._process.poll() is not None:
            return
        if os.name == "posix":
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError) as error:   # macOS says the second of a group of zombies
                log.debug("models: %s", error)
        else:
            self._process.kill()


@dataclass
class _Task:
    """What is done with a model: its newest progress, the process, and when a cancel's patience is over."""

    message: FetchModel | VerifyModel | RemoveModel
    progress: ModelProgress
    child: Child | None = None
    error: ErrorInfo | None = None
    kill_at_s: float | None = field(default=None)


class ModelKeeper:
    """command: of the children. folder: of the weights; "" is the person's own. tell: called with each ModelList and
    ModelProgress, for those who asked."""

    def __init__(self, folder: str, grace_s: float, mailbox: Mailbox,
                 tell: Callable[[ModelList | ModelProgress], None], command: Sequence[str] | None = None) -> None:
        self._command = tuple(command or default_models_command())
        self._options = ("--folder", folder) if folder else ()
        self._grace_s, self._mailbox, self._tell = grace_s, mailbox, tell
        self._list = ModelList((), complete=False)
        self._looking: Child | None = None
        self._found: ModelList | None = None
        self._look_again = False
        self._task: _Task | None = None
        self._verified: set[str] = set()
        self._seq = 0

    # --- requests ----------------------------------------------------------------------------------------------
    def list(self) -> ModelList:
        """As known now, and not complete: it looks again, since files may have come from elsewhere; news follow."""
        self._look()
        return replace(self._list, complete=False)

    def begin(self, message: FetchModel | VerifyModel | RemoveModel) -> ModelProgress:
        """Start a task, or tell of it when it is under way. Raises BadSettings, Conflict."""
        task = self._task
        if task is not None:
            if task.message == message:
                return task.progress
            raise Conflict(f"Something is being done with {task.message.model} already.",
                           "Wait until it is done, or cancel it.")
        if isinstance(message, FetchModel):
            self._check_licence(message)
            name = "copy" if message.place else "fetch"
        else:
            name = _TASKS[type(message).__name__]
        self._seq += 1
        self._task = task = _Task(message, ModelProgress(message.model, name, "running", self._seq))
        try:
            task.child = Child(self._command_of(message), self._poster(self._on_line), self._poster(self._on_exit))
        except OSError as error:
            self._task = None
            raise InternalError(f"The engine cannot start a process ({error.strerror}).",
                                "Restart the engine.") from error
        log.info("%s of model %s begins", name, message.model)
        self._tell(task.progress)
        return task.progress

    def cancel(self, message: CancelFetch) -> ModelProgress:
        """Ask the task of this model to end. Raises UnknownJob."""
        task = self._task
        if task is None or task.message.model != message.model:
            raise UnknownJob(f"Nothing is being done with {message.model}.")
        if task.kill_at_s is None and task.child is not None:
            task.kill_at_s = time.monotonic() + self._grace_s
            task.child.cancel()
        return task.progress

    @property
    def progress(self) -> ModelProgress | None:
        """Of the task under way."""
        return self._task.progress if self._task is not None else None

    # --- life --------------------------------------------------------------------------------------------------
    @property
    def is_busy(self) -> bool:
        """Whether tick() has something to look after closely."""
        return self._task is not None and self._task.kill_at_s is not None

    def tick(self) -> None:
        """Look at the clock."""
        task = self._task
        if task is not None and task.child is not None and task.kill_at_s is not None \
                and time.monotonic() > task.kill_at_s:
            task.child.kill()

    def stop(self) -> None:
        """The engine ends: so do the children."""
        for child in (self._looking, self._task.child if self._task is not None else None):
            if child is not None:
                child.kill()

    # --- the task ----------------------------------------------------------------------------------------------
    def _check_licence(self, message: FetchModel) -> None:
        known = next((model for model in self._list.models if model.name == message.model), None)
        if known is not None and known.non_commercial and not message.accept_licence:
            raise BadSettings(f"The licence of {known.title} ({known.licence}) forbids commercial use.",
                              f"Read {known.licence_url} and accept it first.")

    def _command_of(self, message: FetchModel | VerifyModel | RemoveModel) -> list[str]:
        if not isinstance(message, FetchModel):
            return [*self._command, _TASKS[type(message).__name__], message.model, "--lines", *self._options]
        given = [*self._command, "fetch", message.model, "--lines", *self._options]
        # with "=", so that no value is taken for an option
        given += [f"--from={message.place}"] if message.place else []
        given += [f"--mirror={message.mirror}"] if message.mirror else []
        given += ["--offline"] if message.offline else []
        return [*given, "--accept-licence"] if message.accept_licence else given

    def _poster(self, call: Callable[..., None]) -> Callable[..., None]:
        return lambda *given: self._mailbox.post(partial(call, *given))

    def _on_line(self, line: Line) -> None:
        task = self._task
        if task is None:
            return
        if "error" in line:
            task.error = _error_of(line["error"])
            return
        done, total = line.get("done"), line.get("total")
        if type(done) is int and type(total) is int and done >= 0 and total >= 0:
            self._move(task, "running", done_bytes=done * _MB, total_bytes=total * _MB)

    def _move(self, task: _Task, state: str, **changes: Any) -> None:
        self._seq += 1
        task.progress = replace(task.progress, state=state, seq=self._seq, **changes)
        self._tell(task.progress)

    def _on_exit(self, code: int, words: str) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        model, name = task.message.model, task.progress.task
        if task.kill_at_s is not None and code != 0:
            state, error = "cancelled", None
        elif code == 0:
            state, error = "done", None
        else:
            state = "failed"
            error = task.error or ErrorInfo("internal", f"The process that did it ended with code {code}. {words}",
                                            "The engine's log may say more.")
            log.warning("%s of model %s failed: %s", name, model, error.message)
        (self._verified.add if state == "done" and name != "remove" else self._verified.discard)(model)
        self._move(task, state, error=error)
        self._look()

    # --- the list ----------------------------------------------------------------------------------------------
    def _look(self) -> None:
        if self._looking is not None:
            self._look_again = True
            return
        self._found = None
        try:
            self._looking = Child([*self._command, "list", "--json", *self._options],
                                  self._poster(self._on_list), self._poster(self._on_looked))
        except OSError as error:
            self._set_list(replace(self._list, complete=True, error=ErrorInfo(
                "internal", f"The engine cannot start a process ({error.strerror}).", "Restart the engine.")))

    def _on_list(self, line: Line) -> None:
        models = line.get("models")
        if not isinstance(models, list):
            return
        broken = line.get("broken")
        told = broken.items() if isinstance(broken, dict) else ()
        self._found = ModelList(tuple(filter(None, map(self._read_model, models))), complete=True,
                                broken=tuple((str(name), str(why)) for name, why in told))

    def _read_model(self, given: Any) -> ModelInfo | None:
        try:
            return from_plain(ModelInfo, {
                "name": given["name"], "title": given["title"], "licence": given["licence"],
                "licence_url": given["licence_url"], "non_commercial": not given["commercial_use"],
                "bytes": given["download_bytes"], "ram": given["ram_bytes"], "vram": given["vram_bytes"],
                "installed": given["ready"], "verified": given["ready"] and given["name"] in self._verified,
                "damaged": given["damaged"], "bytes_there": given["bytes_there"], "settings": given["settings"],
                "kind": given.get("kind", "shape"), "note": given.get("note", "")})
        except (KeyError, TypeError, BadHeader) as error:    # of a plug-in that states nonsense
            log.warning("a model is left out of the list: %s", error)
            return None

    def _on_looked(self, code: int, words: str) -> None:
        self._looking = None
        if self._look_again:
            self._look_again = False
            self._look()
            return
        self._set_list(self._found or replace(self._list, complete=True, error=ErrorInfo(
            "internal", f"The engine cannot tell which models there are (code {code}). {words}",
            "Repair the engine's environment, then restart the engine.")))

    def _set_list(self, found: ModelList) -> None:
        self._list = found
        self._tell(found)


def _error_of(given: Any) -> ErrorInfo:
    try:
        return from_plain(ErrorInfo, given)
    except BridgeError as error:
        return ErrorInfo("internal", f"What went wrong cannot be read ({error.message})")
