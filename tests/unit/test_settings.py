"""Settings are checked name by name; what panels and parsers are built from is complete."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from slipcast.bridge.errors import BadSettings
from slipcast.bridge.settings import MAX_FACES, METHODS, MIN_FACES, ViewsSettings, settings_from_mapping


def test_absent_names_keep_their_defaults():
    assert settings_from_mapping(ViewsSettings, {}) == ViewsSettings()
    assert settings_from_mapping(ViewsSettings, {"seed": 5}) == ViewsSettings(seed=5)


@pytest.mark.parametrize("given", [
    {"quality": "best"}, {"quality": 1}, {"quality": None}, {"quality": ["draft"]}, {"quality": {}},
    {"face_budget": MIN_FACES - 1}, {"face_budget": MAX_FACES + 1}, {"face_budget": 1000.0}, {"face_budget": "1000"},
    {"face_budget": True}, {"texture_px": 1000}, {"texture_px": [512]}, {"seed": -1}, {"seed": 2**31}, {"seed": True},
    {"Quality": "draft"}, {"steps": 3},
])
def test_anything_else_is_bad_settings(given: dict[str, Any]):
    with pytest.raises(BadSettings) as caught:
        settings_from_mapping(ViewsSettings, given)
    assert next(iter(given)) in str(caught.value)


def test_the_bounds_themselves_are_allowed():
    for faces in (MIN_FACES, MAX_FACES):
        assert settings_from_mapping(ViewsSettings, {"face_budget": faces}).face_budget == faces


@dataclasses.dataclass(frozen=True)
class Tempered:
    temperature: float = dataclasses.field(default=1.0, metadata={"low": 0.0, "high": 2.0})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 2.5, "1", True])
def test_a_number_must_be_finite_and_in_range(wrong: Any):
    with pytest.raises(BadSettings, match="temperature"):
        settings_from_mapping(Tempered, {"temperature": wrong})


def test_a_whole_number_is_a_number():
    assert settings_from_mapping(Tempered, {"temperature": 2}).temperature == 2.0


@dataclasses.dataclass(frozen=True)
class Named:
    name: str = dataclasses.field(default="", metadata={"longest": 3})


def test_a_text_must_not_be_too_long():
    assert settings_from_mapping(Named, {"name": "abc"}).name == "abc"
    with pytest.raises(BadSettings, match="name has 4 characters"):
        settings_from_mapping(Named, {"name": "abcd"})


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_knob_says_what_a_panel_needs(method: str):
    for knob in dataclasses.fields(METHODS[method]):
        assert knob.metadata["tip"][0].isupper(), knob.name
        assert not knob.metadata["tip"].endswith("."), f"Blender adds the full stop itself: {knob.name}"
        assert knob.metadata["label"], knob.name
        bounds = [name for name in ("choices", "low", "longest") if name in knob.metadata]
        assert len(bounds) == (0 if isinstance(knob.default, bool) else 1), knob.name
        settings_from_mapping(METHODS[method], {knob.name: knob.default})      # a default is valid
