"""A turn around a result: where the object stands in each picture, what colours it has, and a film that plays."""
from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from skin import textured_box

from slipcast.bridge.errors import BadOutput, Cancelled
from slipcast.engine.pipeline.progress import Run
from slipcast.engine.pipeline.thumbnails import (
    THUMBNAIL_PX,
    input_thumbnail,
    result_thumbnail,
    textured_from_artefacts,
)
from slipcast.engine.pipeline.turntable import (
    BACKGROUND_SRGB,
    check_turntable,
    film_bytes,
    orbit_camera,
    render_portrait,
    render_turntable,
    write_turntable,
)
from slipcast.engine.pipeline.types import Mesh, TexturedMesh

CPU = torch.device("cpu")


def turn(textured, frames=4, side_px=64, **how):
    with Run(("turntable",), **how).stage("turntable") as stage:
        return render_turntable(textured, frames, side_px, CPU, stage)


def tetrahedron(colors) -> TexturedMesh:
    """A solid whose four faces have one colour each: front left (-X-Y), front right (+X-Y), back, bottom."""
    vertices = np.array([[-1, 0.6, -1], [1, 0.6, -1], [0, -1, -1], [0, 0, 1]], np.float32)
    faces = np.array([[2, 3, 0], [2, 1, 3], [1, 0, 3], [0, 1, 2]], np.int32)
    texture = np.repeat(np.repeat(np.array(colors, np.uint8).reshape(2, 2, 3), 16, 0), 16, 1)
    middle = np.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]], np.float32)   # v up
    uvs = middle[:, None] + np.array([[0, 0], [0.05, 0], [0, 0.05]], np.float32)
    return TexturedMesh(Mesh(vertices, faces), uvs.astype(np.float32), texture)


RED, GREEN, BLUE, WHITE = (200, 20, 20), (20, 180, 30), (10, 40, 220), (255, 255, 255)


def count(picture, color):
    return int((np.abs(picture.astype(int) - color).max(-1) <= 1).sum())   # 1: linear light and back, in 4096 steps


def test_the_turn_begins_at_the_front_and_goes_counter_clockwise_seen_from_above():
    pictures = turn(tetrahedron([RED, GREEN, BLUE, WHITE]))
    assert pictures.shape == (4, 64, 64, 3) and pictures.dtype == np.uint8
    front, right, back, left = pictures
    red, green = (np.nonzero(np.abs(front.astype(int) - color).max(-1) <= 1)[1].mean() for color in (RED, GREEN))
    assert red < 31 < green and count(front, BLUE) == 0        # -X is on the left of a picture from -Y
    assert count(right, GREEN) > 200 and count(right, RED) == 0
    assert count(back, BLUE) > 300 and count(back, RED) == count(back, GREEN) == 0
    assert count(left, RED) > 200 and count(left, GREEN) == 0


def test_a_face_keeps_its_colour_outlines_are_mixed_and_the_rest_is_background():
    picture = turn(tetrahedron([RED, RED, RED, RED]), frames=1)[0].astype(int)
    inside, outside = count(picture, RED), count(picture, (BACKGROUND_SRGB,) * 3)
    mixed = picture.shape[0] * picture.shape[1] - inside - outside
    assert inside > 500 and outside > 1000 and 20 < mixed < 300
    assert (picture[0] == BACKGROUND_SRGB).all() and (picture[:, 0] == BACKGROUND_SRGB).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_size_and_place_of_the_object_change_nothing_and_it_never_leaves_the_picture(scale):
    box = textured_box()
    moved = TexturedMesh(Mesh((box.mesh.vertices * scale + np.float32(scale)).astype(np.float32), box.mesh.faces),
                         box.corner_uvs, box.base_color)
    pictures, others = turn(moved, 6), turn(box, 6)
    seen = (pictures != BACKGROUND_SRGB).any(-1)
    assert not (seen[:, 0].any() or seen[:, -1].any() or seen[:, :, 0].any() or seen[:, :, -1].any())
    # float32 moves an outline by a fraction of a sample; a wrong frame would move whole pixels
    assert np.abs(pictures.astype(int) - others).mean() < 0.5
    assert max(np.ptp(np.nonzero(each)[0]) for each in seen) > 32


def test_the_camera_looks_at_the_middle_with_z_up():
    centre = np.array([1.0, 2.0, 3.0])
    for azimuth, towards in ((0, [0, -1, 0]), (90, [1, 0, 0]), (180, [0, 1, 0]), (270, [-1, 0, 0])):
        camera = orbit_camera(centre, 1.0, azimuth, 0.0, 64)
        away = camera.centre - centre
        np.testing.assert_allclose(away / np.linalg.norm(away), towards, atol=1e-12)
        x, y, w = camera.intrinsics @ (camera.camera_from_world @ [*centre, 1.0])[:3]
        np.testing.assert_allclose([x / w, y / w], [32, 32], atol=1e-9)
        assert (camera.camera_from_world @ [*(centre + [0, 0, 0.5]), 1.0])[1] < 0        # y is down
        assert np.linalg.det(camera.world_from_camera[:3, :3]) == pytest.approx(1.0)


def test_fine_detail_becomes_its_mean_light_instead_of_flickering():
    solid = tetrahedron([RED] * 4)
    checker = (np.indices((2048, 2048)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    wide = (np.arange(4)[:, None, None] * 0 + np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])).astype(np.float32)
    picture = render_portrait(TexturedMesh(solid.mesh, wide, checker), 64, CPU).astype(int)
    inside = picture[30:36, 31:36]
    assert np.abs(inside - 188).max() <= 2      # half the light is 188 in sRGB (IEC 61966-2-1), not 128


def test_cancelling_stops_between_two_pictures():
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        turn(textured_box(), 30, is_cancelled=lambda: next(asked))


def test_the_film_is_h264_yuv420p_with_its_index_first_and_shows_the_pictures(tmp_path):
    pictures = turn(tetrahedron([RED, GREEN, BLUE, WHITE]), frames=6)
    files = write_turntable(tmp_path / "new" / "turn", pictures, fps=12)
    assert [file.name for file in files] == [*(f"turntable_{index:03}.png" for index in range(6)), "turntable.mp4"]
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(file.name for file in files)
    for picture, file in zip(pictures, files[:-1], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), picture)
    data = files[-1].read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 12)
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(stream)]
    assert len(shown) == 6
    for picture, frame in zip(pictures, shown, strict=True):
        assert np.abs(frame - picture).mean() < 6       # half the colour samples, lossy; another frame differs by > 20


def test_an_odd_size_or_no_picture_is_no_film():
    for shape in ((2, 33, 32, 3), (2, 32, 33, 3), (0, 32, 32, 3)):
        with pytest.raises(BadOutput, match="film"):
            film_bytes(np.zeros(shape, np.uint8))


def test_a_turntable_that_cannot_be_written_leaves_nothing(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("mine")
    with pytest.raises(BadOutput):
        write_turntable(taken, turn(textured_box(), 1))
    assert taken.read_text() == "mine"
    with pytest.raises(BadOutput, match="is a file"):
        check_turntable(taken)
    view = tmp_path / "turntable_004.png"
    check_turntable(tmp_path, [tmp_path / "turntable_4.png"])
    with pytest.raises(BadOutput, match="overwrite"):
        check_turntable(tmp_path, [view])


# --- small pictures for the history -----------------------------------------------------------------------------------
def test_a_result_is_read_back_from_its_artefacts_and_has_a_thumbnail():
    box = textured_box()
    buffer = io.BytesIO()
    Image.fromarray(box.base_color).save(buffer, "PNG")
    data = {"vertices": box.mesh.vertices.astype("<f4").tobytes(), "faces": box.mesh.faces.astype("<i4").tobytes(),
            "corner_uvs": box.corner_uvs.astype("<f4").tobytes(), "base_color": buffer.getvalue()}
    textured = textured_from_artefacts(data)
    assert textured is not None
    np.testing.assert_array_equal(textured.mesh.vertices, box.mesh.vertices)
    np.testing.assert_array_equal(textured.base_color, box.base_color)
    with Image.open(io.BytesIO(result_thumbnail(textured, CPU))) as picture:
        assert picture.size == (THUMBNAIL_PX, THUMBNAIL_PX)
        assert (np.asarray(picture) != BACKGROUND_SRGB).any(-1).mean() > 0.1
    assert textured_from_artefacts({name: data[name] for name in ("vertices", "faces")}) is None
    assert textured_from_artefacts({**data, "base_color": b"no picture"}) is None
    assert textured_from_artefacts({**data, "faces": np.int32([[0, 1, 99]]).tobytes()}) is None


def test_the_input_thumbnail_is_the_picture_upright_or_the_first_view(tmp_path):
    def save(name: str, size: tuple[int, int], color: str, **how) -> Path:
        Image.new("RGB", size, color).save(tmp_path / name, **how)
        return tmp_path / name

    turned = Image.Exif()
    turned[0x0112] = 6      # a camera held upright
    views = {"transforms.json": tmp_path / "none", "images/b.png": save("b.png", (800, 400), "blue"),
             "images/a.png": save("a.png", (400, 800), "red"), "masks/a.png": save("m.png", (9, 9), "white")}
    with Image.open(io.BytesIO(input_thumbnail(views) or b"")) as picture:
        assert picture.size == (128, 256) and picture.getpixel((5, 5)) == (255, 0, 0)
    one = {"image": save("one", (600, 300), "green", format="JPEG", exif=turned)}
    with Image.open(io.BytesIO(input_thumbnail(one) or b"")) as picture:
        assert picture.size == (128, 256)
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x89PNG\r\n")
    assert input_thumbnail({"image": broken}) is None and input_thumbnail({"mesh.glb": broken}) is None
