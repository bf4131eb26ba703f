"""Every spelling of a camera against numbers worked out by hand."""
from __future__ import annotations

import math
import struct

import cv2
import numpy as np
import pytest
from scenes import cameras_around, change_table, look_at, write_table, write_view_folder

from slipcast.bridge.errors import BadCameras, BadFolder
from slipcast.engine.pipeline.cameras import camera_for_image, check_overlap, project, read_view_files, rigid_pose
from slipcast.engine.pipeline.lens import Lens, distort
from slipcast.engine.pipeline.types import Camera

POINT = np.array([[1.0, 1.0, 0.0]])
FIVE_UP = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]  # looks down from z = 5, image top towards +y


def frames(*names: str, **extra) -> list[dict]:
    return [{"file_path": name, "transform_matrix": FIVE_UP, **extra} for name in names or ("a.png", "b.png")]


def read(tmp_path, table, *labels):
    files = write_table(tmp_path, table) | {name: tmp_path / name for name in labels or ("a.png", "b.png")}
    return read_view_files(files)


def test_nerf_synthetic_angle_alone_gives_focal_from_the_image_width_and_an_extensionless_label(tmp_path):
    table = {"camera_angle_x": 0.6911112, "frames": frames("./train/r_0", "./train/r_1")}
    folder = read(tmp_path, table, "./train/r_0", "./train/r_1")
    camera = camera_for_image(folder.frames[0], 800, 800)
    assert camera.fx == pytest.approx(1111.11, abs=0.01)  # the figure published with the original set
    assert camera.fy == camera.fx
    pixel, depth = project(camera, POINT)
    # OpenGL camera: the point is 1 right, 1 up, 5 ahead; the image's y runs down
    assert pixel[0] == pytest.approx([400 + camera.fx / 5, 400 - camera.fx / 5])
    assert depth[0] == pytest.approx(5.0)


def test_camera_angle_y_is_used_where_it_is_given(tmp_path):
    table = {"camera_angle_x": math.pi / 2, "camera_angle_y": 2 * math.atan(0.5), "frames": frames()}
    camera = camera_for_image(read(tmp_path, table).frames[0], 200, 100)
    assert (camera.fx, camera.fy) == pytest.approx((100.0, 100.0))  # 100 / tan 45, 50 / .5


def test_instant_ngp_global_intrinsics(tmp_path):
    table = {"fl_x": 100, "fl_y": 120, "cx": 30, "cy": 40, "w": 64, "h": 80, "camera_angle_x": 3.0, "frames": frames()}
    camera = camera_for_image(read(tmp_path, table).frames[0], 64, 80)
    pixel, _ = project(camera, POINT)
    assert pixel[0] == pytest.approx([30 + 100 / 5, 40 - 120 / 5])


def test_nerfstudio_intrinsics_of_a_frame_win_over_those_of_the_file(tmp_path):
    table = {"fl_x": 100, "fl_y": 100, "cx": 32, "cy": 32, "w": 64, "h": 64, "k1": 0.1,
             "applied_transform": FIVE_UP[:3],
             "frames": frames("a.png") + frames("b.png", fl_x=50, fl_y=60, cx=10, cy=20, k1=0.3, p2=0.01)}
    one, two = read(tmp_path, table).frames
    assert (one.focal, one.centre, one.lens.radial[0]) == ((100, 100), (32, 32), 0.1)
    assert (two.focal, two.centre, two.lens.radial[0], two.lens.tangential) == ((50, 60), (10, 20), 0.3, (0.0, 0.01))
    # applied_transform tells what has been done to the matrices already: it must not be done again
    assert one.world_from_camera[:3, 3] == pytest.approx([0, 0, 5])


def test_a_focal_length_of_the_frame_beats_an_angle_of_the_file_and_the_other_way_round(tmp_path):
    table = {"camera_angle_x": 1.0, "frames": frames("a.png", fl_x=70) + frames("b.png")}
    one, two = read(tmp_path, table).frames
    assert camera_for_image(one, 100, 100).fx == 70
    assert camera_for_image(two, 100, 100).fx == pytest.approx(50 / math.tan(0.5))


def test_intrinsics_follow_an_image_of_another_size_and_refuse_other_proportions(tmp_path):
    table = {"fl_x": 100, "fl_y": 100, "cx": 30, "cy": 22, "w": 64, "h": 48, "frames": frames()}
    frame = read(tmp_path, table).frames[0]
    camera = camera_for_image(frame, 128, 96)
    assert (camera.fx, camera.cx, camera.cy) == (200, 60, 44)
    with pytest.raises(BadCameras, match="48x64"):
        camera_for_image(frame, 48, 64)


def test_camera_models_by_name(tmp_path):
    table = {"fl_x": 9.0, "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4,
             "frames": frames()}
    assert read(tmp_path, table).frames[0].lens == Lens((0.1, 0.2, 0.3, 0.4), fisheye=True)
    for name in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE"):
        assert not read(tmp_path, table | {"camera_model": name}).frames[0].lens.fisheye
    with pytest.raises(BadCameras, match="EQUIRECTANGULAR"):
        read(tmp_path, table | {"camera_model": "EQUIRECTANGULAR"})


def test_points_and_stated_volume(tmp_path):
    header = "ply\nformat {} 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n" \
             "property uchar red\nend_header\n"
    (tmp_path / "text.ply").write_bytes((header.format("ascii") + "1 2 3 9\n4 5 6 9\n").encode())
    body = struct.pack("<fffB", 1, 2, 3, 9) + struct.pack("<fffB", 4, 5, 6, 9)
    (tmp_path / "binary.ply").write_bytes(header.format("binary_little_endian").encode() + body)
    for name in ("text.ply", "binary.ply"):
        table = {"fl_x": 9.0, "ply_file_path": name, "slipcast_volume": [[-1, -2, -3], [1, 2, 3]], "frames": frames()}
        folder = read(tmp_path, table, "a.png", "b.png", name)
        assert folder.points is not None and folder.volume is not None
        assert folder.points.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert folder.volume.tolist() == [[-1, -2, -3], [1, 2, 3]]
    (tmp_path / "binary.ply").write_bytes(header.format("binary_little_endian").encode() + body[:-4])
    with pytest.raises(BadFolder, match=r"binary\.ply is damaged: it has fewer points than its header says\."):
        read(tmp_path, table, "a.png", "b.png", "binary.ply")
    flat = header.format("ascii").replace("property float y\n", "")
    for text, words in ((flat + "1 3 9\n4 6 9\n", r": its points have no y\."),
                        (header.format("ascii") + "1 2 3 9\n", r": it has fewer points than its header says\."),
                        (header.format("ascii") + "1 2 3 9\n4 five 6 9\n", r"\.")):
        (tmp_path / "binary.ply").write_bytes(text.encode())
        with pytest.raises(BadFolder, match=r"binary\.ply is damaged" + words):
            read(tmp_path, table, "a.png", "b.png", "binary.ply")
    with pytest.raises(BadFolder, match="slipcast_volume"):
        read(tmp_path, {"fl_x": 9.0, "slipcast_volume": [[1, 2, 3], [1, 4, 5]], "frames": frames()})


# ---------------------------------------------------------------- matrices

def test_a_uniform_scale_is_taken_out_and_the_place_kept():
    pose = look_at((3, -2, 1))
    scaled = pose.copy()
    scaled[:3, :3] *= 2.5
    assert rigid_pose(scaled, "x") == pytest.approx(pose)
    assert rigid_pose(pose[:3].tolist(), "x") == pytest.approx(pose)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda m: m.__setitem__((1, 2), math.nan), "NaN"),
    (lambda m: m.__setitem__((0, 3), math.inf), "infinity"),
    (lambda m: m.__setitem__((slice(0, 3), 0), 2 * m[:3, 0]), "stretches"),
    (lambda m: m.__setitem__((slice(0, 3), 0), m[:3, 0] + 0.3 * m[:3, 1]), "shears"),
    (lambda m: m.__setitem__((slice(0, 3), 0), -m[:3, 0]), "mirrors"),
    (lambda m: m.__setitem__((slice(0, 3), slice(0, 3)), 0), "stretches"),
    (lambda m: m.__setitem__((3, 0), 1.0), "stretches"),
])
def test_a_matrix_that_is_no_rotation_and_place_is_refused_by_name(spoil, words):
    matrix = look_at((3, -2, 1))
    spoil(matrix)
    with pytest.raises(BadCameras, match=words) as caught:
        rigid_pose(matrix, "photo_7.jpg")
    assert "photo_7.jpg" in str(caught.value)


@pytest.mark.parametrize("matrix", ["abc", [[1, 2], [3, 4]], [[None] * 4] * 4, [[1, 0, 0, 0], [0, 1]]])
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(BadCameras):
        rigid_pose(matrix, "x")


# ---------------------------------------------------------------- lens

@pytest.mark.parametrize("lens", [
    Lens((0.1, -0.05, 0.01, 0.0), tangential=(0.002, -0.003)),
    Lens((0.1, -0.05, 0.01, 0.0), (0.02, 0.01, -0.003), (0.001, 0.002)),
])
def test_brown_conrady_is_opencvs(lens):
    ideal = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))
    k, d, p = lens.radial, lens.divisor, lens.tangential
    coefficients = np.array([k[0], k[1], p[0], p[1], k[2], *d])
    space = np.column_stack([ideal, np.ones(50)])
    theirs, _ = cv2.projectPoints(space, np.zeros(3), np.zeros(3), np.eye(3), coefficients)
    ours, valid = distort(ideal, lens)
    assert valid.all()
    assert ours == pytest.approx(theirs[:, 0], abs=1e-12)


def test_fisheye_is_opencvs():
    lens = Lens((0.05, -0.01, 0.003, -0.0005), fisheye=True)
    ideal = np.random.default_rng(1).uniform(-1.5, 1.5, (50, 2))
    theirs = cv2.fisheye.distortPoints(ideal[:, None], np.eye(3), np.array(lens.radial))
    assert distort(ideal, lens)[0] == pytest.approx(theirs[:, 0], abs=1e-12)


def test_beyond_its_fold_a_lens_says_nothing():
    # r (1 - .5 r^2) grows up to r^2 = 2/3
    _, valid = distort(np.array([[0.8, 0.0], [0.83, 0.0]]), Lens((-0.5, 0.0, 0.0, 0.0)))
    assert valid.tolist() == [True, False]


# ---------------------------------------------------------------- COLMAP

# model, its number, parameters -> focal, centre, lens
MODELS = [
    ("SIMPLE_PINHOLE", 0, (100, 32, 24), (100, 100), (32, 24), Lens()),
    ("PINHOLE", 1, (100, 110, 32, 24), (100, 110), (32, 24), Lens()),
    ("SIMPLE_RADIAL", 2, (100, 32, 24, 0.1), (100, 100), (32, 24), Lens((0.1, 0, 0, 0))),
    ("RADIAL", 3, (100, 32, 24, 0.1, 0.2), (100, 100), (32, 24), Lens((0.1, 0.2, 0, 0))),
    ("OPENCV", 4, (100, 110, 32, 24, 0.1, 0.2, 0.3, 0.4), (100, 110), (32, 24),
     Lens((0.1, 0.2, 0, 0), tangential=(0.3, 0.4))),
    ("OPENCV_FISHEYE", 5, (100, 110, 32, 24, 0.1, 0.2, 0.3, 0.4), (100, 110), (32, 24),
     Lens((0.1, 0.2, 0.3, 0.4), fisheye=True)),
    ("FULL_OPENCV", 6, (100, 110, 32, 24, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), (100, 110), (32, 24),
     Lens((0.1, 0.2, 0.5, 0), (0.6, 0.7, 0.8), (0.3, 0.4))),
    ("SIMPLE_RADIAL_FISHEYE", 8, (100, 32, 24, 0.1), (100, 100), (32, 24), Lens((0.1, 0, 0, 0), fisheye=True)),
]
HALF = math.sqrt(0.5)
TURNED = (HALF, 0.0, 0.0, HALF)  # 90 degrees about z: camera x = -world y, camera y = world x
POSES = {"a b.jpg": ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 5.0)), "sub/c.jpg": (TURNED, (1.0, 2.0, 3.0))}


def write_colmap(folder, model: str, number: int, parameters, binary: bool, name_ids=(7, 9)):
    if binary:
        cameras = struct.pack("<Q", 1) + struct.pack("<IiQQ", 3, number, 64, 48)
        cameras += struct.pack(f"<{len(parameters)}d", *parameters)
        images = struct.pack("<Q", len(POSES))
        for image_id, (name, (q, t)) in zip(name_ids, POSES.items()):
            images += struct.pack("<I7dI", image_id, *q, *t, 3) + name.encode() + b"\0"
            images += struct.pack("<Q", 2) + struct.pack("<ddq", 1, 2, 5) * 2
        points = struct.pack("<Q", 2)
        for point_id, track in ((5, 3), (8, 0)):
            points += struct.pack("<Q3d3Bd", point_id, 1.0, 2.0, point_id, 10, 20, 30, 0.5)
            points += struct.pack("<Q", track) + struct.pack("<II", 7, 0) * track
        content = {"cameras.bin": cameras, "images.bin": images, "points3D.bin": points}
    else:
        rows = [f"{i} {' '.join(map(str, q))} {' '.join(map(str, t))} 3 {name}\n{points}"
                for i, (points, (name, (q, t))) in zip(name_ids, zip(("1 2 5 1 2 5", ""), POSES.items()))]
        content = {"cameras.txt": f"# cameras\n3 {model} 64 48 {' '.join(map(str, parameters))}\n".encode(),
                   "images.txt": ("# images\n# two lines each\n" + "\n".join(rows) + "\n").encode(),
                   "points3D.txt": b"# points\n5 1 2 5 10 20 30 .5 7 0\n8 1 2 8 10 20 30 .5\n"}
    files = {}
    for label, data in content.items():
        (folder / label).write_bytes(data)
        files[label] = folder / label
    return files | {f"images/{name}": folder / "x.jpg" for name in POSES} | {"rigs.bin": folder, "frames.bin": folder}


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize(("model", "number", "parameters", "focal", "centre", "lens"), MODELS,
                         ids=[row[0] for row in MODELS])
def test_colmap_models(tmp_path, model, number, parameters, focal, centre, lens, binary):
    folder = read_view_files(write_colmap(tmp_path, model, number, parameters, binary))
    first, second = folder.frames
    assert (first.image, second.image) == ("images/a b.jpg", "images/sub/c.jpg")
    assert (first.size, first.focal, first.centre, first.lens) == ((64, 48), focal, centre, lens)
    assert first.world_from_camera[:3, 3] == pytest.approx([0, 0, -5])
    # centre = -R^T t with R = [[0, -1, 0], [1, 0, 0], [0, 0, 1]] and t = (1, 2, 3)
    assert second.world_from_camera[:3, 3] == pytest.approx([-2, 1, -3])
    camera = camera_for_image(second, 64, 48)
    pixel, depth = project(camera, POINT)  # R (1, 1, 0) + t = (0, 3, 3)
    assert pixel[0] == pytest.approx([centre[0], centre[1] + focal[1]])
    assert depth[0] == pytest.approx(3)
    assert folder.points is not None
    assert folder.points.tolist() == [[1, 2, 5], [1, 2, 8]]


def test_a_colmap_lens_that_is_not_supported_is_named(tmp_path):
    with pytest.raises(BadCameras, match="FOV"):
        read_view_files(write_colmap(tmp_path, "FOV", 7, (100, 100, 32, 24, 0.5), True))


@pytest.mark.parametrize("part", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_colmap_file_cut_short_anywhere_is_bad_cameras(tmp_path, part):
    files = write_colmap(tmp_path, "PINHOLE", 1, (100, 110, 32, 24), True)
    whole = files[part].read_bytes()
    for length in range(0, len(whole), 7):
        files[part].write_bytes(whole[:length])
        with pytest.raises(BadCameras, match=part):
            read_view_files(files)


def test_a_colmap_model_without_its_images_file_is_a_bad_folder(tmp_path):
    files = write_colmap(tmp_path, "PINHOLE", 1, (100, 110, 32, 24), True)
    del files["images.bin"]
    with pytest.raises(BadFolder, match="images"):
        read_view_files(files)


# ---------------------------------------------------------------- Middlebury

def test_middlebury_k_r_t(tmp_path):
    line = "{} 100 0 32 0 110 24 0 0 1 0 -1 0 1 0 0 0 0 1 1 2 3"
    (tmp_path / "p").write_text("2\n" + line.format("a.png") + "\n" + line.format("b.png") + "\n")
    files = {"middlebury_par.txt": tmp_path / "p", "a.png": tmp_path, "b.png": tmp_path}
    frame = read_view_files(files).frames[1]
    assert frame.image == "b.png"
    pixel, _ = project(camera_for_image(frame, 64, 48), POINT)
    assert pixel[0] == pytest.approx([32, 24 + 110])
    (tmp_path / "p").write_text("2\n" + line.format("a.png") + "\n" + line.format("b.png")[:-4] + "\n")
    with pytest.raises(BadCameras):
        read_view_files(files)


# ---------------------------------------------------------------- folders that cannot be used

@pytest.mark.parametrize(("content", "error", "words"), [
    ("{", BadFolder, "cannot be read"),
    ("[]", BadFolder, "no list of frames"),
    ('{"frames": 3}', BadFolder, "no list of frames"),
    ('{"frames": [{"transform_matrix": []}]}', BadFolder, "file_path"),
    ('{"fl_x": 5, "frames": []}', BadCameras, "no views"),
    ('{"fl_x": 5, "frames": [{"file_path": "a.png"}]}', BadCameras, "transform_matrix"),
])
def test_a_damaged_transforms_json_is_told_of(tmp_path, content, error, words):
    (tmp_path / "t").write_text(content)
    with pytest.raises(error, match=words):
        read_view_files({"transforms.json": tmp_path / "t", "a.png": tmp_path})


@pytest.mark.parametrize(("extra", "words"), [
    ({}, "no focal length"), ({"fl_x": "wide"}, "fl_x"), ({"fl_x": math.nan}, "fl_x"),
    ({"fl_x": 5, "k1": math.inf}, "k1"),
    ({"camera_angle_x": 4.0}, "field of view"), ({"fl_x": 5, "w": 0, "h": 0}, "size"),
])
def test_intrinsics_that_make_no_sense_are_told_of(tmp_path, extra, words):
    with pytest.raises(BadCameras, match=words):
        read(tmp_path, {**extra, "frames": frames()})


def test_a_negative_focal_length_is_refused(tmp_path):
    frame = read(tmp_path, {"fl_x": -5.0, "frames": frames()}).frames[0]
    with pytest.raises(BadCameras, match="focal"):
        camera_for_image(frame, 64, 64)


def test_one_view_is_too_few_and_a_missing_image_is_named(tmp_path):
    files = write_view_folder(tmp_path, cameras_around(3))
    with pytest.raises(BadFolder, match=r"02\.png"):
        read_view_files({label: path for label, path in files.items() if label != "02.png"})
    change_table(files, lambda table: table.update(frames=table["frames"][:1]))
    with pytest.raises(BadCameras, match="only one view"):
        read_view_files(files)
    with pytest.raises(BadFolder, match="No cameras"):
        read_view_files({})


def test_cameras_around_an_object_overlap_and_cameras_that_look_away_do_not():
    around = cameras_around(8)
    check_overlap(around)
    away = [Camera(c.width, c.height, c.fx, c.fy, c.cx, c.cy, look_at(c.centre, 2 * c.centre)) for c in around]
    with pytest.raises(BadCameras, match="common place"):
        check_overlap(away)
    with pytest.raises(BadCameras, match="common place"):
        check_overlap(away[:2])
    turned = [Camera(c.width, c.height, c.fx, c.fy, c.cx, c.cy, look_at((1, 1, 1), c.centre)) for c in around]
    with pytest.raises(BadCameras, match="same place"):
        check_overlap(turned)
