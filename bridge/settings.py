"""What a person may ask of a job: one frozen dataclass a method, every knob once, default, unit and tip beside it.

They live in the bridge because both sides need them: the panels are built from them, the command line
is built from them, and the engine checks what arrives against them (docs/decisions/0001).
"""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import BadSettings

QUALITIES = ("draft", "normal", "high")
MIN_FACES, MAX_FACES = 500, 200_000
TEXTURE_SIZES_PX = (512, 1024, 2048, 4096)
MAX_ITERATIONS, MAX_SECONDS = 100_000, 36_000
NAME_CHARS = 200
MODEL_SETTINGS_CHARS = 4000
BACKGROUNDS = ("auto", "alpha", "classic", "rembg:u2net", "rembg:isnet-general-use", "rembg:birefnet-general")


TURNTABLE = "turntable"      # a knob that the command line has as an output: --turntable FOLDER


def _knob(default: Any, tip: str, **limits: Any) -> Any:
    """A field whose metadata (`tip`, `low`, `high`, `choices`, `longest`, `label`, `unit`) panels and parsers are built
    from. longest: of a free text, characters."""
    return field(default=default, metadata={"tip": tip, **limits})


# --- knobs that several methods have ---------------------------------------------------------------------------------
def _quality(tip: str = "How much time to spend: draft for a first look, high for the final mesh") -> Any:
    return _knob("normal", tip, label="Quality", choices=QUALITIES)


def _face_budget(more: str = "") -> Any:
    return _knob(20_000, f"Largest number of triangles in the result{more}",
                 label="Face Budget", low=MIN_FACES, high=MAX_FACES, unit="faces")


def _texture_px(default: int = 2048) -> Any:
    return _knob(default, "Width and height of the base colour texture",
                 label="Texture Size", choices=TEXTURE_SIZES_PX, unit="px")


def _normal_map() -> Any:
    return _knob(True, "Where simplifying took relief away, keep it as a normal map", label="Normal Map")


def _even_light() -> Any:
    return _knob(True, "Take a light that moves with the camera, as a flash does, out of the texture",
                 label="Even Light")


def _seed() -> Any:
    return _knob(0, "Same seed, same input, same device: same mesh", label="Seed", low=0, high=2**31 - 1)


def _turntable() -> Any:
    return _knob(False, "Also make a turn around the result: 30 pictures and a film, shown by Reveal Files",
                 label="Turntable")


# --- the methods -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ViewsSettings:
    """Method "views": a mesh from a few views with known cameras."""

    quality: str = _quality()
    face_budget: int = _face_budget()
    texture_px: int = _texture_px()
    normal_map: bool = _normal_map()
    even_light: bool = _even_light()
    seed: int = _seed()
    turntable: bool = _turntable()


@dataclass(frozen=True)
class RefineMeshSettings:
    """Method "refine": a mesh that there is, fitted to its views."""

    quality: str = _quality()
    keep_topology: bool = _knob(False, "Keep faces, vertices and texture coordinates; only positions change",
                                label="Keep Topology")
    iterations: int = _knob(0, "Steps of the optimisation, all levels together; 0: as many as the quality says",
                            label="Iterations", low=0, high=MAX_ITERATIONS, unit="n")
    seconds: float = _knob(0.0, "Time for the optimisation; 0: as much as the quality says",
                           label="Seconds", low=0.0, high=float(MAX_SECONDS), unit="s")
    symmetry: str = _knob("none", "Axis across which both sides stay alike, through the object's origin",
                          label="Symmetry", choices=("none", "x", "y", "z"))
    weights: str = _knob("", "Attribute of the vertices that says what may move: 0 locks, 1 is free",
                         label="Weights", longest=NAME_CHARS, unit="attr")
    face_budget: int = _face_budget(", where the topology is not kept")
    texture_px: int = _texture_px()
    normal_map: bool = _normal_map()
    even_light: bool = _even_light()
    seed: int = _seed()


@dataclass(frozen=True)
class BakeSettings:
    """Method "bake": the colours of views on a mesh that there is, at its own texture coordinates. Its shape stays."""

    quality: str = _quality("How large the views are worked on: draft for a first look, high for the final mesh")
    texture_px: int = _texture_px()
    even_light: bool = _even_light()


@dataclass(frozen=True)
class ImageSettings:
    """Method "image": a mesh from one picture, by a model that has learned what objects look like."""

    model: str = _knob("auto", "Model that makes the shape; auto: TripoSR when it has been fetched, else a rough base "
                       "inflated from the outline", label="Model", longest=NAME_CHARS, unit="name")
    background: str = _knob("auto", "How the object is told from its background, where no mask is given; auto: by the "
                            "picture's alpha, else by U2-Net when it has been fetched, else by colours",
                            label="Background", choices=BACKGROUNDS)
    foreground_ratio: float = _knob(0.85, "How much of the picture the object fills when the model sees it",
                                    label="Foreground Ratio", low=0.5, high=1.0)
    resolution: int = _knob(256, "Lattice points along the longest side: finer details, more time",
                            label="Resolution", low=64, high=512, unit="points")
    threshold: float = _knob(25.0, "Density of the surface: lower for thin parts that are missing, higher for lumps",
                             label="Density Threshold", low=1.0, high=200.0)
    keep_floaters: bool = _knob(False, "Keep small pieces that the model made apart from the object",
                                label="Keep Floaters")
    project_image: bool = _knob(True, "Paint what the picture shows onto the model's own colours",
                                label="Project Image")
    face_budget: int = _face_budget()
    texture_px: int = _texture_px(1024)
    seed: int = _seed()
    turntable: bool = _turntable()
    model_settings: str = _knob("", "What else may be chosen of the model, as JSON: {\"precision\": \"bf16\"}",
                                label="Model Settings", longest=MODEL_SETTINGS_CHARS, unit="json")


METHODS: dict[str, type] = {"views": ViewsSettings, "image": ImageSettings, "refine": RefineMeshSettings,
                            "bake": BakeSettings}
S = TypeVar("S")


def settings_from_mapping(kind: type[S], given: Mapping[str, Any]) -> S:
    """Check `given` name by name and build `kind`. Absent names keep their defaults.

    Raises BadSettings for an unknown name, a wrong type, or a value outside its range or choices.
    """
    knobs = {knob.name: knob for knob in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in given.items():
        if name not in knobs:
            raise BadSettings(f"There is no setting called {name!r}.", f"Known: {', '.join(knobs)}.")
        _check_value(knobs[name], value)
    return kind(**given)


def _check_value(knob: dataclasses.Field[Any], value: Any) -> None:
    wanted = type(knob.default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise BadSettings(f"{knob.name} must be {wanted.__name__}, not {type(value).__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadSettings(f"{knob.name} must be a finite number.")
    longest = knob.metadata.get("longest")
    if longest is not None and isinstance(value, str) and len(value) > longest:
        raise BadSettings(f"{knob.name} has {len(value)} characters.", f"Use at most {longest}.")
    choices = knob.metadata.get("choices")
    if choices and value not in choices:
        raise BadSettings(f"{knob.name} is {value!r}.", f"Choose one of {', '.join(map(str, choices))}.")
    low, high = knob.metadata.get("low"), knob.metadata.get("high")
    if low is not None and value < low or high is not None and value > high:
        raise BadSettings(f"{knob.name} is {value}.", f"Choose a value from {low} to {high}.")
