"""From one picture to an object: operator, panel, drag and drop, menu; what is said when it fails."""
from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import picture_drop, pump
from bl_ext.user_default.slipcast.addon.operators import picture as operators
from bl_ext.user_default.slipcast.addon.panels import picture as panel
from bl_ext.user_default.slipcast.bridge.model_messages import ModelInfo
from bl_ext.user_default.slipcast.bridge.settings import ImageSettings
from fake_engine import BAD_MASKS
from played import played_engine
from shapes import png

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")

OPS = bpy.ops.slipcast
WIDTH, HEIGHT = 64, 48


@pytest.fixture
def engine(tmp_path, monkeypatch):
    with played_engine(tmp_path, monkeypatch) as given:
        yield given


@pytest.fixture
def cup(tmp_path):
    """A picture with random colours."""
    path = tmp_path / "my cup.png"
    path.write_bytes(png(np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)))
    return path


def _asked():
    return bpy.context.scene.slipcast_picture


def _objects() -> list[str]:
    return sorted(thing.name for thing in bpy.data.objects)


def test_a_picture_becomes_an_object_named_after_it_with_the_pictures_camera(engine, cup):
    bpy.context.scene.cursor.location = (1, 2, 3)
    assert OPS.generate_from_picture(filepath=str(cup), model="silhouette", face_budget=700, texture_px="512",
                                     target_size=4.0, import_cameras=True) == {"FINISHED"}
    made = bpy.data.objects["my cup"]
    assert tuple(made.location) == (1, 2, 3) and max(made.dimensions) == pytest.approx(4.0)
    settings = json.loads(made["slipcast_settings"])
    assert (made["slipcast_method"], settings["model"], settings["face_budget"], settings["texture_px"]) == \
        ("image", "silhouette", 700, 512)
    [camera] = [child for child in made.children if child.type == "CAMERA"]
    shown = camera.data.background_images[0]
    assert camera.data.show_background_images and shown.image.filepath == str(cup) and len(made.data.materials) == 1
    OPS.refresh_history()
    assert pump.session().history.jobs[0].label == "my cup"


def test_what_is_not_given_is_taken_from_the_panel_and_arguments_change_nothing_there(cup, fake_client):
    _asked().filepath, _asked().background, _asked().resolution = str(cup), "classic", 96
    assert OPS.generate_from_picture(resolution=128) == {"FINISHED"}
    _, method, settings, labels = next(asked for asked in fake_client.asked if asked[0] == "submit")
    assert method == "image" and labels == ["image"]
    assert (settings["background"], settings["resolution"], settings["model"]) == ("classic", 128, "auto")
    assert _asked().resolution == 96 and set(settings) == set(vars(ImageSettings()))


def test_a_mask_goes_with_the_picture_and_is_dropped_when_another_picture_is_chosen(cup, fake_client, tmp_path):
    mask = tmp_path / "mask.png"
    mask.write_bytes(cup.read_bytes())
    _asked().filepath = str(cup)
    _asked().mask = str(mask)
    OPS.generate_from_picture()
    assert next(asked for asked in fake_client.asked if asked[0] == "submit")[3] == ["image", "mask"]
    _asked().filepath = str(mask)
    assert _asked().mask == ""


def test_what_is_wrong_is_said_with_what_to_do_and_the_scene_stays(engine, cup, tmp_path):
    before = _objects()
    for options, words in (
            ({}, "No picture is chosen. Choose a PNG"), ({"filepath": str(tmp_path / "none.png")}, "There is no file"),
            ({"filepath": str(cup), "mask": str(tmp_path / "none.png")}, "There is no file"),
            ({"filepath": str(cup), "resolution": 64, "seed": BAD_MASKS}, "No object was found in the pictures."),
            ({"directory": str(tmp_path), "files": [{"name": "a.png"}, {"name": "b.png"}]},
             "2 pictures were chosen; one picture makes one mesh. .*their cameras are needed")):
        with pytest.raises(RuntimeError, match=words):
            OPS.generate_from_picture(**options)
    assert _objects() == before and pump.session().job is None


def test_the_result_is_one_undo_step_and_starting_is_none(engine, cup):
    bpy.ops.ed.undo_push(message="before")
    OPS.generate_from_picture("EXEC_DEFAULT", True, filepath=str(cup))
    assert "my cup" in bpy.data.objects
    bpy.ops.ed.undo()
    assert "my cup" not in bpy.data.objects


def test_one_dropped_file_is_taken_by_its_name_in_its_folder(engine, cup):
    assert OPS.generate_from_picture(directory=str(cup.parent), files=[{"name": cup.name}], filepath=str(cup)) == \
        {"FINISHED"}
    assert operators.chosen_file("", str(cup.parent), [cup.name]) == str(cup)
    assert operators.chosen_file("", "", []) == "" and operators.chosen_file("", "/x", [""]) == ""


def test_dropped_pictures_come_to_the_operator_in_the_viewport_only():
    handler = next(kind for kind in picture_drop.CLASSES if issubclass(kind, bpy.types.FileHandler))
    assert handler.bl_import_operator == operators.SLIPCAST_OT_generate_from_picture.bl_idname
    assert {".png", ".jpg", ".jpeg", ".webp"} == set(handler.bl_file_extensions.split(";"))
    assert hasattr(bpy.types, "SLIPCAST_FH_picture")
    for area, wanted in (("VIEW_3D", True), ("IMAGE_EDITOR", False)):
        assert handler.poll_drop(SimpleNamespace(area=SimpleNamespace(type=area))) is wanted
    assert handler.poll_drop(SimpleNamespace(area=None)) is False
    rna = OPS.generate_from_picture.get_rna_type().properties
    assert {"filepath", "directory", "files"} <= set(rna.keys())


def test_the_menu_add_leads_to_it_and_is_as_before_after_the_extension_is_off():
    before = bpy.types.VIEW3D_MT_add._dyn_ui_initialize().count(picture_drop.draw_in_add_menu)
    assert before == 1
    picture_drop.unregister()
    assert picture_drop.draw_in_add_menu not in bpy.types.VIEW3D_MT_add._dyn_ui_initialize()
    assert not hasattr(bpy.types, "SLIPCAST_FH_picture") and not hasattr(bpy.types, "SLIPCAST_MT_add")
    picture_drop.register()
    assert bpy.types.VIEW3D_MT_add._dyn_ui_initialize().count(picture_drop.draw_in_add_menu) == 1


def _info(**changed) -> ModelInfo:
    facts = {"name": "triposr", "title": "TripoSR", "licence": "MIT", "licence_url": "https://example.org",
             "bytes": 1_677_000_000, "ram": 4_000_000_000, "vram": 6_000_000_000, "installed": False, "verified": False,
             "non_commercial": False}
    return ModelInfo(**{**facts, **changed})


def test_the_panel_says_what_will_make_the_mesh_and_under_which_licence():
    desk = pump.session().models

    def said(model: str, *models: ModelInfo, loaded: bool = True) -> str:
        desk.models, desk.loaded, _asked().model = models, loaded, model
        return " ".join(words for words, _ in panel.model_notes(_asked()))

    assert "rough base" in said("silhouette", loaded=False)
    assert "TripoSR (licence MIT), when it has been fetched" in said("auto", loaded=False)
    missing = said("auto", _info())
    assert "not on this computer yet. Licence: MIT" in missing and "rough base" in missing
    assert said("auto", _info(installed=True)) == "TripoSR is here. Licence: MIT."
    assert "rough base" not in said("triposr", _info()) and "not on this computer" in said("triposr", _info())
    assert said("dreamer", _info()) == "There is no model called dreamer."
    strict = _info(name="strict", title="Strict", non_commercial=True)
    assert "No commercial use" in said("strict", strict)
    assert panel.model_notes(_asked())[0][1] == "ERROR"
    desk.models, desk.loaded = (), False


def test_the_panel_offers_the_network_that_cuts_out_only_where_it_would_be_used():
    desk, network = pump.session().models, _info(name="u2net", title="U2-Net", kind="cutout")
    other = _info(name="isnet-general-use", title="IS-Net", kind="cutout", installed=True)
    desk.models = (network, other)
    for background, mask, wanted in (("auto", "", network), ("rembg:u2net", "", network), ("classic", "", None),
                                     ("rembg:isnet-general-use", "", None), ("auto", "/m.png", None)):
        _asked().background, _asked().mask = background, mask
        assert panel.missing_cutter(_asked()) is wanted
    desk.models = ()


def test_models_are_searched_by_a_part_of_their_name():
    desk = pump.session().models
    desk.models = (_info(), _info(name="toy"), _info(name="u2net", kind="cutout"))
    assert list(operators.search_models(None, bpy.context, "")) == ["auto", "triposr", "toy", "silhouette"]
    assert list(operators.search_models(None, bpy.context, "TO")) == ["auto", "toy"]
    desk.models = ()


def test_every_setting_of_the_method_is_in_the_panel_once_with_a_tip():
    shown = (*panel.IN_FRONT, *panel.FOLDED)
    assert len(shown) == len(set(shown)) and set(vars(ImageSettings())) <= set(shown)
    for properties in (_asked().bl_rna.properties, OPS.generate_from_picture.get_rna_type().properties):
        for name in shown:
            assert len(properties[name].description) > 15, name
    assert panel.why_not_yet(" ") == panel.NO_PICTURE
    assert "Preferences" in panel.why_not_yet("a.png")       # no Python is chosen in this Blender
