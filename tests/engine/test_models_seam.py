"""A model is found by its entry point and needs nothing but the seam; a broken one does no harm to the others."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slipcast.bridge.errors import BadSettings, OutOfMemory
from slipcast.bridge.settings import settings_from_mapping
from slipcast.engine.models.registry import find_models
from slipcast.engine.models.spec import describe_model, describe_settings, require_memory
from slipcast.engine.models.triposr.model import TripoSrSettings
from slipcast.engine.pipeline.progress import Run

PLUGIN = """
from dataclasses import dataclass
import numpy as np
from slipcast.engine.models.spec import ModelSpec, Reconstruction, WeightFile, knob
from slipcast.engine.pipeline.types import Camera, Mesh

@dataclass(frozen=True)
class BoxSettings:
    depth: float = knob(0.5, "How deep the box is", label="Depth", low=0.1, high=2.0)

class Loaded:
    def __init__(self, text):
        self.text = text
    def reconstruct(self, images, settings, run):
        height, width = images[0].shape[:2]
        with run.stage("fold", total=1, unit="boxes") as stage:
            corners = [[x, y * settings.depth, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
            vertices = np.array(corners, np.float32)
            faces = np.array([[0, 2, 6], [0, 6, 4]], np.int32)
            stage.advance()
        camera = Camera(width, height, 50.0, 50.0, width / 2, height / 2, np.eye(4))
        return Reconstruction(Mesh(vertices, faces), lambda points: np.full((len(points), 3), 0.5, np.float32), camera)

class Box:
    spec = ModelSpec(name="box", title="Box", licence="CC0", licence_url="https://example.org", commercial_use=False,
                     ram_bytes=1000, vram_bytes=2000, stages=("fold",), settings=BoxSettings,
                     files=(WeightFile("box.txt", 3, "0" * 64, "https://example.org/b"),))
    def load(self, files, device):
        return Loaded(files["box.txt"].read_text())

MODEL = Box()
TWIN = Box()
KIND = Box
"""


@pytest.fixture()
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a distribution with entry points of our group importable: install(name="module:object", ...)."""
    def install(**entries: str) -> None:
        (tmp_path / "box_for_slipcast.py").write_text(PLUGIN)
        (tmp_path / "broken_for_slipcast.py").write_text("import no_such_module_anywhere")
        info = tmp_path / "box_for_slipcast-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: box-for-slipcast\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[slipcast.models]\n{lines}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("box_for_slipcast", None)


def test_a_plugin_is_found_loaded_and_run_through_the_seam_alone(install, tmp_path: Path):
    install(box="box_for_slipcast:MODEL")
    models = find_models()
    assert list(models.models) == ["triposr", "silhouette", "box"] and not models.broken
    model = models.get("box")
    (tmp_path / "box.txt").write_text("abc")
    settings = settings_from_mapping(model.spec.settings, {"depth": 2})
    run = Run(model.spec.stages)
    loaded = model.load({"box.txt": tmp_path / "box.txt"}, "cpu")
    made = loaded.reconstruct([np.zeros((4, 6, 4), np.uint8)], settings, run)
    assert made.mesh.vertices[:, 1].max() == 2
    assert made.color_at(made.mesh.vertices).shape == (8, 3)
    assert [time.name for time in run.times] == ["fold"]
    with pytest.raises(BadSettings):
        settings_from_mapping(model.spec.settings, {"depth": 3.0})


def test_what_cannot_be_used_is_named_with_its_reason_and_harms_nobody(install):
    install(box="box_for_slipcast:MODEL", away="broken_for_slipcast:MODEL", twin="box_for_slipcast:TWIN",
            kind="box_for_slipcast:KIND", text="box_for_slipcast:PLUGIN_NAME_THAT_IS_NOT_THERE")
    models = find_models()
    assert list(models.models) == ["triposr", "silhouette", "box"]
    assert "no_such_module_anywhere" in models.broken["away"]
    assert "another model" in models.broken["twin"]
    assert "spec" in models.broken["kind"]
    assert "AttributeError" in models.broken["text"]
    with pytest.raises(BadSettings, match="cannot be used"):
        models.get("away")


def test_knowing_the_models_loads_no_torch():
    code = """
import sys
from slipcast.engine import modelcommands
from slipcast.engine.models.registry import find_models
assert find_models().models
print('torch' in sys.modules, 'skimage' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(BadSettings, match="Known: triposr"):
        find_models().get("nosuch")


def test_a_panel_can_be_built_from_plain_values():
    described = {knob["name"]: knob for knob in describe_settings(TripoSrSettings)}
    assert described["resolution"] == {"name": "resolution", "type": "int", "default": 256, "label": "Resolution",
                                       "tip": described["resolution"]["tip"], "low": 64, "high": 512, "unit": "points"}
    assert described["precision"]["choices"] == ["fp32", "bf16"]
    assert all(knob["tip"] and knob["label"] for knob in described.values())
    facts = describe_model(find_models().get("triposr").spec)
    assert facts["download_bytes"] == 1_677_246_742 and facts["licence"] == "MIT"


def test_a_model_that_does_not_fit_is_refused_with_numbers():
    spec = find_models().get("triposr").spec
    require_memory(spec, "cpu", spec.ram_bytes)
    with pytest.raises(OutOfMemory, match=r"3\.0 GB .* 2\.0 GB are free on this computer"):
        require_memory(spec, "cpu", 2_000_000_000)
    with pytest.raises(OutOfMemory, match=r"4\.0 GB .* 3\.5 GB are free on cuda:0.*CPU"):
        require_memory(spec, "cuda:0", 3_500_000_000)
