"""Images of all kinds come in right, and each kind of bad input has its own error."""
from __future__ import annotations

import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from scenes import cameras_around, change_table, make_stage, write_view_folder

from slipcast.bridge.errors import BadCameras, BadImage, BadMasks, Cancelled, ImageTooLarge
from slipcast.engine.pipeline import images
from slipcast.engine.pipeline.images import load_views, undistort_view
from slipcast.engine.pipeline.lens import Lens
from slipcast.engine.pipeline.types import Camera, View

SIZE = 40


@pytest.fixture
def files(tmp_path):
    return write_view_folder(tmp_path, cameras_around(4, size=SIZE, focal=65.0))


def load(files, longer=4096):
    return load_views(files, longer, make_stage()).views


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_content_decides_not_the_suffix(files, tmp_path):
    blob = tmp_path / "0a1b2c"
    Image.fromarray(np.full((SIZE, SIZE, 3), (10, 200, 60), np.uint8)).save(blob, "JPEG", quality=95)
    view = load(files | {"00.png": blob})[0]
    assert view.alpha is None
    assert np.abs(view.image.astype(int) - (10, 200, 60)).max() <= 3  # what JPEG costs at this quality


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "PNG"])
def test_lossless_formats_are_exact(files, tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "blob", kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert (load(files | {"00.png": tmp_path / "blob"})[0].image == pixels).all()


def test_sixteen_bits_grey_palette_and_single_colour_transparency(files, tmp_path):
    ramp = np.linspace(0, 65535, SIZE).astype(np.uint16)[None].repeat(SIZE, 0)
    Image.fromarray(ramp).save(tmp_path / "deep", "PNG")
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(tmp_path / "grey", "PNG")
    palette = Image.fromarray((ramp >> 15).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 250, 20, 30])
    palette.save(tmp_path / "palette", "PNG", transparency=0)
    views = load(files | {"00.png": tmp_path / "deep", "01.png": tmp_path / "grey", "02.png": tmp_path / "palette"})
    deep = np.rint(ramp / 257.0)
    assert np.abs(views[0].image[..., 1].astype(int) - deep).max() <= 1
    assert np.abs(views[1].image[..., 2].astype(int) - deep).max() <= 1
    assert views[2].alpha is not None
    assert (views[2].alpha == np.where(ramp >> 15, 255, 0)).all()
    assert (views[2].image[views[2].alpha > 0] == (250, 20, 30)).all()


def test_downscaling_moves_the_camera_along_and_keeps_what_is_cut_out_from_bleeding(files, tmp_path):
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[:, :21] = (200, 100, 50, 255)  # the edge falls inside a pixel of the small image; black beyond it
    Image.fromarray(pixels).save(tmp_path / "edge", "PNG")
    view = load(files | {"00.png": tmp_path / "edge"}, longer=10)[0]
    assert (view.camera.width, view.camera.fx, view.camera.cx) == pytest.approx((10, 65.0 / 4, 5))
    assert view.alpha is not None
    assert view.alpha[0, 5] == 64  # a quarter of four columns
    assert np.abs(view.image[:, :6].astype(int) - (200, 100, 50)).max() <= 3  # 1 in 256 of the black comes in


def test_undistortion_puts_points_where_a_pinhole_would_have():
    camera = Camera(240, 180, 200.0, 210.0, 118.0, 93.0, np.eye(4))
    k1, k2, p1, p2 = 0.15, -0.08, 0.004, -0.003
    dots = np.array([[-0.35, -0.2, 1], [0.3, 0.25, 1], [0.0, 0.0, 1], [0.4, -0.3, 1], [-0.2, 0.3, 1]])
    bent, _ = cv2.projectPoints(dots, np.zeros(3), np.zeros(3), camera.intrinsics, np.array([k1, k2, p1, p2]))
    y, x = np.mgrid[:180, :240] + 0.5
    spots = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.0**2)) for u, v in bent[:, 0])
    image = np.repeat((255 * spots).clip(0, 255).astype(np.uint8)[..., None], 3, -1)
    lens = Lens((k1, k2, 0, 0), tangential=(p1, p2))
    flat = undistort_view(View("a", camera, image), lens).image[..., 0].astype(float)
    for u, v, _ in dots @ camera.intrinsics.T:
        near = flat * ((x - u) ** 2 + (y - v) ** 2 < 64)
        # eight bits and a lens that also stretches the spot: a tenth of a pixel
        assert (near * x).sum() / near.sum() == pytest.approx(u, abs=0.1)
        assert (near * y).sum() / near.sum() == pytest.approx(v, abs=0.1)


def test_undistortion_says_where_it_has_no_pixels():
    view = View("a", Camera(100, 80, 70.0, 70.0, 50.0, 40.0, np.eye(4)), np.full((80, 100, 3), 9, np.uint8),
                np.full((80, 100), 255, np.uint8))
    flat = undistort_view(view, Lens((0.3, 0.0, 0.0, 0.0)))  # pincushion: the corners come from outside
    assert flat.valid is not None
    assert flat.valid[40, 50]
    assert not flat.valid[0, 0]
    assert flat.alpha is not None
    assert flat.alpha[0, 0] == 0
    assert undistort_view(view, Lens((-0.01, 0, 0, 0))).valid is None  # a little barrel: every pixel is there


def test_a_mask_file_is_used_at_its_images_size_and_zero_one_masks_count(files, tmp_path):
    change_table(files, lambda table: [row.update(mask_path="m.png") for row in table["frames"]])
    mask = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    mask[20:60, 20:60] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(np.full((SIZE, SIZE, 3), 90, np.uint8)).save(tmp_path / "plain.png")
    labels = {f"0{i}.png": tmp_path / "plain.png" for i in range(4)}
    view = load(files | labels | {"m.png": tmp_path / "m.png"})[0]
    assert view.alpha is not None
    assert (view.alpha == np.where(mask[::2, ::2], 255, 0)).all()
    Image.fromarray(mask[:40]).save(tmp_path / "m.png")
    with pytest.raises(BadMasks, match="proportions"):
        load(files | labels | {"m.png": tmp_path / "m.png"})


# ---------------------------------------------------------------- bad images

def test_a_truncated_image_is_named(files, tmp_path):
    whole = files["02.png"].read_bytes()
    for length in (0, 5, 30, len(whole) // 2, len(whole) * 3 // 4):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(BadImage, match=r"02\.png") as caught:
            load(files | {"02.png": tmp_path / "cut"})
        assert caught.value.code == "bad_image"


def test_a_truncated_jpeg_is_refused_too(files, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "j", "JPEG")
    (tmp_path / "cut").write_bytes((tmp_path / "j").read_bytes()[:-300])
    with pytest.raises(BadImage):
        load(files | {"02.png": tmp_path / "cut"})


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(40000, 40000), (13000, 13000)])
def test_a_giant_image_is_refused_from_its_header(files, tmp_path, size):
    (tmp_path / "giant").write_bytes(png(*size))
    started = time.perf_counter()
    with pytest.raises(ImageTooLarge, match=r"03\.png"):
        load(files | {"03.png": tmp_path / "giant"})
    assert time.perf_counter() - started < 2.0  # decoding 1.6 gigapixels takes far longer


def test_what_is_no_image_is_refused(files, tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadImage):
        load(files | {"00.png": tmp_path / "text"})


def test_headers_are_checked_before_anything_is_decoded(files, tmp_path, monkeypatch):
    (tmp_path / "text").write_text("hello")
    decoded = []
    monkeypatch.setattr(images, "_decode", lambda *given: decoded.append(given))
    with pytest.raises(BadImage):
        load(files | {"03.png": tmp_path / "text"})
    assert decoded == []


def test_an_image_of_other_proportions_than_its_camera_is_refused(files, tmp_path):
    Image.fromarray(np.zeros((SIZE, SIZE // 2, 3), np.uint8)).save(tmp_path / "tall", "PNG")
    with pytest.raises(BadCameras, match="20x40"):
        load(files | {"01.png": tmp_path / "tall"})


def test_cancel_stops_between_images(files):
    asked = []

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) >= 2

    stage = make_stage(is_cancelled=is_cancelled)
    with pytest.raises(Cancelled):
        load_views(files, 100, stage)
    assert stage.done == 1
    assert stage.total == 4
