"""Read the records of a COLMAP model as they stand in its files (binary or text). Nothing is converted here.

Source: COLMAP's page "Output Format". Files of rigs and frames are not needed: an image's own pose is complete.
"""
from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...bridge.errors import BadCameras, BadFolder

# model id -> name, number of parameters
MODELS: dict[int, tuple[str, int]] = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12),
}
PARAMETERS = dict(MODELS.values())
_REPAIR = "Export the model again from COLMAP."


@dataclass(frozen=True)
class ColmapCamera:
    """One row of cameras: model name, size in pixels, parameters in COLMAP's order for that model."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """One row of images. quaternion: (4,) w x y z; translation: (3,); both world -> camera, OpenCV axes."""

    name: str
    camera_id: int
    quaternion: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True)
class ColmapModel:
    """A whole model; points: (N, 3) float64, the model's world, or None when there is no file of points."""

    cameras: Mapping[int, ColmapCamera]
    images: tuple[ColmapImage, ...]
    points: np.ndarray | None


def read_colmap(files: Mapping[str, Path]) -> ColmapModel:
    """Read the model whose files are labelled cameras.*, images.* and, if there, points3D.* (bin before txt).

    Raises BadFolder when one of the two needed files is missing, BadCameras when one is cut short or makes no sense.
    """
    readers = {"cameras": (_cameras_from_binary, _cameras_from_text),
               "images": (_images_from_binary, _images_from_text),
               "points3D": (_points_from_binary, _points_from_text)}
    found = {}
    for part, (binary, text) in readers.items():
        label = next((f"{part}.{end}" for end in ("bin", "txt") if f"{part}.{end}" in files), None)
        if label is None:
            if part == "points3D":
                found[part] = None
                continue
            raise BadFolder(f"The COLMAP model has no {part} file.", f"Put {part}.bin or {part}.txt beside the other.")
        found[part] = _read(label, files[label], binary if label.endswith(".bin") else text)
    return ColmapModel(found["cameras"], tuple(found["images"]), found["points3D"])


def _read(label: str, path: Path, reader: Callable[[bytes], Any]) -> Any:
    try:
        return reader(path.read_bytes())
    except (struct.error, ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise BadCameras(f"{label} is cut short or damaged ({error}).", _REPAIR) from error


class _Reader:
    """Walks through little-endian binary data; struct.error at its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def skip(self, count: int) -> None:
        if self.at + count > len(self.data):
            raise ValueError("it ends in the middle of a record")
        self.at += count

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        value = self.data[self.at:end].decode("utf-8")
        self.at = end + 1
        return value


def _cameras_from_binary(data: bytes) -> dict[int, ColmapCamera]:
    reader = _Reader(data)
    cameras = {}
    for _ in range(reader.take("Q")[0]):
        camera_id, model_id, width, height = reader.take("IiQQ")
        if model_id not in MODELS:
            raise BadCameras(f"Camera {camera_id} uses COLMAP camera model number {model_id}, which is not known here.",
                             "Undistort the images with COLMAP's image_undistorter and use its output.")
        name, count = MODELS[model_id]
        cameras[camera_id] = ColmapCamera(name, width, height, reader.take(f"{count}d"))
    return cameras


def _cameras_from_text(data: bytes) -> dict[int, ColmapCamera]:
    cameras = {}
    for words in _rows(data):
        name, values = words[1], tuple(map(float, words[4:]))
        if name in PARAMETERS and len(values) != PARAMETERS[name]:
            raise ValueError(f"camera {words[0]} has {len(values)} parameters, {name} needs {PARAMETERS[name]}")
        cameras[int(words[0])] = ColmapCamera(name, int(words[2]), int(words[3]), values)
    return cameras


def _images_from_binary(data: bytes) -> list[ColmapImage]:
    reader = _Reader(data)
    images = []
    for _ in range(reader.take("Q")[0]):
        _, *pose, camera_id = reader.take("I7dI")
        name = reader.text()
        reader.skip(24 * reader.take("Q")[0])
        images.append(ColmapImage(name, camera_id, np.array(pose[:4]), np.array(pose[4:])))
    return images


def _images_from_text(data: bytes) -> list[ColmapImage]:
    lines = [line for line in data.decode("utf-8").splitlines() if not line.startswith("#")]
    images, at = [], 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        words = lines[at].split(maxsplit=9)
        pose = np.array(words[1:8], dtype=np.float64)
        images.append(ColmapImage(words[9].strip(), int(words[8]), pose[:4], pose[4:]))
        at += 2  # the line after a pose holds its 2D points, and is empty when it has none
    return images


def _points_from_binary(data: bytes) -> np.ndarray:
    reader = _Reader(data)
    points = []
    for _ in range(reader.take("Q")[0]):
        points.append(reader.take("Q3d")[1:])
        reader.skip(3 + 8)  # colour, error
        reader.skip(8 * reader.take("Q")[0])
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def _points_from_text(data: bytes) -> np.ndarray:
    return np.array([words[1:4] for words in _rows(data)], dtype=np.float64).reshape(-1, 3)


def _rows(data: bytes) -> list[list[str]]:
    lines = data.decode("utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]
