"""Where cameras enter: every convention of a view folder becomes OpenCV cameras in Blender's world, here and only here.

docs/conventions.md lists the formats and their keys. S = diag(1, -1, -1, 1) turns camera axes from OpenGL's
(x right, y up, looking along -z) to OpenCV's (x right, y down, looking along +z): it multiplies from the right,
so a camera's place does not move. The world is kept as the file has it; NeRF files and Blender share Z up.
"""
from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...bridge.errors import BadCameras, BadFolder
from ...bridge.folders import DEPTH_KEYS, NORMAL_KEYS, named_pass
from .colmap import ColmapCamera, read_colmap
from .lens import Lens
from .pointcloud import read_ply_points
from .types import Camera

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
RIGID_TOLERANCE = 5e-3  # files carry as few as four digits; a real shear or stretch is far above this
FARTHEST = 1e12  # of any number in a matrix; beyond it float64 has no digits left for the shape
ASPECT_TOLERANCE = 0.01  # 1600x1067 brought down to 1200x800 differs by .0003
_MAX = sys.float_info.max
_PERSPECTIVE = ("", "OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


@dataclass(frozen=True)
class FrameSpec:
    """One frame of a view folder, before its image is opened.

    image, mask: labels in the files of the job; mask may be None.
    size: (width, height) in pixels that the intrinsics are meant for; None: whatever the image has.
    focal, centre: pixels, (x, y), origin at the top left corner; None: from `fov`, the middle of the image.
    fov: full angles (x, y) in radians, used where `focal` is None; y may be None (square pixels).
    world_from_camera: (4, 4) float64, rigid, OpenCV camera axes -> Blender's world.
    depth, normals: labels of OpenEXR files, or None; depth_scale: world units of its unit;
    depth_along_ray: it is the distance from the camera's centre, not along its axis.
    """

    image: str
    mask: str | None
    size: tuple[float, float] | None
    focal: tuple[float, float] | None
    centre: tuple[float, float] | None
    fov: tuple[float, float | None] | None
    lens: Lens
    world_from_camera: np.ndarray
    depth: str | None = None
    normals: str | None = None
    depth_scale: float = 1.0
    depth_along_ray: bool = False


@dataclass(frozen=True)
class ViewFolder:
    """All that a view folder says besides its images. points, volume: as in ViewSet."""

    frames: tuple[FrameSpec, ...]
    points: np.ndarray | None = None
    volume: np.ndarray | None = None


def read_view_files(files: Mapping[str, Path]) -> ViewFolder:
    """Read the cameras among the files of a job (label -> file), whichever of the three formats they are in.

    Raises BadFolder when there are no cameras, or a file they name is missing; BadCameras when the cameras cannot be
    used: fewer than two, not finite, not rigid, a lens that is not supported, a damaged file.
    """
    if "transforms.json" in files:
        folder = _from_transforms(files)
    elif any(f"cameras.{end}" in files for end in ("bin", "txt")):
        folder = _from_colmap(files)
    elif "middlebury_par.txt" in files:
        folder = _from_middlebury(files)
    else:
        raise BadFolder("No cameras were found.",
                        "A view folder holds a transforms.json, a COLMAP model or a *_par.txt.")
    wanted = [label for frame in folder.frames for label in (frame.image, frame.mask) if label]
    missing = sorted({label for label in wanted if label not in files})
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise BadFolder(f"These images are named by the cameras but missing: {', '.join(missing[:3])}{more}.",
                        "Put them back, or take their frames out.")
    if len(folder.frames) < 2:
        raise BadCameras(f"There {'is only one view' if folder.frames else 'are no views'}.",
                         "A shape needs at least two, better eight or more, from all around.")
    return folder


def camera_for_image(frame: FrameSpec, width: int, height: int) -> Camera:
    """The camera of a frame whose image turned out to have width x height pixels (the lens is not part of it).

    Intrinsics meant for another size are scaled. Raises BadCameras when the proportions differ, or when the focal
    length or centre make no sense.
    """
    meant_w, meant_h = frame.size or (width, height)
    scale_x, scale_y = width / meant_w, height / meant_h
    # rounding to whole pixels may change the proportions of a small image by more than the tolerance
    if abs(scale_x / scale_y - 1) > max(ASPECT_TOLERANCE, 1.0 / min(width, height)):
        raise BadCameras(f"{frame.image} is {width}x{height}, but its camera is meant for {meant_w:g}x{meant_h:g}.",
                         "Use the images the cameras were made with; do not crop or turn them.")
    focal = frame.focal or _focal_from_fov(frame, meant_w, meant_h)
    centre = frame.centre or (meant_w / 2, meant_h / 2)
    if not (all(map(math.isfinite, (*focal, *centre))) and min(focal) > 0):
        raise BadCameras(f"The camera of {frame.image} has no usable focal length or centre.", "Check its intrinsics.")
    return Camera(width, height, focal[0] * scale_x, focal[1] * scale_y, centre[0] * scale_x, centre[1] * scale_y,
                  frame.world_from_camera)


def resize_camera(camera: Camera, width: int, height: int) -> Camera:
    """The same camera for its image resampled to width x height pixels."""
    scale_x, scale_y = width / camera.width, height / camera.height
    return replace(camera, width=width, height=height, fx=camera.fx * scale_x, fy=camera.fy * scale_y,
                   cx=camera.cx * scale_x, cy=camera.cy * scale_y)


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project world points. points: (N, 3). Returns pixels (N, 2) float64 (top left corner origin) and depth (N,)
    float64, world units along the view axis; pixels of points at or behind the camera (depth <= 0) are not a number."""
    rotation, shift = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    local = np.asarray(points, dtype=np.float64) @ rotation.T + shift
    depth = local[:, 2]
    safe = np.where(depth > 0, depth, np.nan)
    pixels = np.stack([camera.fx * local[:, 0] / safe + camera.cx, camera.fy * local[:, 1] / safe + camera.cy], axis=-1)
    return pixels, depth


def inside_frame(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """(N,) bool: which pixels (N, 2) lie in the image; not-a-number lies nowhere."""
    with np.errstate(invalid="ignore"):
        return ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=-1)


def rigid_pose(matrix: Any, name: str) -> np.ndarray:
    """Check a 3x4 or 4x4 matrix that should be a rotation and a place; a uniform scale is taken out of its axes.

    Returns (4, 4) float64 whose rotation is exact. Raises BadCameras, naming the frame.
    """
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadCameras(f"The matrix of {name} is not made of usable numbers.", "Export the cameras again.") from error
    if pose.shape not in ((3, 4), (4, 4)):
        size = " x ".join(map(str, pose.shape)) or "empty"
        raise BadCameras(f"The matrix of {name} is {size} instead of 4 x 4.", "Export the cameras again.")
    if not (np.abs(pose) < FARTHEST).all():
        raise BadCameras(f"The matrix of {name} holds values that are no usable numbers (NaN, infinity or huge).",
                         "This view has no usable camera: take it out or solve the cameras again.")
    axes = pose[:3, :3]
    sizes = np.linalg.norm(axes, axis=0)
    scale = float(np.cbrt(abs(np.linalg.det(axes))))
    skewed = scale < 1e-12 or np.abs(sizes / max(scale, 1e-300) - 1).max() > RIGID_TOLERANCE
    if not skewed:
        skewed = np.abs(axes.T @ axes / scale**2 - np.eye(3)).max() > 2 * RIGID_TOLERANCE
    if skewed or (pose.shape == (4, 4) and np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6):
        raise BadCameras(f"The matrix of {name} is not a rotation and a position: it stretches or shears.",
                         "Apply the scale of the camera and of its parents before exporting.")
    if np.linalg.det(axes) < 0:
        raise BadCameras(f"The matrix of {name} mirrors the world.", "A camera cannot have a negative scale.")
    left, _, right = np.linalg.svd(axes)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = left @ right, pose[:3, 3]
    return rigid


# ---------------------------------------------------------------- transforms.json

def _from_transforms(files: Mapping[str, Path]) -> ViewFolder:
    try:
        table = json.loads(files["transforms.json"].read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadFolder(f"transforms.json cannot be read ({error}).", "Export it again.") from error
    frames = table.get("frames") if isinstance(table, dict) else None
    if not isinstance(frames, list) or not all(isinstance(row, dict) for row in frames):
        raise BadFolder("transforms.json has no list of frames.", "Export it again.")
    shared = {key: value for key, value in table.items() if key != "frames"}
    specs = tuple(_transforms_frame(shared, row, number) for number, row in enumerate(frames))
    points = None
    if isinstance(table.get("ply_file_path"), str) and table["ply_file_path"]:
        label = table["ply_file_path"]
        if label not in files:
            raise BadFolder(f"{label} is named by transforms.json (ply_file_path) but missing.",
                            "Put it back, or take ply_file_path out.")
        points = read_ply_points(files[label], label).astype(np.float32)
    return ViewFolder(specs, points, _stated_volume(table.get("slipcast_volume")))


def _transforms_frame(shared: dict, row: dict, number: int) -> FrameSpec:
    label = row.get("file_path")
    if not isinstance(label, str) or not label:
        raise BadFolder(f"Frame {number} of transforms.json names no image (file_path).", "Export it again.")
    if "transform_matrix" not in row:
        raise BadCameras(f"{label} has no camera (transform_matrix).", "Take its frame out or export again.")
    pose = rigid_pose(row["transform_matrix"], label) @ OPENCV_FROM_OPENGL
    own = any(key in row for key in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov"))
    optics = row if own else shared
    both = {**shared, **row}
    focal_x, focal_y = _number(optics, "fl_x", label), _number(optics, "fl_y", label)
    size = _pair(_number(both, "w", label), _number(both, "h", label))
    if size and min(size) < 1:
        raise BadCameras(f"The size {size[0]:g}x{size[1]:g} of {label} makes no sense.", "Check w and h.")
    angle_x = _angle(optics, "camera_angle_x", "x_fov", label)
    angle_y = _angle(optics, "camera_angle_y", "y_fov", label)
    focal = _pair(focal_x or focal_y, focal_y or focal_x)
    if focal is None and angle_x is None:
        raise BadCameras(f"{label} has no focal length.", "Give fl_x (pixels) or camera_angle_x (radians).")
    centre = _pair(_number(both, "cx", label), _number(both, "cy", label))
    mask = row.get("mask_path")
    return FrameSpec(label, mask if isinstance(mask, str) and mask else None, size, focal, centre,
                     None if angle_x is None else (angle_x, angle_y), _transforms_lens(both, label), pose,
                     named_pass(row, DEPTH_KEYS), named_pass(row, NORMAL_KEYS), *_depth_meaning(both, label))


def _depth_meaning(table: dict, label: str) -> tuple[float, bool]:
    scale = _number(table, "depth_unit_scale_factor", label)
    kind = table.get("depth_kind", "axis")
    if scale is not None and not 0 < scale < FARTHEST or kind not in ("axis", "ray"):
        raise BadCameras(f"The depth of {label} has no usable unit or kind.",
                         'depth_unit_scale_factor is a number above 0, depth_kind is "axis" or "ray".')
    return 1.0 if scale is None else scale, kind == "ray"


def _transforms_lens(table: dict, label: str) -> Lens:
    model = str(table.get("camera_model") or "").upper()
    fisheye = model in _FISHEYE or bool(table.get("is_fisheye"))
    if not fisheye and model not in _PERSPECTIVE:
        raise BadCameras(f"The camera model {model} of {label} is not supported.",
                         "Use OPENCV, PINHOLE or OPENCV_FISHEYE, or undistort the images first.")
    k1, k2, k3, k4, p1, p2 = (_number(table, key, label) or 0.0 for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    return Lens((k1, k2, k3, k4), tangential=(0.0, 0.0) if fisheye else (p1, p2), fisheye=fisheye)


def _number(table: dict, key: str, label: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    # compared, because math.isfinite cannot take a whole number of 400 digits
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX <= value <= _MAX:
        raise BadCameras(f"{key} of {label} is {value!r:.40}, not a usable number.", "Export the cameras again.")
    return float(value)


def _pair(x: float | None, y: float | None) -> tuple[float, float] | None:
    return None if x is None or y is None else (x, y)


def _angle(table: dict, key_rad: str, key_deg: str, label: str) -> float | None:
    angle = _number(table, key_rad, label)
    degrees = _number(table, key_deg, label)
    angle = math.radians(degrees) if angle is None and degrees is not None else angle
    if angle is not None and not 0 < angle < math.pi:
        raise BadCameras(f"The field of view of {label} is {angle:g} radians.", "It must lie between 0 and pi.")
    return angle


def _focal_from_fov(frame: FrameSpec, width: float, height: float) -> tuple[float, float]:
    if frame.fov is None:
        raise BadCameras(f"{frame.image} has no focal length.", "Give fl_x (pixels) or camera_angle_x (radians).")
    focal_x = 0.5 * width / math.tan(0.5 * frame.fov[0])
    return focal_x, focal_x if frame.fov[1] is None else 0.5 * height / math.tan(0.5 * frame.fov[1])


def _stated_volume(value: Any) -> np.ndarray | None:
    if value is None:
        return None
    try:
        box = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        box = np.zeros(0)
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[1] > box[0]).all():
        raise BadFolder("slipcast_volume in transforms.json is not a box.",
                        "Write [[x, y, z], [x, y, z]]: its low corner, then its high corner.")
    return box


# ---------------------------------------------------------------- COLMAP

def _from_colmap(files: Mapping[str, Path]) -> ViewFolder:
    model = read_colmap(files)
    frames = []
    for image in sorted(model.images, key=lambda row: row.name):
        if image.camera_id not in model.cameras:
            raise BadCameras(f"{image.name} uses camera {image.camera_id}, which the COLMAP model does not have.",
                             "Export the model again from COLMAP.")
        camera = model.cameras[image.camera_id]
        focal, centre, lens = _colmap_optics(camera, image.name)
        if min(camera.width, camera.height) < 1:
            raise BadCameras(f"The size of the camera of {image.name} makes no sense.", "Export the model again.")
        masks = (f"masks/{image.name}.png", f"masks/{image.name}", f"masks/{Path(image.name).with_suffix('.png')}")
        mask = next((label for label in masks if label in files), None)
        pose = _pose_from_colmap(image.quaternion, image.translation, image.name)
        frames.append(FrameSpec(f"images/{image.name}", mask, (camera.width, camera.height), focal, centre, None, lens,
                                pose))
    points = model.points
    if points is not None:
        points = points[np.isfinite(points).all(axis=1)].astype(np.float32)
    return ViewFolder(tuple(frames), points if points is not None and len(points) else None)


def _colmap_optics(camera: ColmapCamera, name: str) -> tuple[tuple[float, float], tuple[float, float], Lens]:
    p = camera.parameters
    if camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        k1, k2 = (*p[3:], 0.0, 0.0)[:2]
        return (p[0], p[0]), (p[1], p[2]), Lens((k1, k2, 0.0, 0.0), fisheye=camera.model.endswith("FISHEYE"))
    if camera.model == "PINHOLE":
        lens = Lens()
    elif camera.model == "OPENCV":
        lens = Lens((p[4], p[5], 0.0, 0.0), tangential=(p[6], p[7]))
    elif camera.model == "OPENCV_FISHEYE":
        lens = Lens((p[4], p[5], p[6], p[7]), fisheye=True)
    elif camera.model == "FULL_OPENCV":
        lens = Lens((p[4], p[5], p[8], 0.0), (p[9], p[10], p[11]), (p[6], p[7]))
    else:
        raise BadCameras(f"The camera model {camera.model} of {name} is not supported.",
                         "Undistort the images with COLMAP's image_undistorter and use its output.")
    return (p[0], p[1]), (p[2], p[3]), lens


def _pose_from_colmap(quaternion: np.ndarray, translation: np.ndarray, name: str) -> np.ndarray:
    length = float(np.linalg.norm(quaternion))
    if not (math.isfinite(length) and length > 1e-9 and np.isfinite(translation).all()):
        raise BadCameras(f"The camera of {name} is not made of finite numbers (NaN).", "Solve the cameras again.")
    w, x, y, z = quaternion / length
    rotation = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                         [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                         [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    return _world_from_camera(rotation, translation)


def _world_from_camera(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Turn camera-from-world (R, t) around: the camera stands at -R^T t."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ translation
    return pose


# ---------------------------------------------------------------- Middlebury

def _from_middlebury(files: Mapping[str, Path]) -> ViewFolder:
    try:
        lines = files["middlebury_par.txt"].read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadFolder("The *_par.txt is not a text file.", "Get it again.") from error
    rows = [line.split() for line in lines if line.strip()]
    if rows and len(rows[0]) == 1:
        rows = rows[1:]
    frames = []
    for number, row in enumerate(rows):
        try:
            values = np.array(row[1:], dtype=np.float64)
            intrinsics, rotation, translation = values[:9].reshape(3, 3), values[9:18].reshape(3, 3), values[18:21]
        except ValueError as error:
            raise BadCameras(f"Line {number + 2} of the *_par.txt is damaged.",
                             "It needs a name and 21 numbers.") from error
        if len(values) != 21 or not np.isfinite(values).all() or abs(intrinsics[0, 1]) > 0.5:
            raise BadCameras(f"The camera of {row[0]} is not 21 finite numbers, or its pixels are slanted (k12).",
                             "Calibrate it again.")
        rotation = rigid_pose(np.column_stack([rotation, np.zeros(3)]), row[0])[:3, :3]
        frames.append(FrameSpec(row[0], None, None, (intrinsics[0, 0], intrinsics[1, 1]),
                                (intrinsics[0, 2], intrinsics[1, 2]), None, Lens(),
                                _world_from_camera(rotation, translation)))
    return ViewFolder(tuple(frames))


# ---------------------------------------------------------------- do they see one object?

def check_overlap(cameras: Sequence[Camera]) -> None:
    """Raises BadCameras when the cameras cannot have looked at one object: all in one place, or no point in space
    lies in the frames of enough of them (two, or a third of them where there are many). Source: own."""
    centres = np.array([camera.centre for camera in cameras])
    spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    if spread < 1e-7 * (1.0 + float(np.abs(centres).max())):
        raise BadCameras("All views were taken from the same place, so they say nothing about depth.",
                         "Move around the object between pictures.")
    needed = max(2, math.ceil(len(cameras) / 3))
    if _best_support(cameras, spread) < needed:
        raise BadCameras("The cameras do not look at a common place: no point is seen by enough of them.",
                         "Check that the cameras belong to these images and look at one object.")


def _best_support(cameras: Sequence[Camera], spread: float) -> int:
    """Largest number of frames in which one point lies, over points spread along rays of up to 40 cameras."""
    across = np.linspace(0.1, 0.9, 5)
    depths = spread * np.geomspace(0.05, 40.0, 18)
    best = 0
    for camera in cameras[:: max(1, len(cameras) // 40)]:
        u, v, z = np.meshgrid(across * camera.width, across * camera.height, depths, indexing="ij")
        local = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], -1).reshape(-1, 3)
        points = local @ camera.world_from_camera[:3, :3].T + camera.centre
        seen = sum(inside_frame(other, project(other, points)[0]).astype(int) for other in cameras)
        best = max(best, int(np.max(seen)))
    return best
