"""Blender properties, built from bridge.settings so that no knob is typed twice."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import Operator, PropertyGroup

from ..bridge.settings import ViewsSettings, settings_from_mapping

_PLAIN: dict[type, Callable[..., Any]] = {
    int: IntProperty, float: FloatProperty, bool: BoolProperty, str: StringProperty}


# Since Blender 4.5 a path that begins with // is shown as wrong unless its property says that it may.
_MAY_BE_RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def path_property(subtype: str = "DIR_PATH", options: set[str] | frozenset[str] = frozenset(), **shown: Any) -> Any:
    """A property for a folder (or FILE_PATH), which may be given from the .blend file's own ("//photos")."""
    return StringProperty(subtype=subtype, options={*options, *_MAY_BE_RELATIVE}, **shown)


def path_of(text: str) -> Path | None:
    """The absolute path that a path property names; None when it is empty."""
    return Path(bpy.path.abspath(text.strip())).absolute() if text.strip() else None


def knob_properties(kind: type, **extra: Any) -> dict[str, Any]:
    """Annotations of a Blender class for each knob of a settings dataclass. extra: for each of them (`options`)."""
    return {knob.name: _property(knob, extra) for knob in dataclasses.fields(kind)}


def addon_properties(**extra: Any) -> dict[str, Any]:
    """Annotations for what the engine is not asked: where the views are and where the result goes."""
    return {
        "folder": path_property(
            name="Views", **extra,
            description="Folder with pictures of one object and the cameras they were taken with: transforms.json, "
                        "a COLMAP model or a Middlebury parameter file"),
        "target_size": FloatProperty(
            name="Target Size", default=0.0, min=0.0, soft_max=100.0, unit="LENGTH", **extra,
            description="Longest side of the object in the scene. 0 keeps the size that the cameras give it"),
        "import_cameras": BoolProperty(
            name="Import Cameras", default=False, **extra,
            description="Also make a Blender camera for each view, in register with the object"),
    }


def given_or_shown(operator: Operator, panel: Any) -> Callable[[str], Any]:
    """read(name): what the operator was called with, else what its panel shows."""
    given: Any = operator.properties
    return lambda name: getattr(given if given.is_property_set(name) else panel, name)


def settings_from_properties(read: Callable[[str], Any], kind: type = ViewsSettings) -> Any:
    """A `kind` with the values that `read(name)` gives. Raises BadSettings for one that is out of range."""
    return settings_from_mapping(kind, {knob.name: type(knob.default)(read(knob.name))
                                        for knob in dataclasses.fields(kind)})


def _property(knob: dataclasses.Field[Any], extra: dict[str, Any]) -> Any:
    known = knob.metadata
    shown = {"name": known.get("label", knob.name), "description": known["tip"], **extra}
    if "choices" in known:
        # an enum's identifiers are text; settings may be numbers
        items = [(str(choice), _choice_label(choice, known.get("unit", "")), "") for choice in known["choices"]]
        return EnumProperty(items=items, default=str(knob.default), **shown)
    limits = {ours: known[theirs] for ours, theirs in (("min", "low"), ("max", "high")) if theirs in known}
    return _PLAIN[type(knob.default)](default=knob.default, **limits, **shown)


CHOICE_LABELS = {"classic": "By Colours", "alpha": "Alpha of the Picture", "rembg:u2net": "U2-Net",
                 "rembg:isnet-general-use": "IS-Net", "rembg:birefnet-general": "BiRefNet"}


def _choice_label(choice: Any, unit: str) -> str:
    if choice in CHOICE_LABELS:
        return CHOICE_LABELS[choice]
    return f"{choice} {unit}".strip() if not isinstance(choice, str) else choice.capitalize()


class SLIPCAST_PG_settings(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = {
        **addon_properties(), **knob_properties(ViewsSettings),
        "pending_job": StringProperty(options={"HIDDEN"}, description="A job of this file that has not ended yet"),
        "pending_label": StringProperty(options={"HIDDEN"}, description="What it makes")}


def register() -> None:
    bpy.utils.register_class(SLIPCAST_PG_settings)
    bpy.types.Scene.slipcast = PointerProperty(type=SLIPCAST_PG_settings)


def unregister() -> None:
    del bpy.types.Scene.slipcast
    bpy.utils.unregister_class(SLIPCAST_PG_settings)
