"""Masks can be seen, painted, replaced and dropped; the artist's own files are never written over."""
from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import mask_store
from bl_ext.user_default.slipcast.addon.operators import masks as mask_operators
from bl_ext.user_default.slipcast.addon.scene import masks
from bl_ext.user_default.slipcast.bridge.errors import BadFolder, BadMasks
from bl_ext.user_default.slipcast.bridge.folders import collect_view_folder, list_pictures
from shapes import png

OPS = bpy.ops.slipcast
WIDTH, HEIGHT = 48, 32


def _disc(x: float, radius: float = 9.0) -> np.ndarray:
    """(H, W) bool, row 0 on top."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(columns - x, rows - 12) < radius


def _photo() -> np.ndarray:
    return np.random.default_rng(1).integers(30, 220, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def views(tmp_path) -> Path:
    """Four views: one cut out by its alpha, one with a mask file, two without any."""
    folder = tmp_path / "cup"
    (folder / "masks").mkdir(parents=True)
    cut = np.dstack([_photo(), _disc(12).astype(np.uint8) * 255])
    (folder / "a.png").write_bytes(png(cut))
    for name in "bcd":
        (folder / f"{name}.png").write_bytes(png(_photo()))
    (folder / "masks" / "b.png").write_bytes(masks.grey_png(_disc(20).astype(float)))
    frames = [{"file_path": f"{name}.png"} for name in "abcd"]
    frames[1]["mask_path"] = "masks/b.png"
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    bpy.context.scene.slipcast.folder = str(folder)
    return folder


def _archive() -> bytes:
    held = io.BytesIO()
    rows = [{"view": "a.png", "source": "alpha", "confidence": 1.0, "cover": 0.2, "file": None},
            {"view": "b.png", "source": "alpha", "confidence": 1.0, "cover": 0.2, "file": None},
            {"view": "c.png", "source": "centre", "confidence": 0.3, "cover": 0.2, "file": "0002.png"},
            {"view": "d.png", "source": "key", "confidence": 0.0, "cover": 0.0, "file": "0003.png"}]
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("0002.png", masks.grey_png(_disc(30).astype(float)[::2, ::2]))
        archive.writestr("0003.png", masks.grey_png(np.zeros((HEIGHT, WIDTH))))
        archive.writestr("masks.json", json.dumps(rows))
    return held.getvalue()


@pytest.fixture
def result(views) -> bpy.types.Object:
    """An object made from the views, with what the engine took for the object in them."""
    made = bpy.data.objects.new("cup", bpy.data.meshes.new("cup"))
    bpy.context.scene.collection.objects.link(made)
    job = hashlib.sha256(str(views).encode()).hexdigest()[:32]
    made["slipcast_job"], made["slipcast_views"] = job, str(views)
    mask_store.keep_masks(job, _archive(), ["a.png: its mask contradicts all other views, so it was left out."])
    return made


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def _shown(view: str) -> bpy.types.Image:
    return next(image for image in bpy.data.images if image.get("slipcast_mask_of") == view)


def _upright(image: bpy.types.Image) -> np.ndarray:
    """(H, W) bool, row 0 on top: what the picture to paint in calls object."""
    return masks.mask_of(image)[::-1] > 0.5


def _paint(image: bpy.types.Image, solid: np.ndarray) -> None:
    """As strokes that add and erase alpha do. solid: (H, W) bool, row 0 on top."""
    pixels = np.empty(4 * WIDTH * HEIGHT, np.float32)
    image.pixels.foreach_get(pixels)
    pixels.reshape(HEIGHT, WIDTH, 4)[..., 3] = solid[::-1]
    image.pixels.foreach_set(pixels)
    image.update()


def test_each_view_shows_the_mask_that_the_engine_will_take(views, result):
    for view, wanted in (("a.png", _disc(12)), ("b.png", _disc(20)), ("c.png", _disc(30)),
                         ("d.png", np.zeros((HEIGHT, WIDTH), bool))):
        assert OPS.paint_mask(view=view) == {"FINISHED"}
        assert (_upright(_shown(view)) != wanted).mean() < 0.03, view       # c's was drawn at half the size
    pixels = np.empty(4 * WIDTH * HEIGHT, np.float32)
    _shown("b.png").pixels.foreach_get(pixels)
    shown = pixels.reshape(HEIGHT, WIDTH, 4)[::-1]
    assert np.abs(shown[..., :3] * 255 - _photo()).max() < 0.6             # the photo itself, upright
    assert np.allclose(shown[..., 3][~_disc(20)], masks.GHOST, atol=0.01) and (shown[..., 3][_disc(20)] > 0.99).all()
    assert OPS.paint_mask(view="b.png") == {"FINISHED"}                    # again: the same picture
    assert sum(image.get("slipcast_mask_of") == "b.png" for image in bpy.data.images) == 1
    assert {image.name for image in bpy.data.images} == {f"Mask {name}.png" for name in "abcd"}


def test_a_painted_mask_is_saved_beside_the_artists_files_and_wins_for_all_of_them(views):
    before = _files(views)
    for number, view in enumerate(("a.png", "b.png", "c.png")):
        OPS.paint_mask(view=view)
        _paint(_shown(view), _disc(10 + 10 * number))
        assert OPS.save_mask(view=view) == {"FINISHED"}
    after = _files(views)
    assert {name: after[name] for name in before} == before               # nothing of the artist's was touched
    assert sorted(set(after) - set(before)) == [f"slipcast_masks/{name}.png.png" for name in "abc"]
    assert {label for label in collect_view_folder(views) if label.startswith("slipcast_masks/")} == \
        {f"slipcast_masks/{name}.png.png" for name in "abc"}
    for image in list(bpy.data.images):
        bpy.data.images.remove(image)
    OPS.paint_mask(view="a.png")                                          # over its alpha
    assert (_upright(_shown("a.png")) == _disc(10)).all()


def test_a_second_save_and_a_drop_keep_what_was_painted_before(views):
    OPS.paint_mask(view="c.png")
    _paint(_shown("c.png"), _disc(10))
    OPS.save_mask()                                                       # the only one that is open
    path = views / "slipcast_masks" / "c.png.png"
    first = path.read_bytes()
    _paint(_shown("c.png"), _disc(30))
    OPS.save_mask(view="c.png")
    assert path.read_bytes() != first and path.with_name("c.png.png.before").read_bytes() == first
    assert OPS.drop_mask(view="c.png") == {"FINISHED"}
    assert not path.exists() and "slipcast_masks/c.png.png" not in collect_view_folder(views)
    assert not bpy.data.images
    with pytest.raises(RuntimeError, match="no painted mask"):
        OPS.drop_mask(view="c.png")


def test_views_to_look_at_are_the_doubtful_ones_until_they_are_painted(views, result):
    from bl_ext.user_default.slipcast.addon.panels import masks as panel

    assert panel.SLIPCAST_PT_masks.bl_space_type == "VIEW_3D"
    found = mask_operators.views_to_look_at(bpy.context)
    assert [view for view, _ in found] == ["d.png", "c.png", "a.png"]     # the worst first
    assert "empty or covers everything" in found[0][1] and "guessed" in found[1][1]
    assert found[2][1] == "its mask contradicts all other views, so it was left out."
    OPS.paint_mask(view="d.png")
    _paint(_shown("d.png"), _disc(20))
    OPS.save_mask(view="d.png")
    assert [view for view, _ in mask_operators.views_to_look_at(bpy.context)] == ["c.png", "a.png"]
    result["slipcast_views"] = "/elsewhere"
    assert mask_operators.views_to_look_at(bpy.context) == []


def test_a_mask_file_of_another_size_replaces_a_mask_and_is_copied(views, tmp_path):
    given = tmp_path / "hand.png"
    given.write_bytes(masks.grey_png(_disc(24).astype(float).repeat(3, 0).repeat(3, 1)))
    OPS.paint_mask(view="c.png")
    assert OPS.replace_mask(view="c.png", filepath=str(given)) == {"FINISHED"}
    assert given.exists() and (_upright(_shown("c.png")) == _disc(24)).all()
    assert (views / "slipcast_masks" / "c.png.png").is_file()
    cut = tmp_path / "cut.png"
    cut.write_bytes(png(np.dstack([_photo(), _disc(12).astype(np.uint8) * 255])))
    OPS.replace_mask(view="c.png", filepath=str(cut))                     # by its alpha
    assert (_upright(_shown("c.png")) == _disc(12)).all()
    for values, words in ((np.ones((40, 40)), "the same everywhere"), (np.eye(40), "proportions of its picture")):
        given.write_bytes(masks.grey_png(values))
        with pytest.raises(RuntimeError, match=words):
            OPS.replace_mask(view="c.png", filepath=str(given))
    with pytest.raises(RuntimeError, match="does not exist"):
        OPS.replace_mask(view="c.png", filepath=str(tmp_path / "none.png"))


@pytest.fixture
def other_views(views, tmp_path) -> Path:
    """Another folder with pictures of the same names; the panel names the first."""
    other = tmp_path / "mug"
    shutil.copytree(views, other)
    return other


def _shows(image: bpy.types.Image):
    """As in an image editor that shows the picture."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "IMAGE_EDITOR"
    area.spaces.active.image = image
    return bpy.context.temp_override(window=window, area=area)


def test_what_is_done_with_the_mask_that_is_shown_is_done_in_its_own_folder(views, other_views, tmp_path):
    for folder in (views, other_views):
        bpy.context.scene.slipcast.folder = str(folder)
        OPS.paint_mask(view="c.png")
        _paint(_shown("c.png"), _disc(10))
        OPS.save_mask(view="c.png")
        if folder == views:
            bpy.data.images.remove(_shown("c.png"))
    bpy.context.scene.slipcast.folder = str(views)           # and the mask of the other is open
    before = _files(views)
    _paint(_shown("c.png"), _disc(30))
    given = tmp_path / "hand.png"
    given.write_bytes(masks.grey_png(_disc(24).astype(float)))
    painted = other_views / "slipcast_masks" / "c.png.png"
    with _shows(_shown("c.png")):
        assert mask_operators.SLIPCAST_OT_save_mask.poll(bpy.context)
        OPS.save_mask(view="c.png")
        saved = painted.read_bytes()
        OPS.replace_mask(filepath=str(given))
        assert painted.read_bytes() != saved
        OPS.drop_mask()
    assert not painted.exists() and _files(views) == before and not bpy.data.images
    with pytest.raises(RuntimeError, match="There is no painted mask"):
        OPS.drop_mask(view="c.png", folder=str(other_views))
    OPS.drop_mask(view="c.png")                               # nothing is shown: the panel's folder
    assert not (views / "slipcast_masks" / "c.png.png").exists()


def test_masks_are_saved_of_the_folder_that_the_mesh_is_made_from(views, other_views, fake_client):
    for folder in (views, other_views):
        bpy.context.scene.slipcast.folder = str(folder)
        OPS.paint_mask(view="d.png")
    for image in bpy.data.images:
        _paint(image, _disc(20))
    bpy.context.scene.slipcast.folder = str(views)
    assert OPS.generate_with_masks(folder=str(other_views)) == {"FINISHED"}
    assert (other_views / "slipcast_masks" / "d.png.png").exists() and not (views / "slipcast_masks").exists()
    assert "slipcast_masks/d.png.png" in next(asked for asked in fake_client.asked if asked[0] == "submit")[3]


def test_generate_with_these_masks_saves_what_was_painted_and_starts_the_job(views, fake_client):
    OPS.paint_mask(view="c.png")
    OPS.paint_mask(view="d.png")
    _paint(_shown("d.png"), _disc(20))
    assert OPS.generate_with_masks(folder=str(views), quality="draft") == {"FINISHED"}
    sent = next(asked for asked in fake_client.asked if asked[0] == "submit")
    assert "slipcast_masks/d.png.png" in sent[3] and "slipcast_masks/c.png.png" not in sent[3]
    assert sent[2]["quality"] == "draft"


def test_a_landed_result_keeps_its_masks_and_its_folder(views):
    from bl_ext.user_default.slipcast.addon.job import GenerateRequest
    from bl_ext.user_default.slipcast.addon.landing import SceneLanding
    from bl_ext.user_default.slipcast.addon.scene.results import Placement, prepare_result
    from bl_ext.user_default.slipcast.bridge.events import Result
    from bl_ext.user_default.slipcast.bridge.messages import Artefact
    from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
    from shapes import result as plain

    done, data = plain("d" * 32), _archive()
    done = Result(done.info, {**done.artefacts, "masks": Artefact("masks", "application/zip", len(data), "0" * 64)},
                  {**done.data, "masks": memoryview(data)})
    request = GenerateRequest(views, ViewsSettings(), Placement("cup"), bpy.context.scene.name)
    name = SceneLanding().land(prepare_result(done, request.placement), request)
    assert bpy.data.objects[name]["slipcast_views"] == str(views)
    assert [view for view, _ in mask_operators.views_to_look_at(bpy.context)] == ["d.png", "c.png"]
    # refined against other pictures since: the object's newest job had masks of those
    bpy.data.objects[name]["slipcast_job"] = "e" * 32
    mask_store.keep_masks("e" * 32, _archive(), ["a.png: its mask contradicts all other views, so it was left out."])
    assert [view for view, _ in mask_operators.views_to_look_at(bpy.context)] == ["d.png", "c.png"]
    with pytest.raises(BadMasks, match="cannot be read"):
        masks.read_archive(b"no zip")


def test_pictures_of_a_folder_are_listed_and_masks_are_not(views):
    assert list_pictures(views) == ["a.png", "b.png", "c.png", "d.png"]
    with pytest.raises(BadFolder):
        list_pictures(views / "none")


def test_the_operators_say_what_they_need_and_undo_what_they_change(tmp_path):
    names = ("paint_mask", "mask_brush", "save_mask", "replace_mask", "drop_mask", "generate_with_masks")
    for name in names:
        rna = getattr(OPS, name).get_rna_type()
        assert len(rna.description) > 20, name
        assert all(prop.description for prop in rna.properties if prop.identifier != "rna_type"), name
    kinds = {kind.bl_idname: kind for kind in mask_operators.CLASSES[1:]}
    assert {name for name, kind in kinds.items() if "UNDO" in kind.bl_options} == \
        {f"slipcast.{name}" for name in ("paint_mask", "mask_brush", "replace_mask", "drop_mask")}
    for name in ("paint_mask", "save_mask", "replace_mask", "drop_mask"):
        assert not getattr(OPS, name).poll()
        with pytest.raises(RuntimeError, match="Choose a folder of views first"):
            getattr(OPS, name)()
    bpy.context.scene.slipcast.folder = str(tmp_path)
    with pytest.raises(RuntimeError, match="No view is chosen"):
        OPS.paint_mask()
    with pytest.raises(RuntimeError, match="is empty"):
        OPS.paint_mask(view="a.png")


def test_showing_a_mask_is_one_undo_step(views):
    bpy.ops.ed.undo_push(message="before")
    OPS.paint_mask("EXEC_DEFAULT", True, view="b.png")
    assert len(bpy.data.images) == 1
    bpy.ops.ed.undo()
    assert not bpy.data.images


def test_the_brush_paints_object_or_background():
    tools = bpy.context.tool_settings.image_paint
    if tools.brush is None:
        with pytest.raises(RuntimeError, match="Choose a brush"):
            OPS.mask_brush(way="OBJECT")
        return
    for way, blend in (("BACKGROUND", "ERASE_ALPHA"), ("OBJECT", "ADD_ALPHA")):
        OPS.mask_brush(way=way)
        assert tools.brush.blend == blend
