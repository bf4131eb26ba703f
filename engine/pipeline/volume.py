"""The working volume: the box in which the shape is looked for. Tight, because its cells are what detail is made of."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from ...bridge.errors import BadCameras
from .objectpoints import object_points
from .silhouettes import Silhouettes, agreed_depth, build_silhouettes, measure_depths
from .types import Mask, ViewSet

GRID = 40  # cells along each side of a trial box
TRIALS = 8
SILHOUETTE_PX = 400
MARGIN = 0.02  # of the box's longest side, around what was found
_NO_COMMON = ("The outlines of the object in the views have no common volume: the cameras and the images (or masks) "
              "do not fit together.")
_NO_COMMON_HINT = "Check that the cameras belong to these images, that they overlap, and that the masks are right."


def working_volume(views: ViewSet, masks: Sequence[Mask]) -> np.ndarray:
    """Low and high corner of the box that holds the object: (2, 3) float64, world.

    Never larger than the volume that came with the views. Where a few masks err it rather holds too much.
    Raises BadCameras when the outlines have no common volume.
    """
    box = views.volume if views.volume is not None else _first_guess(views, masks)
    silhouettes = build_silhouettes(views, masks, SILHOUETTE_PX, box.mean(axis=0), torch.device("cpu"), fine=False)
    closed = np.full((2, 3), views.volume is not None)  # sides beyond which there is nothing, or nothing wanted
    for _ in range(TRIALS):
        found = _occupied_box(silhouettes, box)
        if found is None:
            raise BadCameras(_NO_COMMON, _NO_COMMON_HINT)
        cell, size = (box[1] - box[0]) / GRID, box[1] - box[0]
        closed |= np.stack([found[0] > box[0] + 0.5 * cell, found[1] < box[1] - 0.5 * cell])
        box = np.where(closed, found, box + np.stack([-0.6 * size, 0.6 * size]))
        if closed.all() and np.prod(box[1] - box[0]) > 0.92 * np.prod(size):
            break
    margin = MARGIN * float((box[1] - box[0]).max())
    box = box + np.array([[-margin], [margin]])
    return box if views.volume is None else np.stack([np.maximum(box[0], views.volume[0]),
                                                      np.minimum(box[1], views.volume[1])])


def _first_guess(views: ViewSet, masks: Sequence[Mask]) -> np.ndarray:
    """A generous cube around where the middles of the masks meet: (2, 3)."""
    rays, starts, angles = [], [], []
    for view, mask in zip(views.views, masks, strict=True):
        if mask.confidence == 0:
            continue
        y, x = np.nonzero(mask.values > 0.5)
        if not len(y):
            continue
        low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()]) + 1
        camera = view.camera
        middle = (low + high) / 2
        ray = np.array([(middle[0] - camera.cx) / camera.fx, (middle[1] - camera.cy) / camera.fy, 1.0])
        rays.append(camera.world_from_camera[:3, :3] @ ray / np.linalg.norm(ray))
        starts.append(camera.centre)
        angles.append(np.linalg.norm((high - low) / (camera.fx, camera.fy)) / 2)
    if len(rays) < 2:
        raise BadCameras(_NO_COMMON, _NO_COMMON_HINT)
    centre = _meeting_point(np.array(starts), np.array(rays))
    points = object_points(views)
    if points is not None:
        centre = np.median(points, axis=0)
    radii = np.linalg.norm(np.array(starts) - centre, axis=1) * np.array(angles)
    radius = 1.5 * float(np.percentile(radii, 75))
    return np.stack([centre - radius, centre + radius])


def _meeting_point(starts: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """The point nearest to most rays (robust least squares). starts, rays: (N, 3), rays of length 1."""
    weights = np.ones(len(rays))
    sides = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    point = starts.mean(axis=0)
    for _ in range(10):
        weighted = sides * weights[:, None, None]
        point = np.linalg.lstsq(weighted.sum(axis=0), np.einsum("nij,nj->i", weighted, starts), rcond=None)[0]
        off = np.linalg.norm(np.einsum("nij,nj->ni", sides, point - starts), axis=1)
        weights = 1 / np.maximum(off, 0.3 * np.median(off) + 1e-12)
    return point


def _occupied_box(silhouettes: Silhouettes, box: np.ndarray) -> np.ndarray | None:
    """The box around all cells of `box` that may hold object, or None. Errs to the large side."""
    cell = (box[1] - box[0]) / GRID
    axes = [box[0][axis] + cell[axis] * (np.arange(GRID) + 0.5) - silhouettes.origin[axis] for axis in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    depths = measure_depths(silhouettes, torch.from_numpy(points.astype(np.float32)), 3)
    reach = 0.5 * float(np.linalg.norm(cell))
    may_be = agreed_depth(silhouettes, depths, strict=False) > -reach
    shape = (GRID, GRID, GRID)
    found = np.argwhere(_well_seen_parts(may_be.numpy().reshape(shape), depths.seen.numpy().reshape(shape)))
    if not len(found):
        return None
    return np.stack([box[0] + cell * found.min(axis=0), box[0] + cell * (found.max(axis=0) + 1)])


def _well_seen_parts(may_be: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of the connected parts of `may_be`, those that some place of is seen by nearly as many views as any place is.

    Far from the object, between the frames of most views, a few cones always meet by chance.
    """
    parts = np.zeros(may_be.shape, np.int32)
    ndimage.label(may_be, output=parts)
    if not parts.any():
        return may_be
    best = ndimage.maximum(seen, parts, index=np.arange(1, parts.max() + 1))
    return np.isin(parts, 1 + np.flatnonzero(best >= 0.6 * np.max(best)))
