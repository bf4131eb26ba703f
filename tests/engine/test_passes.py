"""Depth and normals from OpenEXR: read, brought to the view's size and meaning, and not believed blindly."""
from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from bad_folders import FOCAL, SIZE
from scenes import cameras_around, change_table, make_stage, write_view_folder

from slipcast.bridge.errors import BadCameras, BadFolder, BadImage, ImageTooLarge
from slipcast.bridge.folders import collect_view_folder
from slipcast.engine.pipeline.exr import read_depth, read_normals
from slipcast.engine.pipeline.images import load_views
from slipcast.engine.pipeline.types import Camera, ViewSet

MANY = 10**8


def write_exr(path: Path, channels: dict[str, np.ndarray], **header) -> None:
    with OpenEXR.File({"type": OpenEXR.scanlineimage, **header}, dict(channels)) as file:
        file.write(str(path))


def ball_hits(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Distance along each pixel's ray to a ball of radius 1 ((H, W), inf beside it) and world normals (H, W, 3)."""
    u, v = np.meshgrid((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx,
                       (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ camera.world_from_camera[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = -rays @ camera.centre
    gap = camera.centre @ camera.centre - along**2
    far = np.where(gap < 1, along - np.sqrt(np.maximum(1 - gap, 0)), np.inf)
    with np.errstate(invalid="ignore"):
        return far, np.where((gap < 1)[..., None], camera.centre + far[..., None] * rays, 0)


def axis_depth(camera: Camera) -> np.ndarray:
    """(H, W) float64, distance along the camera's axis; inf beside the ball."""
    far, place = ball_hits(camera)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(far), (place - camera.centre) @ camera.world_from_camera[:3, 2], np.inf)


def folder_with_passes(folder: Path, ray: bool = False, background: float = 1e10, count: int = 6,
                       sign: float = 1.0, **table) -> list[Camera]:
    """A good folder whose frames name depth_NN.exr and normal_NN.exr, as a renderer would write them."""
    cameras = cameras_around(count, size=SIZE, focal=FOCAL)
    files = write_view_folder(folder, cameras)
    for i, camera in enumerate(cameras):
        far, normals = ball_hits(camera)
        depth = far if ray else axis_depth(camera)
        write_exr(folder / f"depth_{i:02d}.exr", {"V": np.where(np.isfinite(depth), depth, background).astype("f4")})
        write_exr(folder / f"normal_{i:02d}.exr", {axis: np.ascontiguousarray(sign * normals[..., k], np.float32)
                                                   for k, axis in enumerate("XYZ")})

    def name_them(given: dict) -> None:
        given.update(table)
        for i, frame in enumerate(given["frames"]):
            frame.update(depth_path=f"depth_{i:02d}.exr", normal_file_path=f"normal_{i:02d}")
    change_table(files, name_them)
    return cameras


def load(folder: Path, side: int = SIZE) -> tuple[ViewSet, list[str]]:
    warnings: list[str] = []
    return load_views(collect_view_folder(folder), side, make_stage(warnings)), warnings


@pytest.mark.parametrize(("ray", "background"), [(False, 1e10), (False, 0.0), (True, np.inf)])
def test_depth_comes_along_the_cameras_axis_and_normals_in_the_world(ray, background, tmp_path):
    cameras = folder_with_passes(tmp_path, ray, background, depth_kind="ray" if ray else "axis")
    views, warnings = load(tmp_path)
    assert warnings == []
    for view, camera in zip(views.views, cameras):
        wanted = axis_depth(camera)
        assert view.depth is not None and view.depth.dtype == np.float32 and view.normals is not None
        assert (np.isfinite(view.depth) == np.isfinite(wanted)).all() and np.isfinite(wanted).sum() > 1000
        assert np.abs(view.depth[np.isfinite(wanted)] - wanted[np.isfinite(wanted)]).max() < 1e-5
        assert np.abs(view.normals - ball_hits(camera)[1]).max() < 1e-5


def test_they_follow_their_image_down_to_its_working_size_without_being_mixed(tmp_path):
    cameras = folder_with_passes(tmp_path)
    view = load(tmp_path, SIZE // 2)[0].views[0]
    assert view.depth is not None and view.normals is not None
    assert view.depth.shape == (32, 32) and view.normals.shape == (32, 32, 3)
    full = axis_depth(cameras[0]).astype(np.float32)
    assert np.isin(view.depth[np.isfinite(view.depth)], full).all()
    wanted = axis_depth(view.camera)
    both = np.isfinite(wanted) & np.isfinite(view.depth)
    # a pixel is 1 / 24 wide there; at the rim the ball is steep
    assert both.sum() > 300 and np.median(np.abs(view.depth[both] - wanted[both])) < 0.03
    lengths = np.linalg.norm(view.normals, axis=-1)
    assert (np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)).all()


def test_a_lens_moves_them_as_it_moves_the_image(tmp_path):
    folder_with_passes(tmp_path, k1=0.2)
    views = load(tmp_path)[0]
    for view in views.views:
        assert view.depth is not None and view.alpha is not None and view.normals is not None
        there = np.isfinite(view.depth)
        # the picture of the ball was not distorted, so now it is smaller than it should be; both alike but for its rim
        assert ((view.alpha > 128) != there).mean() < 0.02 and there.mean() < 0.5
        assert ((view.normals != 0).any(-1) == there).all()


def test_depth_in_other_units_is_scaled(tmp_path):
    folder_with_passes(tmp_path, depth_unit_scale_factor=0.001)
    depth = load(tmp_path)[0].views[0].depth
    assert depth is not None and depth[SIZE // 2, SIZE // 2] == pytest.approx(0.003, rel=0.01)


def test_depth_that_is_no_number_on_the_object_is_left_out_and_told(tmp_path):
    folder_with_passes(tmp_path)
    for i in (1, 2):
        path = tmp_path / f"depth_{i:02d}.exr"
        depth = read_depth(path, "d", MANY)
        depth[30:34, 30:34] = np.nan if i == 1 else np.inf
        write_exr(path, {"V": np.where(depth == np.inf, np.float32(1e10), depth)})
    views, warnings = load(tmp_path)
    assert warnings == ["The depth of 2 of 6 views has places on the object without a number (NaN or nothing). Depth "
                        "is not used there."]
    hole = views.views[1].depth
    assert hole is not None and not np.isfinite(hole[30:34, 30:34]).any() and np.isfinite(hole[35, 35])


def test_normals_that_are_not_the_worlds_are_not_used_and_told(tmp_path):
    folder_with_passes(tmp_path, sign=-1.0)
    views, warnings = load(tmp_path)
    assert all(view.normals is None for view in views.views) and all(view.depth is not None for view in views.views)
    assert len(warnings) == 1 and "so they are not the world's" in warnings[0]


def test_depth_in_other_formats_is_not_used_and_told(tmp_path):
    files = write_view_folder(tmp_path, cameras_around(6, size=SIZE, focal=FOCAL))
    change_table(files, lambda table: table["frames"][0].update(depth_file_path="depth/000.png"))
    views, warnings = load(tmp_path)
    assert views.views[0].depth is None
    assert warnings == ["Depth and normals are read from OpenEXR files only; 1 files like depth/000.png are not used."]


def test_a_file_that_is_named_but_missing_is_missed(tmp_path):
    folder_with_passes(tmp_path)
    (tmp_path / "depth_03.exr").unlink()
    with pytest.raises(BadFolder, match=r"not there: depth_03\.exr"):
        collect_view_folder(tmp_path)


@pytest.mark.parametrize("change", [{"depth_kind": "euclid"}, {"depth_unit_scale_factor": 0}])
def test_a_meaning_that_is_none_is_refused(tmp_path, change):
    folder_with_passes(tmp_path, **change)
    with pytest.raises(BadCameras, match="no usable unit or kind"):
        load(tmp_path)


@pytest.mark.parametrize(("channels", "wanted"), [
    ({"View Layer.Depth.Z": 2.0, "View Layer.Normal.Z": 1.0, "View Layer.Combined.R": 9.0}, 2.0),
    ({"Depth.V": 2.0, "Image.R": 1.0}, 2.0), ({"R": 2.0, "G": 2.0, "B": 2.0}, 2.0), ({"Z": 2.0, "R": 1.0}, 2.0),
    ({"whatever": 2.0}, 2.0),
])
def test_the_channel_of_depth_is_found_by_its_name(tmp_path, channels, wanted):
    write_exr(tmp_path / "d.exr", {name: np.full((3, 5), value, np.float32) for name, value in channels.items()})
    assert (read_depth(tmp_path / "d.exr", "d", MANY) == wanted).all()


def test_half_floats_end_at_65504_and_a_rendered_part_lies_where_it_belongs(tmp_path):
    values = np.full((2, 2), 65504, np.float16)
    values[0, 0] = 3
    window = (np.array([0, 0], np.int32), np.array([7, 5], np.int32))
    part = (np.array([4, 1], np.int32), np.array([5, 2], np.int32))
    write_exr(tmp_path / "d.exr", {"Z": values}, displayWindow=window, dataWindow=part)
    depth = read_depth(tmp_path / "d.exr", "d", MANY)
    assert depth.shape == (6, 8) and depth[1, 4] == 3 and np.isfinite(depth).sum() == 1


def test_a_second_part_is_a_layer(tmp_path):
    parts = [OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"R": np.ones((3, 4), np.float32)}, "Image"),
             OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"Z": np.full((3, 4), 2, np.float32)}, "Depth")]
    with OpenEXR.File(parts) as file:
        file.write(str(tmp_path / "d.exr"))
    assert (read_depth(tmp_path / "d.exr", "d", MANY) == 2).all()


def test_normals_are_made_unit_and_a_layer_called_normal_wins(tmp_path):
    one, zero = np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)
    write_exr(tmp_path / "n.exr", {"Normal.X": zero, "Normal.Y": 1.02 * one, "Normal.Z": zero,
                                   "Image.R": one, "Image.G": one, "Image.B": one})
    assert read_normals(tmp_path / "n.exr", "n", MANY)[0, 0].tolist() == [0, 1, 0]


def damaged(path: Path) -> None:
    write_exr(path, {"Z": np.random.default_rng(0).random((40, 40), np.float32)})
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(("make", "read", "error", "words"), [
    (lambda path: path.write_bytes(b"PNG"), read_depth, BadImage, "n.exr is not an OpenEXR file"),
    (damaged, read_depth, BadImage, "n.exr is cut short, damaged"),
    (lambda path: write_exr(path, {"A": np.ones((2, 2), np.float32), "B": np.ones((2, 2), np.float32)}), read_depth,
     BadImage, "n.exr holds no depth: its channels are A, B"),
    (lambda path: write_exr(path, {"Z": np.ones((2, 2), np.float32)}), read_normals, BadImage, "holds no normals"),
    (lambda path: write_exr(path, {"Z": np.ones((200, 200), np.float32)}), read_depth, ImageTooLarge, "is too large"),
])
def test_a_file_that_cannot_be_used_is_refused_in_words(tmp_path, make, read, error, words):
    make(tmp_path / "n.exr")
    with pytest.raises(error, match=words):
        read(tmp_path / "n.exr", "n.exr", 10_000)


def test_passes_of_other_proportions_are_refused(tmp_path):
    folder_with_passes(tmp_path)
    write_exr(tmp_path / "depth_03.exr", {"Z": np.ones((SIZE, SIZE // 2), np.float32)})
    with pytest.raises(BadImage, match=r"depth_03\.exr is 32x64, its image is 64x64"):
        load(tmp_path)


def test_views_without_passes_have_none(tmp_path):
    write_view_folder(tmp_path, cameras_around(4, size=SIZE, focal=FOCAL))
    assert all(dataclasses.astuple(view)[-2:] == (None, None) for view in load(tmp_path)[0].views)
