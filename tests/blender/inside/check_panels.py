"""Panels hand on what they show, and say what is so."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.operators.history import show_settings
from bl_ext.user_default.slipcast.addon.panels import history, main, rebake, refine
from bl_ext.user_default.slipcast.bridge.errors import Cancelled
from fakes import JOB, fake_session
from shapes import result


class Layout:
    """Takes what a panel draws: words, and the operators with what they are given."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.buttons: dict[str, Any] = {}
        self.box = self.row = self.column = lambda **_: self
        self.prop = self.prop_search = self.separator = lambda *_, **__: None

    def label(self, text: str = "", icon: str = "NONE") -> None:
        self.words.append(text)

    def operator(self, name: str, **_: Any) -> Any:
        self.buttons[name] = SimpleNamespace()
        return self.buttons[name]


def test_bake_from_views_gets_all_that_its_panel_shows():
    asked = bpy.context.scene.slipcast_rebake
    asked.source, asked.folder, asked.quality, asked.texture_px, asked.even_light = "VIEWS", "/v", "high", "8192", False
    layout = Layout()
    rebake.draw_rebake(layout, bpy.context)
    given = vars(layout.buttons["slipcast.rebake_views"])
    assert given == {"folder": "/v", "quality": "high", "texture_px": "4096", "even_light": False}   # its largest


class Context:
    """The context as a panel has it: of a region to be drawn in, which is not there without a window."""

    region = SimpleNamespace(width=4000)
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))

    def __getattr__(self, name: str) -> Any:
        return getattr(bpy.context, name)


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")
    return Context()


def test_a_cancelled_job_whose_mesh_was_kept_is_not_said_to_have_left_the_scene(context):
    for kept, words in (("", "The scene is as it was."), ("skull", "Its mesh was kept as skull.")):
        layout = Layout()
        main.draw_ending(layout, context, SimpleNamespace(error=Cancelled("Cancelled."), kept=kept))
        assert layout.words == [f"Cancelled. {words}"]


def test_make_a_mesh_of_it_says_itself_what_it_lacks(context):
    layout = Layout()
    refine.SLIPCAST_PT_refine.draw(SimpleNamespace(layout=layout), context)
    said = " ".join(layout.words)
    assert "Select the mesh that is to be refined." in said and "Choose the object or collection to match." in said
    bpy.ops.mesh.primitive_cube_add()
    layout = Layout()
    refine.SLIPCAST_PT_refine.draw(SimpleNamespace(layout=layout), context)
    assert " ".join(layout.words).count("Choose the object or collection to match.") == 1     # not twice


def test_import_is_grey_for_a_failed_job_also_when_the_file_offers_another(context):
    given, client, _ = fake_session()
    pump.open_session(given)
    info = result(JOB).info
    failed = type(info)(**{**vars(info), "state": "failed"})
    client.jobs = (failed,)
    given.start_engine()
    pump.wait_until(lambda: given.history.loaded)
    context.scene.slipcast.pending_job = "9" * 32
    layout = Layout()
    history._draw_job(layout, context, failed, 0)
    assert layout.enabled is False and "slipcast.import_result" in layout.buttons
    with pytest.raises(RuntimeError, match="This job is failed: choose another one"):
        bpy.ops.slipcast.import_result(job=JOB)
    assert given.job is None


def test_dialog_of_run_again_takes_the_default_for_what_is_not_known_any_more():
    given = bpy.context.window_manager.slipcast_again.views
    info = result(JOB).info
    show_settings(given, type(info)(JOB, "views", "done", 1, 1, 0.0, settings={"quality": "splendid", "seed": 4}))
    assert (given.quality, given.seed) == ("normal", 4)
