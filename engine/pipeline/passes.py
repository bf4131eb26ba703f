"""The depth and normal passes of a view: brought to its size and meaning, and checked against their cameras."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ...bridge.errors import BadImage
from .cameras import ASPECT_TOLERANCE, FrameSpec
from .exr import read_depth, read_normals
from .progress import Stage
from .types import Camera, View

OPAQUE = 250
MISSING = 0.01      # of the object's pixels without depth, from which on the person is told
AWAY = 0.2          # of all normals that look away from their cameras: more, and they are not the world's
SAMPLE = 7          # every how many pixels, each way, the normals are looked at


def load_passes(view: View, frame: FrameSpec, files: Mapping[str, Path], full: Camera, max_pixels: int) -> View:
    """The view with the depth and normals that its frame names, at its size (nearest pixels: nothing is mixed).

    full: the frame's camera at the size of its image. Depth becomes world units; along_axis() makes it the distance
    along the camera's axis when the lens is gone. Raises BadImage, ImageTooLarge.
    """
    depth, normals = view.depth, view.normals
    if frame.depth is not None and frame.depth in files:
        depth = _fitted(read_depth(files[frame.depth], frame.depth, max_pixels), view, full, frame.depth)
        depth = (depth * frame.depth_scale).astype(np.float32)
    if frame.normals is not None and frame.normals in files:
        normals = _fitted(read_normals(files[frame.normals], frame.normals, max_pixels), view, full, frame.normals)
    return replace(view, depth=depth, normals=normals)


def _fitted(values: np.ndarray, view: View, full: Camera, name: str) -> np.ndarray:
    height, width = values.shape[:2]
    if abs(width / height / (full.width / full.height) - 1) > max(ASPECT_TOLERANCE, 1.0 / min(width, height)):
        raise BadImage(f"{name} is {width}x{height}, its image is {full.width}x{full.height}.",
                       "Depth and normals must have the proportions of their image.")
    if (width, height) == (view.camera.width, view.camera.height):
        return values
    return cv2.resize(values, (view.camera.width, view.camera.height), interpolation=cv2.INTER_NEAREST_EXACT)


def undistort_passes(view: View, at_x: np.ndarray, at_y: np.ndarray, valid: np.ndarray) -> View:
    """Depth and normals taken from where the lens put them. at_x, at_y: (H, W) float32 pixels counted from centres."""
    depth, normals = view.depth, view.normals
    if depth is not None:
        depth = cv2.remap(depth, at_x, at_y, cv2.INTER_NEAREST)
        depth[~valid] = np.inf
    if normals is not None:
        normals = cv2.remap(normals, at_x, at_y, cv2.INTER_NEAREST)
        normals[~valid] = 0
    return replace(view, depth=depth, normals=normals)


def along_axis(view: View) -> View:
    """The view whose depth was the distance from the camera's centre, as the distance along its axis."""
    if view.depth is None:
        return view
    return replace(view, depth=(view.depth / np.linalg.norm(_rays(view.camera), axis=-1)).astype(np.float32))


def _rays(camera: Camera) -> np.ndarray:
    """(H, W, 3) float64, camera axes, z = 1."""
    across = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    down = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    u, v = np.meshgrid(across, down)
    return np.stack([u, v, np.ones_like(u)], -1)


def check_passes(views: Sequence[View], stage: Stage) -> list[View]:
    """The views, without normals where those contradict the cameras; what is missing is told as warnings."""
    gaps = sum(_has_gaps(view) for view in views)
    if gaps:
        stage.warn(f"The depth of {gaps} of {sum(view.depth is not None for view in views)} views has places on the "
                   "object without a number (NaN or nothing). Depth is not used there.")
    looks = np.concatenate([np.zeros(0), *(_facing(view) for view in views if view.normals is not None)])
    if len(looks) and float((looks > 0).mean()) > AWAY:
        stage.warn(f"{float((looks > 0).mean()):.0%} of the normals look away from their cameras, so they are not the "
                   "world's. They are not used. Render normals in world space, from -1 to 1.")
        return [replace(view, normals=None) for view in views]
    return list(views)


def _has_gaps(view: View) -> bool:
    if view.depth is None:
        return False
    if np.isnan(view.depth).any():
        return True
    if view.alpha is None or view.alpha.min() >= OPAQUE:
        return False
    inside = cv2.erode((view.alpha >= OPAQUE).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return bool((inside & ~np.isfinite(view.depth)).sum() > MISSING * max(1, inside.sum()))


def _facing(view: View) -> np.ndarray:
    """Cosines between normals and the way one looks, where there are normals: below 0 they face the camera."""
    assert view.normals is not None
    some = (slice(SAMPLE // 2, None, SAMPLE),) * 2
    normals = view.normals[some]
    rays = _rays(view.camera)[some] @ view.camera.world_from_camera[:3, :3].T
    return (normals * rays).sum(-1)[(normals != 0).any(-1)]
