"""A picture dropped onto the viewport of a real Blender becomes a mesh (the pipeline is played, see drive_picture.py).

Skipped where there is no Blender or no screen. SLIPCAST_WINDOW_PICTURES=folder keeps the pictures of the screen.
"""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

pytestmark = [pytest.mark.window, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def checks(real_blender):
    """Drive Blender once; what it found."""
    out = real_blender.folder / "picture"
    out.mkdir()
    picture = out / "flamingo.png"
    shutil.copyfile(HERE.parent / "data" / "pictures" / "flamingo.png", picture)
    found = real_blender.drive("drive_picture.py", out, str(picture), options=("--enable-event-simulate",),
                               pictures="picture")
    return found | {"picture": str(picture)}


def test_a_dropped_picture_is_offered_to_us_shown_in_a_dialog_and_becomes_an_object(checks):
    assert checks["drop"] == "{'INTERFACE'}"         # a menu: Blender's own empty, and our mesh
    assert checks["in_the_panel"] == checks["picture"]
    assert checks["error"] == "" and checks["made"] == ["other"]


def test_its_mask_is_shown_in_an_image_editor_ready_to_be_painted(checks):
    assert checks["editor"] == ["PAINT", "Mask other.png"]


def test_several_pictures_are_not_guessed_at(checks):
    assert "one picture makes one mesh" in checks["several"] and "choose it under Views" in checks["several"]
