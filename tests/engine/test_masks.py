"""Masks that a person sees and paints: what the engine drew goes out, what was painted comes back and wins."""
from __future__ import annotations

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from meshes import write_painted_folder
from PIL import Image
from scenes import cameras_around

from slipcast.bridge.folders import collect_view_folder, painted_label
from slipcast.engine.pipeline.images import load_views, undistort_view
from slipcast.engine.pipeline.lens import Lens
from slipcast.engine.pipeline.mask_archive import TABLE, as_photographed, pack_masks
from slipcast.engine.pipeline.matting import mask_views
from slipcast.engine.pipeline.progress import Run
from slipcast.engine.pipeline.types import View


def _read(data: bytes) -> tuple[list[dict], dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        rows = json.loads(archive.read(TABLE))
        return rows, {row["view"]: cv2.imdecode(np.frombuffer(archive.read(row["file"]), np.uint8), 0)
                      for row in rows if row["file"]}


def _masks(folder):
    files, run = collect_view_folder(folder), Run(("load", "masks"))
    with run.stage("load") as stage:
        views = load_views(files, 160, stage)
    with run.stage("masks") as stage:
        return files, views, mask_views(views, stage)


def test_masks_that_were_drawn_go_out_with_how_sure_they_are_and_given_ones_do_not(tmp_path):
    write_painted_folder(tmp_path, count=4)
    for number in (1, 2):      # photos without alpha: one before one colour, one before noise
        path = tmp_path / f"{number:02d}.png"
        pixels = np.array(Image.open(path))
        back = np.full(pixels.shape[:2] + (3,), 40) if number == 1 else \
            np.random.default_rng(0).integers(0, 255, pixels.shape[:2] + (3,))
        Image.fromarray(np.where(pixels[..., 3:] > 127, pixels[..., :3], back).astype(np.uint8)).save(path)
    _, views, masks = _masks(tmp_path)
    rows, drawn = _read(pack_masks(views, masks))
    assert [row["view"] for row in rows] == [view.name for view in views.views]
    assert [row["source"] for row in rows] == ["alpha", "key", "centre", "alpha"]
    assert [row["confidence"] for row in rows] == [1.0, 0.9, 0.3, 1.0] and list(drawn) == ["01.png", "02.png"]
    truth = masks[0].values > 0.5
    assert rows[1]["cover"] == pytest.approx(float((drawn["01.png"] > 127).mean()), abs=0.002)
    assert 0.8 < rows[1]["cover"] / truth.mean() < 1.25
    assert pack_masks(views, masks) == pack_masks(views, masks)


def test_a_painted_mask_wins_over_alpha_and_is_forgotten_when_it_is_gone(tmp_path):
    write_painted_folder(tmp_path, count=3)
    painted = np.zeros((96, 96), np.uint8)
    painted[10:30, 20:60] = 255
    path = tmp_path / painted_label("01.png")
    path.parent.mkdir()
    Image.fromarray(painted).save(path)
    files, _, masks = _masks(tmp_path)
    assert files["slipcast_masks/01.png.png"] == path
    assert ((masks[1].values > 0.5) == (painted > 127)).all() and masks[1].confidence == 1.0
    assert (masks[0].values > 0.5).sum() > 2000
    path.unlink()
    assert (_masks(tmp_path)[2][1].values > 0.5).sum() > 2000


@pytest.mark.parametrize("picture, label", [
    ("images/03.jpg", "slipcast_masks/images/03.jpg.png"), ("./a\\b.png", "slipcast_masks/a/b.png.png"),
    ("../../x/y", "slipcast_masks/x/y.png"), ("C:/photos/1.png", "slipcast_masks/photos/1.png.png"),
    ("shot 12:30:05.png", "slipcast_masks/shot 12%3A30%3A05.png.png")])
def test_painted_masks_stay_within_the_folder(picture, label):
    assert painted_label(picture) == label


@pytest.mark.parametrize("lens", [Lens((0.2, -0.02, 0, 0)), Lens((-0.15, 0.02, 0, 0), tangential=(0.01, -0.005)),
                                  Lens((0.02, 0, 0, 0), fisheye=True)])
def test_a_mask_goes_through_the_lens_and_back(lens):
    camera = cameras_around(3, size=200, focal=180)[0]
    y, x = np.mgrid[:200, :200]
    photo = (np.hypot(x - 120, y - 90) < 50).astype(np.uint8) * 255
    view = undistort_view(View("a", camera, np.zeros((200, 200, 3), np.uint8), photo), lens)
    assert view.alpha is not None and ((view.alpha > 127) != (photo > 127)).mean() > 0.005
    back = as_photographed(view.alpha.astype(np.float32) / 255, camera, view.lens)
    assert ((back > 0.5) != (photo > 127)).mean() < 0.002       # of the picture: a third of the outline's pixels
