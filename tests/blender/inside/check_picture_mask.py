"""The mask of a picture can be seen over it, painted, saved, used and dropped; pictures that are stored turned are not
painted lying down."""
from __future__ import annotations

import struct
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.operators import picture_mask as operators
from bl_ext.user_default.slipcast.addon.panels import picture as panel
from bl_ext.user_default.slipcast.addon.scene import masks
from bl_ext.user_default.slipcast.addon.scene.orientation import exif_orientation, upright
from bl_ext.user_default.slipcast.addon.scene.picture_mask import PICTURE_KEY
from played import played_engine
from shapes import png

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")

OPS = bpy.ops.slipcast
WIDTH, HEIGHT = 48, 32


def _disc(x: float, radius: float = 9.0) -> np.ndarray:
    """(H, W) bool, row 0 on top."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(columns - x, rows - 12) < radius


def _photo() -> np.ndarray:
    return np.random.default_rng(1).integers(30, 220, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    with played_engine(tmp_path, monkeypatch) as given:
        yield given


@pytest.fixture
def cup(tmp_path) -> Path:
    """Cut out by its alpha; the panel names it."""
    path = tmp_path / "cup.png"
    path.write_bytes(png(np.dstack([_photo(), _disc(12).astype(np.uint8) * 255])))
    bpy.context.scene.slipcast_picture.filepath = str(path)
    return path


def _asked():
    return bpy.context.scene.slipcast_picture


def _shown() -> bpy.types.Image:
    [image] = [image for image in bpy.data.images if PICTURE_KEY in image]
    return image


def _pixels(image: bpy.types.Image) -> np.ndarray:
    width, height = image.size
    pixels = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)


def _upright(image: bpy.types.Image) -> np.ndarray:
    """(H, W) bool, row 0 on top: what the picture to paint in calls object."""
    return masks.mask_of(image)[::-1] > 0.5


def _paint(solid: np.ndarray) -> None:
    """As strokes that add and erase alpha do. solid: (H, W) bool, row 0 on top."""
    pixels = _pixels(_shown())
    pixels[..., 3] = solid[::-1]
    _shown().pixels.foreach_set(pixels.ravel())
    _shown().update()


def test_the_picture_is_shown_with_its_alpha_then_a_given_mask_as_what_is_solid(cup, tmp_path):
    assert OPS.paint_picture_mask() == {"FINISHED"}
    assert (_upright(_shown()) == _disc(12)).all()
    assert np.abs(_pixels(_shown())[::-1][..., :3] * 255 - _photo()).max() < 0.6
    assert OPS.paint_picture_mask() == {"FINISHED"} and _shown().name == "Mask cup.png"     # again: the same one
    assert OPS.drop_picture_mask() == {"FINISHED"} and not bpy.data.images
    given = tmp_path / "mask.png"
    given.write_bytes(masks.grey_png(_disc(30).astype(float).repeat(2, 0).repeat(2, 1)))
    _asked().mask = str(given)
    OPS.paint_picture_mask()
    assert (_upright(_shown()) == _disc(30)).all()


def test_a_painted_mask_is_saved_beside_the_picture_which_stays_and_is_used(engine, cup):
    before = cup.read_bytes()
    OPS.paint_picture_mask()
    _paint(_disc(20))
    assert OPS.generate_with_picture_mask(model="silhouette") == {"FINISHED"}
    saved = cup.parent / "slipcast_masks" / "cup.png.png"
    assert cup.read_bytes() == before and _asked().mask == str(saved)
    made = bpy.data.objects["cup"]
    # the played engine gives back as "mask" what it was sent
    drawn = operators.mask_of_last_job(bpy.context)
    assert drawn is not None and drawn.png == saved.read_bytes() and made["slipcast_picture"] == str(cup)
    assert panel.mask_words(bpy.context) == \
        ("Look at the mask of the last result: guessed from the middle of the picture.", "ERROR")
    OPS.drop_picture_mask()
    OPS.paint_picture_mask()                                  # nothing is given now: what the engine took
    assert (_upright(_shown()) == _disc(20)).all() and _asked().mask == ""


def test_saving_names_the_picture_whose_mask_is_open_and_keeps_the_mask_before(cup, tmp_path):
    OPS.paint_picture_mask()
    _paint(_disc(30))
    assert OPS.save_picture_mask() == {"FINISHED"}
    saved = Path(_asked().mask)
    first = saved.read_bytes()
    _paint(_disc(25))
    OPS.save_picture_mask()
    assert saved.read_bytes() != first and saved.with_name(saved.name + ".before").read_bytes() == first
    _asked().filepath = str(tmp_path / "other.png")
    assert operators.shown_picture_mask(bpy.context) is None


def test_what_is_missing_is_said(tmp_path):
    for name, words in (("paint_picture_mask", "Choose a picture first"), ("save_picture_mask", "Paint Mask"),
                        ("drop_picture_mask", "No mask is given or painted"),
                        ("generate_with_picture_mask", "Press Paint Mask first")):
        with pytest.raises(RuntimeError, match=words):
            getattr(OPS, name)()
        assert len(getattr(OPS, name).get_rna_type().description) > 20
    _asked().filepath = str(tmp_path / "none.png")
    with pytest.raises(RuntimeError, match="There is no file"):
        OPS.paint_picture_mask()
    (tmp_path / "none.png").write_bytes(b"no picture")
    with pytest.raises(RuntimeError, match="cannot be read"):
        OPS.paint_picture_mask()
    assert not bpy.data.images and pump.session().job is None


def test_showing_and_dropping_a_mask_are_one_undo_step_each(cup):
    bpy.ops.ed.undo_push(message="before")
    OPS.paint_picture_mask("EXEC_DEFAULT", True)
    OPS.drop_picture_mask("EXEC_DEFAULT", True)
    assert not bpy.data.images
    bpy.ops.ed.undo()
    assert (_upright(_shown()) == _disc(12)).all()
    bpy.ops.ed.undo()
    assert not bpy.data.images


def _exif(orientation: int, order: str) -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def _stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera would store so that a viewer shows `pixels`; row 0 on top. By the table of Exif 2.32, 4.6.4."""
    rows_columns = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
                    5: pixels.transpose(1, 0, 2), 6: np.rot90(pixels), 7: np.rot90(pixels, 2).transpose(1, 0, 2),
                    8: np.rot90(pixels, -1)}
    return rows_columns[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_stored_turned_is_painted_as_it_is_seen(orientation, tmp_path):
    seen = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    stored = np.ascontiguousarray(_stored(seen, orientation))
    assert (upright(stored[::-1], orientation)[::-1] == seen).all()     # rows of Blender begin at the bottom
    plain = png(stored)
    for order in "<>":
        tiff = _exif(orientation, order)
        files = {"a.png": plain[:33] + struct.pack(">I", len(tiff)) + b"eXIf" + tiff + b"\0\0\0\0" + plain[33:],
                 "a.jpg": b"\xff\xd8\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff,
                 "a.webp": b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", len(tiff)) + tiff}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            assert exif_orientation(tmp_path / name) == orientation, (name, order)


def test_a_file_that_says_nothing_or_is_cut_short_is_taken_as_upright(tmp_path):
    whole = b"\xff\xd8\xff\xe1\0\x22Exif\0\0" + _exif(6, "<")
    for length in (0, 3, 10, 14, 20, 24):
        (tmp_path / "a.jpg").write_bytes(whole[:length])
        assert exif_orientation(tmp_path / "a.jpg") == 1
    assert exif_orientation(tmp_path / "none.jpg") == 1
