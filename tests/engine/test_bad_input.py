"""Bad input as a person gives it: each its own clear error, exit code 2, and nothing written. Odd input works."""
from __future__ import annotations

import pytest
from bad_folders import MAKERS, ODD, good

from slipcast.engine import __main__ as command_line
from slipcast.engine import commands
from slipcast.engine.pipeline.images import load_views
from slipcast.engine.pipeline.matting import mask_views
from slipcast.engine.pipeline.progress import Run

# what the message must say: what is wrong, and where the folder holds more than one, which file
WORDS = {
    "empty folder": "is empty", "pictures without cameras": "8 pictures but no cameras", "one view": "only one view",
    "no overlap of cameras": "do not look at a common place", "cameras all in one place": "the same place",
    "pictures of another set": "no common volume", "truncated image": "02.png is cut short",
    "image of no bytes": "02.png is cut short", "text named .png": "02.png is cut short",
    "folder named like an image": "not there: 02.png", "40000x40000 PNG": "02.png is too large",
    "missing image": "not there: 02.png", "missing mask": "not there: mask_of_02.png",
    "missing point cloud": "not there: points.ply", "point cloud that is none": "00.png is not a PLY",
    "NaN matrix": "matrix of 02.png holds values that are no usable numbers (NaN",
    "infinite matrix": "matrix of 02.png holds values that are no usable",
    "matrix of words": "matrix of 02.png is not made of usable",
    "matrix with 400 digits": "matrix of 02.png is not made",
    "matrix with 1e200": "matrix of 02.png holds values that are no usable",
    "stretched matrix": "matrix of 02.png is not a rotation", "matrix of zeros": "matrix of 02.png is not a rotation",
    "3x3 matrix": "matrix of 02.png is 3 x 3", "no matrix": "02.png has no camera",
    "matrix null": "matrix of 02.png is empty", "masks all black": "masks are all black",
    "masks all white": "masks are all white", "not JSON": "transforms.json is not readable",
    "JSON list": "lists no frames", "not UTF-8": "transforms.json is not readable",
    "JSON nested too deep": "transforms.json is not readable", "frames empty": "lists no frames",
    "frames null": "lists no frames", "frame is a number": "Frame 8", "file_path missing": "Frame 2",
    "file_path is the root": "not there: /", "file_path of 5000 letters": "not there: xxx",
    "file_path with half a letter": "not there: ", "no focal length": "no focal length",
    "focal length of 400 digits": "fl_x of 00.png", "focal length 1e300": "do not look at a common place",
    "focal length negative": "00.png has no usable focal length", "focal length of words": "'wide'",
    "size zero": "size 0x64 of 00.png", "sizes swapped": "00.png is 64x64, but", "unknown lens": "EQUIRECTANGULAR",
    "distortion of 400 digits": "k1 of 00.png", "volume upside down": "slipcast_volume",
    "volume of 400 digits": "slipcast_volume", "volume beside the object": "no common volume",
    "COLMAP text cut": "images.txt is cut short", "COLMAP camera cut": "cameras.txt is cut short",
    "COLMAP binary cut": "images.bin is cut short", "COLMAP not UTF-8": "images.txt is cut short",
    "COLMAP without images": "no views",
}


def test_every_bad_folder_has_its_words():
    assert set(WORDS) == set(MAKERS)


def generate(capsys, *arguments) -> tuple[int, str]:
    """Exit code and the one line that begins with `slipcast:`; fails when there is more than that on stderr."""
    code = command_line.main(["generate", *map(str, arguments), "--quality", "draft", "--device", "cpu"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("slipcast: "), lines
    return code, lines[0]


@pytest.mark.parametrize("name", MAKERS)
def test_a_bad_folder_ends_with_2_its_own_words_what_to_do_and_nothing_written(name, tmp_path, capsys):
    views, out = tmp_path / "views", tmp_path / "out"
    views.mkdir()
    out.mkdir()
    MAKERS[name](views)
    (out / "cup.glb").write_text("the result of yesterday")
    code, line = generate(capsys, views, "-o", out / "cup.glb", "-o", out / "cup.obj")
    assert code == 2 and WORDS[name] in line
    assert len(line.removeprefix("slipcast: ").split(". ")) >= 2      # what happened, and what to do
    assert len(line) < 500 + 2 * len(str(views))
    assert [path.name for path in out.iterdir()] == ["cup.glb"]
    assert (out / "cup.glb").read_text() == "the result of yesterday"


@pytest.mark.parametrize(("out", "words"), [
    ("missing/cup.glb", "missing does not exist"), ("file/cup.glb", "file is a file"), ("cup.fbx", "not write .fbx"),
    ("cup", "without a suffix"), ("folder.glb", "is a folder"), ("x" * 300 + ".glb", "File name too long"),
    ("views/00.obj", "would overwrite"),
])
def test_a_place_that_cannot_be_written_is_told_before_any_work(out, words, tmp_path, capsys, monkeypatch):
    (tmp_path / "views").mkdir()
    good(tmp_path / "views")
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.glb").mkdir()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(commands, "found_device", lambda arguments: pytest.fail("work began"))
    code, line = generate(capsys, tmp_path / "views", "-o", tmp_path / out)
    assert code == 2 and words in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ODD)
def test_odd_but_good_folders_load_and_give_masks(name, tmp_path):
    from slipcast.bridge.folders import collect_view_folder

    ODD[name](tmp_path)
    run = Run(("load", "masks"))
    with run.stage("load") as stage:
        views = load_views(collect_view_folder(tmp_path), 64, stage)
    with run.stage("masks") as stage:
        masks = mask_views(views, stage)
    assert len(views.views) == len(masks) >= 2
    assert all(view.image.dtype == "uint8" and view.image.shape[2] == 3 for view in views.views)
    # the ball of radius 1 at distance 4 covers a disc of 25 of 64 pixels' radius: half of the picture
    covers = [float((mask.values > 0.5).mean()) for mask in masks if mask.confidence > 0]
    assert len(covers) >= 2 and min(covers) > 0.35 and max(covers) < 0.6
