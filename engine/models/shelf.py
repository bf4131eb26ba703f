"""The models that a process may use: which one a job means, and the last one loaded, kept for the next job."""
from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...bridge.connection import default_data_folder
from ...bridge.errors import BadWeights, OutOfMemory, WeightsError
from .memory import free_bytes
from .registry import find_models
from .spec import LoadedModel, SingleImageModel, require_memory
from .weights import WeightStore

log = logging.getLogger(__name__)

AUTO = "auto"
BEST, ALWAYS = "triposr", "silhouette"    # what "auto" means, and what it means where the best one cannot be used


def default_models_folder() -> Path:
    """Where weights are kept when nothing else is asked for."""
    return default_data_folder() / "models"


@dataclass(frozen=True)
class Choice:
    """model: to be used. device: where; another one than asked for only with a warning. warnings: for the person."""

    model: SingleImageModel
    device: str
    warnings: tuple[str, ...] = ()


class ModelShelf:
    """store: the weights on this disk. free: bytes that are free on a device. One model is in memory at a time."""

    def __init__(self, store: WeightStore, free: Callable[[str], int] = free_bytes) -> None:
        self.store, self._free = store, free
        self._kept: tuple[tuple[str, str, tuple[tuple[str, int], ...]], LoadedModel] | None = None

    def choose(self, name: str, device: str) -> Choice:
        """The model called `name`; "auto" is TripoSR where its weights are here and it fits, else the silhouette.

        Nothing is loaded. Raises BadSettings (no such model).
        """
        models = find_models()
        if name != AUTO:
            return Choice(models.get(name), device)
        best, reasons = models.get(BEST), []
        try:
            files = self.store.files(best.spec)
        except WeightsError as error:
            return Choice(models.get(ALWAYS), device, (_instead(error, best),))
        for place in dict.fromkeys((device, "cpu")):
            try:
                self._require(best, files, place)
            except OutOfMemory as error:
                reasons.append(error.message)
            else:
                return Choice(best, place, tuple(f"{text} So the CPU is used, which takes longer." for text in reasons))
        return Choice(models.get(ALWAYS), device, (" ".join([*reasons, "So another model was used."]),))

    def instead_of(self, choice: Choice, error: BadWeights) -> Choice:
        """What "auto" means when the chosen model turns out not to be loadable."""
        return Choice(find_models().get(ALWAYS), choice.device, (*choice.warnings, _instead(error, choice.model)))

    def load(self, model: SingleImageModel, device: str) -> LoadedModel:
        """The model on the device: the one that is loaded already, or loaded now. What was loaded before is let go.

        Raises WeightsMissing, BadWeights, OutOfMemory (with numbers, before anything is loaded).
        """
        files = self.store.files(model.spec)
        key = self._key(model, device, files)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        self.release()
        require_memory(model.spec, device, self._free(device))
        loaded = model.load(files, device)
        self._kept = key, loaded
        return loaded

    def release(self) -> None:
        """Forget the loaded model, so that its memory can be used for something else."""
        if self._kept is None:
            return
        device = self._kept[0][1]
        self._kept = None
        gc.collect()
        if device != "cpu":
            import torch

            torch.cuda.empty_cache()

    def _require(self, model: SingleImageModel, files: Mapping[str, Path], device: str) -> None:
        if self._kept is None or self._kept[0] != self._key(model, device, files):
            require_memory(model.spec, device, self._free(device))

    @staticmethod
    def _key(model: SingleImageModel, device: str,
             files: Mapping[str, Path]) -> tuple[str, str, tuple[tuple[str, int], ...]]:
        """What a loaded model is known by; a file that was fetched again is another one."""
        return model.spec.name, device, tuple((str(path), path.stat().st_mtime_ns) for path in files.values())


def open_shelf(folder: Path | None = None) -> ModelShelf:
    """A shelf with the weights in `folder`; None: where they are kept when nothing else is asked for."""
    return ModelShelf(WeightStore(folder or default_models_folder()))


def _instead(error: WeightsError, model: SingleImageModel) -> str:
    log.info("%s cannot be used: %s", model.spec.name, error)
    return f"{error.message} So another model was used. {error.hint}"
