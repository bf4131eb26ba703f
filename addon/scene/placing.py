"""A result put where a camera of the scene sees it as the camera of one of its views did."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from mathutils import Matrix

from ...bridge.errors import BadCameras
from .cameras import (
    PIXEL_ASPECT_KEY,
    RENDER_SIZE_KEY,
    SENSOR_WIDTH_MM,
    VIEW_KEY,
    PinholeCamera,
    camera_from_mapping,
    lens_from_intrinsics,
    pinhole_from_blender,
    render_size_px,
    use_render_size,
)
from .originals import CAMERAS_KEY, SPACE_KEY

if TYPE_CHECKING:
    from bpy.types import Object, Scene

SAME_LENS = 0.01         # share by which focal lengths may differ and still be called the same


@dataclass(frozen=True)
class Placed:
    """view: the view's name. exact: the lenses are the same, so all of the object lines up, not its middle alone."""

    view: str
    exact: bool


def view_cameras(thing: Object) -> tuple[PinholeCamera, ...]:
    """Cameras of the views that `thing` was made from, in the views' world; () where they are not known.

    Raises BadCameras for ones that cannot be read.
    """
    kept = thing.get(CAMERAS_KEY)
    if not isinstance(kept, str) or len(thing.get(SPACE_KEY, ())) != 16:
        return ()
    try:
        return tuple(camera_from_mapping(each) for each in json.loads(kept))
    except (ValueError, TypeError) as error:
        raise BadCameras(f"The cameras kept with {thing.name} cannot be read ({error}).", "Make the result again.") \
            from error


def choose_view(cameras: tuple[PinholeCamera, ...], camera: Object, wanted: str = "") -> PinholeCamera:
    """The view called `wanted`, else the one that `camera` or the picture behind it is named after, else the only one.

    Raises BadCameras.
    """
    backgrounds = [each.image.name for each in camera.data.background_images  # type: ignore[union-attr]
                   if each.image is not None]
    names = [wanted] if wanted else [*filter(None, [camera.get(VIEW_KEY)]), *backgrounds, camera.name]
    for name in names:
        found = next((each for each in cameras if _same_name(each.name, str(name))), None)
        if found is not None:
            return found
    if wanted or len(cameras) != 1:
        told = ", ".join(each.name for each in cameras[:6])
        raise BadCameras(f"It is not clear which view {camera.name} is to stand for." if not wanted else
                         f"There is no view called {wanted}.", f"Name one of the views: {told}.")
    return cameras[0]


def place_by_camera(thing: Object, camera: Object, scene: Scene, view_name: str = "", match_lens: bool = False,
                    keep_size: bool = True) -> Placed:
    """Move `thing` so that `camera` sees it as the view's camera did.

    match_lens: `camera` takes over the view's lens and the scene its picture size; else, where the lenses differ, the
    middle of the object lines up in place and size, and its perspective is the camera's own. keep_size: the object
    stays as large as it is, nearer or farther; else it gets the size that it has in the world of its views.
    Raises BadCameras. Source: own; scaling about the centre of a camera changes nothing of what it sees.
    """
    cameras = view_cameras(thing)
    if not cameras:
        raise BadCameras(f"{thing.name} does not know its cameras.", "Select a result of Slipcast.")
    view = choose_view(cameras, camera, view_name)
    ours = pinhole_from_blender(camera, scene.render)
    camera_from_local = np.linalg.inv(view.world_from_camera) @ np.array(thing[SPACE_KEY]).reshape(4, 4)
    middle = (camera_from_local @ np.append(_middle(thing), 1.0))[:3]
    if middle[2] <= 0:
        raise BadCameras(f"{thing.name} lies behind the camera of view {view.name}.", "Choose another view.")
    if match_lens:      # only now: what is refused changes nothing
        _take_lens(camera, view, scene)
        ours = pinhole_from_blender(camera, scene.render)
    shift, exact = _across_lenses(middle, view, ours)
    moved = np.eye(4)
    moved[:3, 3] = shift
    seen = moved @ camera_from_local
    if keep_size:
        now = abs(np.linalg.det(np.array(thing.matrix_world)[:3, :3]))
        seen = np.diag([*[np.cbrt(now / abs(np.linalg.det(seen[:3, :3])))] * 3, 1.0]) @ seen
    thing.matrix_world = Matrix((ours.world_from_camera @ seen).tolist())
    return Placed(view.name, exact)


def _across_lenses(middle: np.ndarray, view: PinholeCamera, ours: PinholeCamera) -> tuple[np.ndarray, bool]:
    """(what to add to points before `ours` so that `middle` is where `view` has it, and as large; same lens). Pictures
    are compared by their widths, and laid centre on centre."""
    share = (ours.fx / ours.width) / (view.fx / view.width)
    depth = middle[2] * share
    at = []
    for axis, (focal, centre, side) in enumerate(((view.fx, view.cx, view.width), (view.fy, view.cy, view.height))):
        place = (focal * middle[axis] / middle[2] + centre - side / 2) / view.width     # right and down, in widths
        own_focal, own_centre, own_side = ((ours.fx, ours.cx, ours.width), (ours.fy, ours.cy, ours.height))[axis]
        at.append((place * ours.width - own_centre + own_side / 2) / own_focal * depth)
    return np.array([*at, depth]) - middle, abs(share - 1.0) < SAME_LENS


def _take_lens(camera: Object, view: PinholeCamera, scene: Scene) -> None:
    lens = lens_from_intrinsics(view.width, view.height, view.fx, view.fy, view.cx, view.cy)
    data = camera.data
    data.sensor_fit, data.sensor_width, data.lens = "HORIZONTAL", SENSOR_WIDTH_MM, lens.lens_mm  # type: ignore[union-attr]
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y  # type: ignore[union-attr]
    camera[RENDER_SIZE_KEY], camera[PIXEL_ASPECT_KEY] = [view.width, view.height], list(lens.pixel_aspect)
    use_render_size(scene.render, camera)
    assert render_size_px(scene.render) == (view.width, view.height)


def _middle(thing: Object) -> np.ndarray:
    """(3,) of the bounding box, the object's own space."""
    corners = np.array(thing.bound_box, dtype=np.float64)
    return (corners.min(0) + corners.max(0)) / 2


def _same_name(one: str, other: str) -> bool:
    """Blender numbers names and cuts them, and pictures get converted: the stem decides."""
    return one == other or PurePosixPath(one).stem == PurePosixPath(other).stem
