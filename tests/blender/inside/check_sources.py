"""What a result knows of what it was made from: only that is painted on again, and only its masks are shown."""
from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.operators import rebake as rebake_operator
from bl_ext.user_default.slipcast.addon.panels import rebake as panel
from bl_ext.user_default.slipcast.addon.scene.originals import views_folder_of, was_made_from
from bl_ext.user_default.slipcast.addon.scene.results import Placement, prepare_result
from bl_ext.user_default.slipcast.bridge.errors import BadFolder
from fakes import JOB
from refine_played import Played
from shapes import result

OPS = bpy.ops.slipcast


@pytest.fixture(autouse=True)
def own_python(monkeypatch):
    monkeypatch.setenv("SLIPCAST_ENGINE_PYTHON", "/no/such/python")   # the engine is played; it must only be named


def _landed(folder: Path, **asked) -> bpy.types.Object:
    request = GenerateRequest(folder, None, Placement("Sheet"), bpy.context.scene.name, **asked)
    return bpy.data.objects[SceneLanding().land(prepare_result(result(JOB), request.placement), request)]


def test_a_result_of_a_view_folder_is_painted_from_that_folder(tmp_path):
    made = _landed(tmp_path)
    assert views_folder_of(made) == str(tmp_path) and was_made_from(made, str(tmp_path))
    assert rebake_operator.views_request(bpy.context.scene.slipcast_rebake, bpy.context).folder == tmp_path


@pytest.mark.parametrize("asked", [{"kept": JOB, "method": "views"}, {"kept": JOB, "changes": {"seed": 3}},
                                   {"method": "image"}])
def test_a_result_of_which_no_folder_is_known_is_not_painted_from_a_wrong_one(tmp_path, asked):
    picture = tmp_path / "cup.png"
    made = _landed(picture if "kept" not in asked else Path(), **asked)
    assert views_folder_of(made) == "" and was_made_from(made, str(picture)) is ("kept" not in asked)
    with pytest.raises(BadFolder, match="was not made from one"):
        rebake_operator.views_request(bpy.context.scene.slipcast_rebake, bpy.context)
    assert "was not made from one" in panel.why_not_views(bpy.context)


def test_each_mesh_made_of_the_scene_keeps_its_own_renders():
    Played()
    made = []
    for name in ("cube", "monkey"):
        getattr(bpy.ops.mesh, f"primitive_{name}_add")()
        bpy.context.object.name = name
        assert OPS.generate_from_scene(targets="ORBIT", subject=name, count=3, resolution=32, samples=1,
                                       quality="draft") == {"FINISHED"}
        made.append(bpy.data.objects[f"{name} Slipcast"])
    folders = [Path(views_folder_of(each)) for each in made]
    assert all((folder / "transforms.json").is_file() for folder in folders)
    told = [(folder / "transforms.json").read_text() for folder in folders]
    assert '"cube"' in told[0] and '"monkey"' in told[1]
    assert all(folder.is_relative_to(bpy.app.tempdir) for folder in folders)     # Blender takes them away
