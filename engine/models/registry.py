"""Which models there are: our own, those that installed distributions bring along, and the networks that cut out.

Torch-free.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from ...bridge.errors import BadSettings
from .matting import CUTTERS
from .silhouette import MODEL as SILHOUETTE
from .spec import ModelSpec, SingleImageModel
from .triposr import MODEL as TRIPOSR

log = logging.getLogger(__name__)

GROUP = "slipcast.models"
# The engine also runs from an unpacked extension, which has no entry points: our own models are named here.
BUILT_IN: tuple[SingleImageModel, ...] = (TRIPOSR, SILHOUETTE)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")     # it becomes a folder


@dataclass(frozen=True)
class Models:
    """models: by name, our own first. broken: name of an entry point -> why it cannot be used."""

    models: Mapping[str, SingleImageModel]
    broken: Mapping[str, str]

    def get(self, name: str) -> SingleImageModel:
        """Raises BadSettings when there is no such model, or it cannot be used."""
        if name in self.models:
            return self.models[name]
        if name in self.broken:
            raise BadSettings(f"The model {name!r} cannot be used: {self.broken[name]}.",
                              "Install a version of it that fits this Slipcast.")
        raise _unknown(name, self.models)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """Of all that has weights to fetch or verify: the models, then the networks that cut out."""
        return (*(model.spec for model in self.models.values()), *(cutter.spec for cutter in CUTTERS.values()))

    def spec(self, name: str) -> ModelSpec:
        """Of a model or a network that cuts out. Raises BadSettings as `get` does."""
        if name in CUTTERS:
            return CUTTERS[name].spec
        if name not in self.models and name not in self.broken:
            raise _unknown(name, (*self.models, *CUTTERS))
        return self.get(name).spec


def _unknown(name: str, known: Iterable[str]) -> BadSettings:
    return BadSettings(f"There is no model called {name!r}.", f"Known: {', '.join(known)}.")


def find_models() -> Models:
    """All models of this environment. A plug-in that fails to import is named as broken and does no other harm."""
    models: dict[str, SingleImageModel] = {model.spec.name: model for model in BUILT_IN}
    broken: dict[str, str] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found = entry.load()
        except Exception as error:   # somebody else's code: it is told, and the others go on
            log.warning("the model plug-in %s cannot be imported", entry.name, exc_info=True)
            broken[entry.name] = f"{type(error).__name__}: {error}"
            continue
        problem = _why_not(found, models)
        if problem:
            log.warning("the model plug-in %s is left out: %s", entry.name, problem)
            broken[entry.name] = problem
        else:
            models[found.spec.name] = found
    return Models(models, broken)


def _why_not(found: Any, models: Mapping[str, SingleImageModel]) -> str | None:
    """What is wrong with the object behind an entry point; None when it is a model with a name of its own."""
    if isinstance(found, type) or not isinstance(found, SingleImageModel) or not isinstance(found.spec, ModelSpec):
        return "its entry point is no object with `spec` and `load`"
    if not isinstance(found.spec.name, str) or not _NAME.fullmatch(found.spec.name):
        return f"{found.spec.name!r} is no name for a model (small letters, digits, - and _)"
    if found.spec.name in models or found.spec.name in CUTTERS:
        return f"there is another model called {found.spec.name!r}"
    return None
