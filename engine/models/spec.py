"""What a single-image model is to the rest of the engine: the seam that plug-ins fill. Torch-free.

A plug-in is a distribution with an entry point in the group "slipcast.models" that names a SingleImageModel object.
Its settings are a frozen dataclass of `knob`s, from which panel and command line are built; nothing else is needed.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...bridge.errors import OutOfMemory

if TYPE_CHECKING:
    import numpy as np

    from ..pipeline.progress import Run
    from ..pipeline.types import Camera, Mesh

MB, GB = 1_000_000, 1e9    # as shops and download pages count


def knob(default: Any, tip: str, **facts: Any) -> Any:
    """A field of a settings dataclass. facts: `label`, `low`, `high`, `choices`, `unit`, as in bridge/settings.py."""
    return field(default=default, metadata={"tip": tip, **facts})


@dataclass(frozen=True)
class WeightFile:
    """A file that a model needs. url: where its author publishes it; size and digest are of the whole file."""

    name: str
    size_bytes: int
    sha256: str
    url: str


@dataclass(frozen=True)
class ModelSpec:
    """What a person should know before anything is downloaded or loaded.

    name: [a-z0-9_-]+, also the folder of its weights. commercial_use: whether the licence of the weights allows it;
    if not, fetching asks first. ram_bytes: needed on the CPU. vram_bytes: needed on a GPU.
    stages: the names that `reconstruct` gives to its stages, in order. settings: a frozen dataclass of knobs.
    kind: "shape" (a SingleImageModel) or "cutout" (a network that tells an object from its background).
    floats: small pieces apart from the object are likely to be its mistakes. note: what a person should know of its
    results, "" if nothing.
    """

    name: str
    title: str
    licence: str
    licence_url: str
    commercial_use: bool
    ram_bytes: int
    vram_bytes: int
    files: tuple[WeightFile, ...]
    stages: tuple[str, ...]
    settings: type
    kind: str = "shape"
    floats: bool = True
    note: str = ""

    @property
    def download_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Reconstruction:
    """What a model makes of a picture: in Blender's world, facing -Y, standing on z = 0, about one unit large.

    color_at: (N, 3) float32 points on the mesh -> (N, 3) float32 sRGB in [0, 1].
    camera: the camera that took the picture as it was given, as far as the model believes.
    """

    mesh: Mesh
    color_at: Callable[[np.ndarray], np.ndarray]
    camera: Camera


class LoadedModel(Protocol):
    """A model with its weights on a device."""

    def reconstruct(self, images: Sequence[np.ndarray], settings: Any, run: Run) -> Reconstruction:
        """images: (H, W, 4) uint8, sRGB, straight alpha = the object; most models use the first one.

        settings: an instance of the spec's settings. run: has all stages of the spec; asked for cancellation often.
        Raises BadImage, BadMasks, Cancelled; torch's OutOfMemoryError passes.
        """
        ...


@runtime_checkable
class SingleImageModel(Protocol):
    """A kind of model. `spec` costs nothing; torch is imported in `load` at the earliest."""

    @property
    def spec(self) -> ModelSpec: ...

    def load(self, files: Mapping[str, Path], device: str) -> LoadedModel:
        """files: name of each of the spec's files -> where it is. device: "cpu" or "cuda:N", known to work.

        Raises WeightsMissing, BadWeights.
        """
        ...


def describe_settings(kind: type) -> list[dict[str, Any]]:
    """The knobs of a settings dataclass as plain values: name, type, default, and the facts that it states."""
    return [{"name": one.name, "type": type(one.default).__name__, "default": one.default,
             **{fact: list(value) if isinstance(value, tuple) else value for fact, value in one.metadata.items()}}
            for one in dataclasses.fields(kind)]


def describe_model(spec: ModelSpec) -> dict[str, Any]:
    """A spec as plain values, for the bridge and for --json."""
    return {"name": spec.name, "kind": spec.kind, "title": spec.title, "note": spec.note,
            "licence": spec.licence, "licence_url": spec.licence_url,
            "commercial_use": spec.commercial_use, "download_bytes": spec.download_bytes,
            "ram_bytes": spec.ram_bytes, "vram_bytes": spec.vram_bytes, "stages": list(spec.stages),
            "settings": describe_settings(spec.settings)}


def require_memory(spec: ModelSpec, device: str, free_bytes: int) -> None:
    """Refuse a model that does not fit, before it is loaded. free_bytes: on `device`. Raises OutOfMemory."""
    on_cpu = device == "cpu"
    needed = spec.ram_bytes if on_cpu else spec.vram_bytes
    if free_bytes < needed:
        place = "this computer" if on_cpu else device
        raise OutOfMemory(f"{spec.title} needs {needed / GB:.1f} GB of memory, and {free_bytes / GB:.1f} GB are free "
                          f"on {place}.", "Close other programs, or choose a smaller model." if on_cpu
                          else "Close other programs that use the GPU, or choose the CPU.")
