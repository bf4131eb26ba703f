"""Blender cameras <-> pinhole cameras in OpenCV axes: the add-on's one place of camera conversion.

OpenCV: x right, y down, looks along +z; pixels from the TOP left corner, centres at +0.5.
Blender: x right, y up, looks along -z; shift in units of the fitted side. docs/conventions.md has the derivation.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bridge.errors import BadCameras

if TYPE_CHECKING:
    import bpy

SENSOR_WIDTH_MM = 36.0
VIEW_KEY = "slipcast_view"
RENDER_SIZE_KEY = "slipcast_render_size"
PIXEL_ASPECT_KEY = "slipcast_pixel_aspect"
# right-multiplied: turns the camera's own axes, leaves its place alone; its own inverse
_GL_FROM_CV = np.diag((1.0, -1.0, -1.0, 1.0))


@dataclass(frozen=True)
class PinholeCamera:
    """name: of its image. width, height, fx, fy, cx, cy: pixels. world_from_camera: (4, 4) float64, rigid, OpenCV
    axes -> Blender's world."""

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_from_camera: np.ndarray


@dataclass(frozen=True)
class Lens:
    """What Blender needs for the same intrinsics, with sensor fit HORIZONTAL and a SENSOR_WIDTH_MM wide sensor.

    lens_mm; shift_x, shift_y: fractions of the width; pixel_aspect: x, y, both >= 1.
    """

    lens_mm: float
    shift_x: float
    shift_y: float
    pixel_aspect: tuple[float, float]


def camera_from_mapping(given: Mapping[str, Any]) -> PinholeCamera:
    """One entry of a result's "cameras" artefact.

    Raises BadCameras when a name is missing or a value makes no sense.
    """
    try:
        matrix = np.array(given["world_from_camera"], dtype=np.float64)
        fx, fy, cx, cy = (float(given[key]) for key in ("fx", "fy", "cx", "cy"))
        camera = PinholeCamera(str(given["name"]), int(given["width"]), int(given["height"]), fx, fy, cx, cy, matrix)
    except (KeyError, TypeError, ValueError) as error:
        raise BadCameras(f"The engine sent a camera that cannot be read ({error}).") from error
    usable = matrix.shape == (4, 4) and np.isfinite(matrix).all() and all(map(math.isfinite, (fx, fy, cx, cy)))
    if not usable or min(camera.width, camera.height) < 1 or min(camera.fx, camera.fy) <= 0:
        raise BadCameras(f"The engine sent a camera that cannot be used ({camera.name}).")
    return camera


def lens_from_intrinsics(width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> Lens:
    """Exact for any pinhole without skew. Source: own; inverse of intrinsics_from_lens for fit HORIZONTAL."""
    aspect = (1.0, fx / fy) if fx >= fy else (fy / fx, 1.0)
    shift_x = (width / 2 - cx) / width
    shift_y = (cy - height / 2) * (fx / fy) / width
    return Lens(fx * SENSOR_WIDTH_MM / width, shift_x, shift_y, aspect)


def blender_matrix(world_from_camera: np.ndarray) -> np.ndarray:
    """(4, 4) OpenCV axes -> (4, 4) matrix_world of a Blender camera at the same place, looking the same way."""
    return world_from_camera @ _GL_FROM_CV


def render_size_px(render: bpy.types.RenderSettings) -> tuple[int, int]:
    """Width and height Blender really renders: the percentage is applied, then truncated."""
    scale = render.resolution_percentage / 100
    return int(render.resolution_x * scale), int(render.resolution_y * scale)


def pinhole_from_blender(camera: bpy.types.Object, render: bpy.types.RenderSettings) -> PinholeCamera:
    """The pinhole camera that `camera` is when rendered with `render`'s size and pixel aspect.

    Raises BadCameras for an object that is not a perspective camera.
    Source: own; equal to Object.calc_matrix_camera within 3.2e-6 over random cameras.
    """
    data = camera.data
    if camera.type != "CAMERA" or data.type != "PERSP":  # type: ignore[union-attr]
        raise BadCameras(f"{camera.name} is not a perspective camera.", "Set its lens type to Perspective.")
    width, height = render_size_px(render)
    aspect_x, aspect_y = render.pixel_aspect_x, render.pixel_aspect_y
    horizontal = data.sensor_fit == "HORIZONTAL" or (  # type: ignore[union-attr]
        data.sensor_fit == "AUTO" and width * aspect_x >= height * aspect_y)  # type: ignore[union-attr]
    # AUTO measures with sensor_width even when the height is the fitted side
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width  # type: ignore[union-attr]
    fitted_px = width if horizontal else height * aspect_y / aspect_x
    fx = data.lens / sensor * fitted_px  # type: ignore[union-attr]
    cx = width / 2 - data.shift_x * fitted_px  # type: ignore[union-attr]
    cy = height / 2 + data.shift_y * fitted_px * aspect_x / aspect_y  # type: ignore[union-attr]
    world_from_gl = np.array(camera.matrix_world.normalized(), dtype=np.float64)
    return PinholeCamera(camera.name, width, height, fx, fx * aspect_x / aspect_y, cx, cy, world_from_gl @ _GL_FROM_CV)


def add_camera(data: bpy.types.BlendData, camera: PinholeCamera, name: str) -> bpy.types.Object:
    """Make a Blender camera that projects as `camera` does; matrix_world is left to the caller.

    Its picture's name and the render size it was made for are kept on the object (VIEW_KEY, RENDER_SIZE_KEY,
    PIXEL_ASPECT_KEY); no scene is touched.
    """
    lens = lens_from_intrinsics(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    made = data.cameras.new(name)
    made.sensor_fit, made.sensor_width, made.lens = "HORIZONTAL", SENSOR_WIDTH_MM, lens.lens_mm
    made.shift_x, made.shift_y = lens.shift_x, lens.shift_y
    found = data.objects.new(name, made)
    found[VIEW_KEY] = camera.name   # in full: Blender cuts the names of objects
    found[RENDER_SIZE_KEY] = [camera.width, camera.height]
    found[PIXEL_ASPECT_KEY] = list(lens.pixel_aspect)
    return found


def use_render_size(render: bpy.types.RenderSettings, camera: bpy.types.Object) -> None:
    """Set the render size and pixel aspect that an imported camera was made for.

    Raises BadCameras when `camera` does not know them (it was not imported by Slipcast).
    """
    size: Sequence[int] | None = camera.get(RENDER_SIZE_KEY)
    aspect: Sequence[float] | None = camera.get(PIXEL_ASPECT_KEY)
    if size is None or aspect is None:
        raise BadCameras(f"{camera.name} was not imported by Slipcast.", "Select one of the imported cameras.")
    render.resolution_x, render.resolution_y, render.resolution_percentage = int(size[0]), int(size[1]), 100
    render.pixel_aspect_x, render.pixel_aspect_y = float(aspect[0]), float(aspect[1])
