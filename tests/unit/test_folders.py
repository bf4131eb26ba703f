"""View folders become label -> file, with labels as the camera file says; what is missing is named."""
from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from slipcast.bridge.errors import BadFolder
from slipcast.bridge.folders import (
    collect_view_folder,
    find_pictures,
    find_view_folders,
    is_view_folder,
    mask_beside,
    painted_label,
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def put_transforms(folder: Path, *file_paths: str, name: str = "transforms.json", **keys: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frames = [{"file_path": path, "transform_matrix": []} for path in file_paths]
    (folder / name).write_text(json.dumps({"frames": frames, **keys}), encoding="utf-8")


# --- transforms.json -------------------------------------------------------------------------------------------------
def test_labels_are_the_file_paths_verbatim(tmp_path: Path):
    put(tmp_path, "images/a.png", "images/b.jpg")
    put_transforms(tmp_path, "./images/a.png", "images/b.jpg")
    assert collect_view_folder(tmp_path) == {
        "transforms.json": tmp_path / "transforms.json",
        "./images/a.png": tmp_path / "images/a.png",
        "images/b.jpg": tmp_path / "images/b.jpg"}


def test_nerf_synthetic_names_without_suffix_find_their_file(tmp_path: Path):
    put(tmp_path, "train/r_0.png", "train/r_0.5.JPG")
    put_transforms(tmp_path, "./train/r_0", "./train/r_0.5", name="transforms_train.json")
    found = collect_view_folder(tmp_path)
    assert found["transforms.json"].name == "transforms_train.json"
    assert found["./train/r_0"] == tmp_path / "train/r_0.png"
    assert found["./train/r_0.5"].name.lower() == "r_0.5.jpg"


def test_pictures_that_were_converted_are_found_under_their_other_suffix(tmp_path: Path):
    put(tmp_path, "a.jpg")
    put_transforms(tmp_path, "a.png")
    assert collect_view_folder(tmp_path)["a.png"] == tmp_path / "a.jpg"


def test_backslashes_of_windows_are_understood(tmp_path: Path):
    put(tmp_path, "images/a.png")
    put_transforms(tmp_path, "images\\a.png")
    assert collect_view_folder(tmp_path)["images\\a.png"].read_bytes() == b"x"


def test_masks_and_points_are_taken_when_named(tmp_path: Path):
    put(tmp_path, "a.png", "masks/a.png", "sparse.ply")
    put_transforms(tmp_path, "a.png", ply_file_path="sparse.ply")
    value = json.loads((tmp_path / "transforms.json").read_text())
    value["frames"][0]["mask_path"] = "masks/a.png"
    (tmp_path / "transforms.json").write_text(json.dumps(value))
    assert set(collect_view_folder(tmp_path)) == {"transforms.json", "a.png", "masks/a.png", "sparse.ply"}


@pytest.mark.parametrize("name", ["mask", "points"])
def test_a_mask_or_point_cloud_that_is_named_must_be_there(tmp_path: Path, name: str):
    put(tmp_path, "a.png")
    keys = {"ply_file_path": "away.ply"} if name == "points" else {}
    put_transforms(tmp_path, "a.png", **keys)
    if name == "mask":
        frame = {"file_path": "a.png", "mask_path": "away.png"}
        (tmp_path / "transforms.json").write_text(json.dumps({"frames": [frame]}))
    with pytest.raises(BadFolder, match="away"):
        collect_view_folder(tmp_path)


def test_missing_pictures_are_named_but_not_all_of_them(tmp_path: Path):
    put(tmp_path, "img_0.png")
    put_transforms(tmp_path, *(f"img_{index}.png" for index in range(20)))
    with pytest.raises(BadFolder) as caught:
        collect_view_folder(tmp_path)
    assert "img_1.png, img_2.png, img_3.png, img_4.png and 15 more" in caught.value.message
    assert "img_0.png" not in caught.value.message
    assert "img_5.png" not in caught.value.message


def test_a_folder_is_no_picture(tmp_path: Path):
    (tmp_path / "a.png").mkdir()
    put_transforms(tmp_path, "a.png")
    with pytest.raises(BadFolder, match=r"a\.png"):
        collect_view_folder(tmp_path)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", '{"frames": []}', '{"frames": {}}', '{"frames": [5]}', '{"frames": [{}]}',
    '{"frames": [{"file_path": 5}]}', '{"frames": [{"file_path": ""}]}', '{"frames": [{"file_path": "a\\u0000b"}]}',
    "[" * 100_000,
])
def test_a_transforms_json_that_cannot_be_read_is_bad_folder(tmp_path: Path, text: str):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(BadFolder, match=r"transforms\.json"):
        collect_view_folder(tmp_path)


def test_text_that_is_not_utf8_is_bad_folder_and_a_byte_order_mark_is_fine(tmp_path: Path):
    put(tmp_path, "a.png")
    (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadFolder):
        collect_view_folder(tmp_path)
    (tmp_path / "transforms.json").write_text('{"frames": [{"file_path": "a.png"}]}', encoding="utf-8-sig")
    assert "a.png" in collect_view_folder(tmp_path)


def test_a_matrix_with_nan_is_left_to_the_engine(tmp_path: Path):
    put(tmp_path, "a.png")
    (tmp_path / "transforms.json").write_text('{"frames": [{"file_path": "a.png", "transform_matrix": [[NaN]]}]}')
    assert "a.png" in collect_view_folder(tmp_path)


# --- COLMAP ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", ["sparse/0", "sparse", "colmap/sparse/0", "."])
@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_a_colmap_model_is_found_where_programs_put_it(tmp_path: Path, model: str, suffix: str):
    put(tmp_path / model, f"cameras{suffix}", f"images{suffix}", f"points3D{suffix}", "project.ini")
    put(tmp_path, "images/a.jpg", "images/left/b.png", "images/notes.txt", "masks/a.jpg.png", "masks/left/b.png")
    assert collect_view_folder(tmp_path) == {
        **{f"{name}{suffix}": tmp_path / model / f"{name}{suffix}" for name in ("cameras", "images", "points3D")},
        "images/a.jpg": tmp_path / "images/a.jpg", "masks/a.jpg.png": tmp_path / "masks/a.jpg.png",
        "images/left/b.png": tmp_path / "images/left/b.png", "masks/left/b.png.png": tmp_path / "masks/left/b.png"}


def test_colmap_pictures_may_lie_beside_the_model(tmp_path: Path):
    put(tmp_path, "sparse/cameras.bin", "sparse/images.bin", "01.jpg", "02.JPG")
    assert set(collect_view_folder(tmp_path)) == {"cameras.bin", "images.bin", "images/01.jpg", "images/02.JPG"}


def test_a_colmap_model_without_pictures_is_bad_folder(tmp_path: Path):
    put(tmp_path, "sparse/cameras.bin", "sparse/images.bin")
    with pytest.raises(BadFolder, match="no pictures"):
        collect_view_folder(tmp_path)


# --- Middlebury ------------------------------------------------------------------------------------------------------
def test_a_middlebury_table_brings_the_pictures_it_lists(tmp_path: Path):
    put(tmp_path, "a.png", "b.png", "other.png")
    (tmp_path / "temple_par.txt").write_text("2\na.png 1 2 3\nb.png 1 2 3\n\n")
    assert collect_view_folder(tmp_path) == {"middlebury_par.txt": tmp_path / "temple_par.txt",
                                             "a.png": tmp_path / "a.png", "b.png": tmp_path / "b.png"}


@pytest.mark.parametrize(("tables", "words"), [
    ({"x_par.txt": b"1\naway.png 1\n"}, "away.png"), ({"x_par.txt": b"0\n"}, "no pictures"),
    ({"x_par.txt": b"\xff\xfe"}, "not text"), ({"x_par.txt": b"", "y_par.txt": b""}, "2 camera tables"),
])
def test_a_middlebury_table_that_cannot_be_used_is_bad_folder(tmp_path: Path, tables: dict[str, bytes], words: str):
    for name, content in tables.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFolder, match=words):
        collect_view_folder(tmp_path)


# --- none of them ----------------------------------------------------------------------------------------------------
def test_each_way_of_not_being_a_view_folder_is_told_apart(tmp_path: Path):
    with pytest.raises(BadFolder, match="is empty"):
        collect_view_folder(tmp_path)
    put(tmp_path, "notes.txt")
    with pytest.raises(BadFolder, match="not a view folder"):
        collect_view_folder(tmp_path)
    put(tmp_path, "a.png", "b.JPG")
    with pytest.raises(BadFolder, match="2 pictures but no cameras"):
        collect_view_folder(tmp_path)
    with pytest.raises(BadFolder, match="not a folder"):
        collect_view_folder(tmp_path / "notes.txt")
    with pytest.raises(BadFolder, match="does not exist"):
        collect_view_folder(tmp_path / "away")


@pytest.mark.parametrize("name", ["/", ".", "..", "x" * 5000 + ".png", "\ud800.png", "a.png/b.png"])
def test_names_that_no_file_can_have_are_missing_files(tmp_path: Path, name: str):
    put(tmp_path, "a.png")
    put_transforms(tmp_path, "a.png", name)
    with pytest.raises(BadFolder, match="not there") as caught:
        collect_view_folder(tmp_path)
    assert len(caught.value.message) < 300 + len(str(tmp_path))


def test_what_the_person_may_not_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_transforms(tmp_path / "locked", "a.png")

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)   # tests may run as root, whom no mode keeps out
    with pytest.raises(BadFolder, match=r"transforms\.json cannot be read: Permission denied\. Check"):
        collect_view_folder(tmp_path / "locked")
    assert find_view_folders(tmp_path) == [tmp_path / "locked"]   # a batch tells of it instead of passing it over


def test_find_view_folders_lists_direct_children_by_name(tmp_path: Path):
    put_transforms(tmp_path / "b", "x.png")
    put(tmp_path, "a/sparse/0/cameras.txt", "a/sparse/0/images.txt", "c/x_par.txt", "d/only.png", ".hidden/x_par.txt")
    put_transforms(tmp_path / "e" / "deeper", "x.png")
    put_transforms(tmp_path, "x.png")
    assert find_view_folders(tmp_path) == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    with pytest.raises(BadFolder):
        find_view_folders(tmp_path / "away")


# --- single pictures -------------------------------------------------------------------------------------------------
def test_pictures_of_a_folder_are_those_that_lie_in_it_itself(tmp_path: Path):
    put(tmp_path, "b.PNG", "a.jpeg", "c.webp", ".d.png", "e.exr", "notes.txt", "in/f.png")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_pictures(tmp_path)] == ["a.jpeg", "b.PNG", "c.webp"]
    assert not is_view_folder(tmp_path)
    put_transforms(tmp_path, "a")
    assert is_view_folder(tmp_path)


def test_the_mask_of_a_picture_is_the_painted_one_then_the_one_with_its_full_name(tmp_path: Path):
    put(tmp_path, "a.png", "masks/a.png")
    assert mask_beside(tmp_path / "a.png") == tmp_path / "masks" / "a.png"
    put(tmp_path, "masks/a.png.png")
    assert mask_beside(tmp_path / "a.png") == tmp_path / "masks" / "a.png.png"
    put(tmp_path, "slipcast_masks/a.png.png")
    assert mask_beside(tmp_path / "a.png") == tmp_path / "slipcast_masks" / "a.png.png"
    assert mask_beside(tmp_path / "b.png") is None


def test_pictures_with_a_colon_in_their_names_have_painted_masks_of_their_own(tmp_path: Path):
    pictures = ("images/12:30:05.png", "images/12:30:06.png", "12:30:05.png", "C:/a.png", "ab:/a.png")
    labels = [painted_label(picture) for picture in pictures]
    assert len(set(labels)) == len(labels) and not any(":" in label for label in labels)
    assert labels[3] == "slipcast_masks/a.png.png"      # only a drive is left out


def test_a_folder_without_cameras_says_what_it_holds_and_what_to_give_instead(tmp_path: Path):
    (tmp_path / "a.png").touch()
    with pytest.raises(BadFolder, match="holds one picture but no cameras") as one:
        collect_view_folder(tmp_path)
    assert one.value.hint.startswith("Give the picture itself instead.")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(BadFolder, match="holds 2 pictures but no cameras") as two:
        collect_view_folder(tmp_path)
    assert two.value.hint.startswith("A view folder holds transforms.json")
