"""Models in Blender: what is said before a download, downloads from a bad server, online access, local files."""
from __future__ import annotations

import hashlib
import sys
import threading
from dataclasses import replace

import bpy
import pytest
from bl_ext.user_default.slipcast.addon import preferences, pump
from bl_ext.user_default.slipcast.addon.models import (
    ModelDesk,
    ended_words,
    licence_words,
    need_words,
    state_words,
    task_words,
)
from bl_ext.user_default.slipcast.addon.operators import models as operators
from bl_ext.user_default.slipcast.bridge.errors import Conflict, EngineGone
from bl_ext.user_default.slipcast.bridge.model_messages import ModelInfo, ModelProgress
from lying_server import serving
from played import engine_pid, played_engine, wait

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")

CONTENT = hashlib.shake_256(b"weights").digest(3_000_000)
PLUGIN = f"""
from dataclasses import dataclass
from slipcast.engine.models.spec import ModelSpec, WeightFile, knob

@dataclass(frozen=True)
class Settings:
    depth: float = knob(0.5, "How deep it is", label="Depth", low=0.1, high=2.0)

class Toy:
    def __init__(self, name, commercial_use):
        file = WeightFile("a.ckpt", {len(CONTENT)}, "{hashlib.sha256(CONTENT).hexdigest()}", "https://example.org/a")
        self.spec = ModelSpec(name=name, title=name.title(), licence="CC0", licence_url="https://example.org/licence",
                              commercial_use=commercial_use, ram_bytes=1500000000, vram_bytes=2000000000, stages=(),
                              settings=Settings, files=(file,))
    def load(self, files, device):
        raise AssertionError("not loaded here")

TOY, STRICT = Toy("toy", True), Toy("strict", False)
"""


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    plugins = tmp_path / "plugins"
    info = plugins / "toys_for_slipcast-1.0.dist-info"
    info.mkdir(parents=True)
    (plugins / "toys_for_slipcast.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys-for-slipcast\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[slipcast.models]\ntoy = toys_for_slipcast:TOY\n"
                                           "strict = toys_for_slipcast:STRICT\n")
    monkeypatch.setenv("SLIPCAST_TEST_PLUGINS", str(plugins))
    with played_engine(tmp_path, monkeypatch) as given:
        yield given
        given.models_mirror = ""


@pytest.fixture
def server(engine):
    with serving(CONTENT) as served:
        engine.models_mirror = served[1]
        yield served


@pytest.fixture
def online(monkeypatch):
    """Blender's switch, which a process without a window cannot turn on."""
    monkeypatch.setattr(operators, "is_online", lambda: True)


def _model(name: str = "toy"):
    return pump.session().models.find(name)


def _weights(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "data" / "weights").rglob("*") if path.suffix in (".ckpt", ".part"))


def test_list_says_licence_size_and_need_of_memory_before_anything_is_downloaded():
    assert bpy.ops.slipcast.refresh_models() == {"FINISHED"}
    desk = pump.session().models
    assert desk.loaded and not desk.busy and {"triposr", "toy", "strict"} <= {info.name for info in desk.models}
    assert licence_words(_model("triposr")) == "Licence: MIT"
    assert need_words(_model()) == "3 MB to download; needs 2.0 GB on a graphics card, or 1.5 GB of memory"
    assert need_words(replace(_model(), vram=0)) == "3 MB to download; needs 1.5 GB of memory"
    assert licence_words(_model("strict")) == "No commercial use: licence CC0"
    assert state_words(_model()) == "Not on this computer yet"
    assert [knob["name"] for knob in _model().settings] == ["depth"]


def test_fetch_check_and_remove_by_scripts_with_a_server_that_breaks_off(tmp_path, server, online):
    behaviour, _ = server
    behaviour.drops = [700_000]
    assert bpy.ops.slipcast.fetch_model(model="toy") == {"FINISHED"}
    assert behaviour.asked == [None, "bytes=700000-"] and _weights(tmp_path) == ["a.ckpt"]
    assert _model().installed and state_words(_model()) == "Here, and checked"
    assert ended_words(pump.session().models.ended, "Toy") == "Toy is here."
    path = tmp_path / "data" / "weights" / "toy" / "a.ckpt"
    assert bpy.ops.slipcast.verify_model(model="toy") == {"FINISHED"}
    path.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(RuntimeError, match="damaged"):
        bpy.ops.slipcast.verify_model(model="toy")
    assert bpy.ops.slipcast.remove_model(model="toy") == {"FINISHED"}
    assert _weights(tmp_path) == [] and not _model().installed
    with pytest.raises(RuntimeError, match="no model called 'nosuch'"):
        bpy.ops.slipcast.fetch_model(model="nosuch")


def test_corrupted_bytes_are_told_and_not_kept(tmp_path, server, online):
    server[0].content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(RuntimeError, match="not the file that its author published"):
        bpy.ops.slipcast.fetch_model(model="toy")
    assert _weights(tmp_path) == [] and pump.session().models.task is None


def test_online_access_that_is_off_opens_no_connection_and_a_local_file_is_still_taken(tmp_path, server, monkeypatch):
    monkeypatch.setattr(operators, "is_online", lambda: False)
    assert operators.SLIPCAST_OT_fetch_model.why_not(bpy.context) == operators.OFFLINE
    with pytest.raises(RuntimeError, match="online access is off"):
        bpy.ops.slipcast.fetch_model(model="toy")
    mine = tmp_path / "mine.ckpt"
    mine.write_bytes(CONTENT)
    assert operators.SLIPCAST_OT_adopt_model.why_not(bpy.context) == ""
    assert bpy.ops.slipcast.adopt_model(model="toy", filepath=str(mine)) == {"FINISHED"}
    assert _model().installed and mine.exists() and server[0].asked == []
    with pytest.raises(RuntimeError, match="No file is chosen"):
        bpy.ops.slipcast.adopt_model(model="toy")


def test_switch_of_blender_itself_is_what_is_asked():
    assert operators.is_online() is bpy.app.online_access


def test_licence_that_forbids_commercial_use_must_be_accepted(tmp_path, server, online):
    for known in (False, True):
        with pytest.raises(RuntimeError, match="forbids commercial use"):
            bpy.ops.slipcast.fetch_model(model="strict")
        assert server[0].asked == [] and known == pump.session().models.loaded or not known
        bpy.ops.slipcast.refresh_models()
    assert bpy.ops.slipcast.fetch_model(model="strict", accept_licence=True) == {"FINISHED"}
    assert _model("strict").installed


def test_download_is_shown_in_megabytes_and_cancelled_and_goes_on_later(tmp_path, server):
    behaviour, url = server
    behaviour.stall = threading.Event()
    session = pump.session()
    session.start_engine()
    session.models.fetch("toy", mirror=url)
    with pytest.raises(Conflict):
        session.models.verify("toy")
    wait(lambda: session.models.task is not None and session.models.task.total_bytes)
    assert task_words(session.models.task) == "Downloading: 0 of 3 MB" and session.busy
    part = tmp_path / "data" / "weights" / "toy" / "a.ckpt.part"
    wait(lambda: part.exists() and part.stat().st_size == 100_000)
    assert operators.SLIPCAST_OT_verify_model.why_not(bpy.context) == operators.TASK_RUNS
    assert bpy.ops.slipcast.cancel_fetch() == {"FINISHED"}
    wait(lambda: not session.models.busy)
    assert ended_words(session.models.ended, "Toy") == "Toy: cancelled. What was downloaded is kept."
    assert session.models.error is None and _weights(tmp_path) == ["a.ckpt.part"]
    assert state_words(_model()) == "0 of 3 MB are here"
    behaviour.stall.set()
    behaviour.stall = None
    session.models.fetch("toy", mirror=url)
    wait(lambda: not session.models.busy)
    assert behaviour.asked[-1] == "bytes=100000-" and _model().installed
    assert not bpy.ops.slipcast.cancel_fetch.poll()


def test_engine_that_ends_in_a_download_is_told_of(server):
    server[0].stall = threading.Event()
    session = pump.session()
    session.start_engine()
    session.models.fetch("toy", mirror=server[1])
    wait(lambda: session.models.task is not None)
    session.stop_engine()
    wait(lambda: not session.busy)
    assert isinstance(session.models.error, EngineGone) and session.models.task is None
    assert "goes on where it was" in str(session.models.error)


def test_words_of_models_in_every_state():
    info = ModelInfo("a", "A", "MIT", "https://example.org", False, 3_000_000, 1, 1, installed=True, verified=False)
    assert state_words(info) == "Here" and need_words(info).startswith("3 MB")
    nothing = ModelInfo("b", "B", "GPL", "", False, 0, 0, 0, installed=True, verified=True)
    assert (state_words(nothing), need_words(nothing)) == ("Always here", "Nothing to download")
    assert task_words(ModelProgress("a", "verify", "running", 1)) == "Checking"
    desk = ModelDesk()
    desk.cancel()
    assert not desk.busy and desk.find("a") is None


def test_nothing_starts_by_itself_and_buttons_say_why_they_are_grey(monkeypatch):
    assert not pump.session().models.busy and engine_pid() == 0
    monkeypatch.delenv("SLIPCAST_ENGINE_PYTHON")
    assert "has no Python yet" in operators.SLIPCAST_OT_refresh_models.why_not(bpy.context)
    assert preferences.models_mirror() == ""
