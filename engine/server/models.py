"""Models for clients: the list, and one task at a time, each in a child process that imports them (modelcommands.py).

The engine itself imports no model: they may be plug-ins, and slow. Everything here runs on the frontend's thread;
the threads that read the children only post.
"""
from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...bridge.codec import CTL_FROM_ENGINE, decode, encode, from_plain
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
from ...bridge.strict_json import MAX_INT, parse_json
from ..models.spec import MB
from ..settings import ServeSettings
from .mailbox import Mailbox
from .process import ChildProcess, engine_command

log = logging.getLogger(__name__)
_LINE_BYTES = 1_000_000     # a list with the settings of all models is one line
_DRAIN_S = 5.0              # nobody but the child writes to its pipe: its last line is waited for
_WORDS_CHARS = 2000
_LONGEST_ID = "x" * 64
_TASKS = {VerifyModel: "verify", RemoveModel: "remove"}

Line = Mapping[str, Any]


class _Child(ChildProcess):
    """A `models` command: its JSON lines go to on_line, its code and the last of its other lines to on_exit."""

    def __init__(self, command: Sequence[str], on_line: Callable[[Line], None],
                 on_exit: Callable[[int, str], None]) -> None:
        """Both are called from its threads. Raises OSError when it cannot be started."""
        words: deque[str] = deque(maxlen=1)

        def read(raw: bytes) -> None:
            try:
                line = parse_json(raw, _LINE_BYTES)
            except BadHeader:
                line = None
            if isinstance(line, dict):
                on_line(line)
            elif raw:
                words.append(raw.decode("utf-8", "replace")[-_WORDS_CHARS:])

        super().__init__(command, read, lambda code: on_exit(code, "".join(words)), _LINE_BYTES, _DRAIN_S)

    def kill(self) -> None:
        """End it now, with what it started. Harmless when it has ended."""
        self.close_stdin()
        super().kill()


@dataclass
class _Task:
    """What is done with a model: its newest progress, the process, and when a cancel's patience is over."""

    message: FetchModel | VerifyModel | RemoveModel
    progress: ModelProgress
    child: _Child | None = None
    error: ErrorInfo | None = None
    kill_at_s: float | None = None


class ModelKeeper:
    """tell: called with each ModelList and ModelProgress, for those who asked; they can be encoded."""

    def __init__(self, settings: ServeSettings, mailbox: Mailbox,
                 tell: Callable[[ModelList | ModelProgress], None]) -> None:
        self._settings, self._mailbox, self._tell = settings, mailbox, tell
        self._command = engine_command("models")
        self._options = ("--folder", settings.models_folder) if settings.models_folder else ()
        self._list = ModelList((), complete=False)
        self._looking: _Child | None = None
        self._look_until_s = 0.0
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
            name = _TASKS[type(message)]
        self._seq += 1
        self._task = task = _Task(message, ModelProgress(message.model, name, "running", self._seq))
        try:
            task.child = _Child(self._command_of(message), self._poster(self._on_line), self._poster(self._on_exit))
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
            task.kill_at_s = time.monotonic() + self._settings.models_grace_s
            task.child.close_stdin()    # which asks it to end
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
        task, now = self._task, time.monotonic()
        if task is not None and task.child is not None and task.kill_at_s is not None and now > task.kill_at_s:
            task.child.kill()
        if self._looking is not None and now > self._look_until_s:
            self._looking.kill()

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
            return [*self._command, _TASKS[type(message)], message.model, "--lines", *self._options]
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
        done, total = _bytes_of(line.get("done")), _bytes_of(line.get("total"))
        if done is not None and total is not None:
            self._move(task, "running", done_bytes=done, total_bytes=total)

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
        self._found, self._look_until_s = None, time.monotonic() + self._settings.models_look_s
        try:
            self._looking = _Child([*self._command, "list", "--json", *self._options],
                                  self._poster(self._on_list), self._poster(self._on_looked))
        except OSError as error:
            self._set_list(replace(self._list, complete=True, error=ErrorInfo(
                "internal", f"The engine cannot start a process ({error.strerror}).", "Restart the engine.")))

    def _on_list(self, line: Line) -> None:
        models = line.get("models")
        if not isinstance(models, list):
            return
        told, found = line.get("broken"), []
        broken = {name: str(why) for name, why in told.items()} if isinstance(told, dict) else {}
        for given in models:
            try:
                found.append(self._read_model(given))
            except (KeyError, TypeError, BadHeader) as error:    # of a plug-in that states nonsense
                name = str(given.get("name", "?") if isinstance(given, dict) else "?")
                broken[name] = f"what it states of itself cannot be read ({error})"
        self._found = ModelList(tuple(found), complete=True, broken=tuple(broken.items()))

    def _read_model(self, given: Any) -> ModelInfo:
        return from_plain(ModelInfo, {
            "name": given["name"], "title": given["title"], "licence": given["licence"],
            "licence_url": given["licence_url"], "non_commercial": not given["commercial_use"],
            "bytes": given["download_bytes"], "ram": given["ram_bytes"], "vram": given["vram_bytes"],
            "installed": given["ready"], "verified": given["ready"] and given["name"] in self._verified,
            "damaged": given["damaged"], "bytes_there": given["bytes_there"], "settings": given["settings"],
            "kind": given.get("kind", "shape"), "note": given.get("note", "")})

    def _on_looked(self, code: int, words: str) -> None:
        self._looking = None
        again, self._look_again = self._look_again, False
        found = self._found
        if found is None:
            late = f"it took more than {self._settings.models_look_s:g} s" if time.monotonic() > self._look_until_s \
                else f"code {code}"
            found = replace(self._list, complete=True, error=ErrorInfo(
                "internal", f"The engine cannot tell which models there are ({late}). {words}",
                "Take out model plug-ins that you have added, or repair the engine's environment."))
        self._set_list(replace(found, complete=not again))
        if again:
            self._look()

    def _set_list(self, found: ModelList) -> None:
        try:    # as its readers will: nothing that a plug-in states may end the engine, or the link to a client
            decode(encode(found, re=_LONGEST_ID, limits=self._settings.limits), CTL_FROM_ENGINE, self._settings.limits)
        except BridgeError as error:
            log.warning("the list of models cannot be told: %s", error)
            found = ModelList((), found.complete, error=ErrorInfo(
                "internal", f"What the models state of themselves cannot be sent ({error.message})",
                "Take out model plug-ins that you have added."))
        self._list = found
        self._tell(found)


def _bytes_of(megabytes: Any) -> int | None:
    return megabytes * MB if type(megabytes) is int and 0 <= megabytes <= MAX_INT // MB else None


def _error_of(given: Any) -> ErrorInfo:
    try:
        error = from_plain(ErrorInfo, given)
    except BridgeError as wrong:
        return ErrorInfo("internal", f"What went wrong cannot be read ({wrong.message})")
    return ErrorInfo(error.code[:_WORDS_CHARS], error.message[:_WORDS_CHARS], error.hint[:_WORDS_CHARS])
