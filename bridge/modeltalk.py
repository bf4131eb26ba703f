"""The part of the client's conversation that is about models. No sockets; on the client's thread."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .events import ModelMoved, ModelsListed, ModelTurnedDown
from .model_messages import ModelList, ModelProgress, Models
from .post import Answer, Post, error_of


class ModelTalk:
    """ask: send a request and call back with its answer."""

    def __init__(self, post: Post, ask: Callable[[Any, Callable[[Answer], None]], None]) -> None:
        self._post, self._ask = post, ask
        self._listening = False
        self._newest: dict[str, int] = {}

    def list(self) -> None:
        """Ask for the list; later ones come by themselves, also after a reconnect."""
        self._listening = True
        self._ask(Models(), self._on_list_answer)

    def request(self, message: Any) -> None:
        """FetchModel, VerifyModel, RemoveModel or CancelFetch."""
        self._ask(message, lambda answer: self._on_task_answer(answer, message.model))

    def on_up(self) -> None:
        """Connected, perhaps to another engine. A request for the list that waited for this is asked twice: no harm."""
        self._newest.clear()
        if self._listening:
            self.list()

    def on_message(self, message: Any) -> None:
        """News; what is about something else is left alone."""
        if isinstance(message, ModelList):
            self._post.emit(ModelsListed(message))
        elif isinstance(message, ModelProgress):
            self._take(message)

    def _take(self, progress: ModelProgress) -> None:
        if progress.seq > self._newest.get(progress.model, -1):
            self._newest[progress.model] = progress.seq
            self._post.emit(ModelMoved(progress))

    def _on_list_answer(self, answer: Answer) -> None:
        if isinstance(answer, ModelList):
            self._post.emit(ModelsListed(answer))
        else:
            self._post.emit(ModelTurnedDown("", error_of(answer)))

    def _on_task_answer(self, answer: Answer, model: str) -> None:
        if isinstance(answer, ModelProgress):
            self._take(answer)
        else:
            self._post.emit(ModelTurnedDown(model, error_of(answer)))
