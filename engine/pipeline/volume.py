"""The working volume: the box in which the shape is looked for. Tight, because its cells are what detail is made of."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...bridge.errors import BadCameras
from .objectpoints import object_points
from .silhouettes import Silhouettes, build_silhouettes, measure_depths
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
    silhouettes = build_silhouettes(views, masks, SILHOUETTE_PX, box.mean(axis=0), torch.device("cpu"))
    limit = views.volume
    for _ in range(TRIALS):
        found = _occupied_box(silhouettes, box)
        if found is None:
            raise BadCameras(_NO_COMMON, _NO_COMMON_HINT)
        cell = (box[1] - box[0]) / GRID
        grown = box.copy()
        if limit is None:  # what reaches the end of the trial box may go on beyond it
            size = box[1] - box[0]
            grown[0] = np.where(found[0] <= box[0] + 0.5 * cell, box[0] - 0.6 * size, found[0])
            grown[1] = np.where(found[1] >= box[1] - 0.5 * cell, box[1] + 0.6 * size, found[1])
        else:
            grown = np.stack([np.maximum(found[0], limit[0]), np.minimum(found[1], limit[1])])
        settled = np.prod(grown[1] - grown[0]) > 0.9 * np.prod(box[1] - box[0])
        box, outside = grown, bool((grown[0] < box[0]).any() or (grown[1] > box[1]).any())
        if settled and not outside:
            break
    margin = MARGIN * float((box[1] - box[0]).max())
    box = box + np.array([[-margin], [margin]])
    return box if limit is None else np.stack([np.maximum(box[0], limit[0]), np.minimum(box[1], limit[1])])


def _first_guess(views: ViewSet, masks: Sequence[Mask]) -> np.ndarray:
    """A generous cube around where the middles of the masks meet: (2, 3)."""
    rays, starts, angles = [], [], []
    for view, mask in zip(views.views, masks, strict=True):
        if mask.confidence == 0:
            continue
        y, x = np.nonzero(mask.values > 0.5)
        low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()]) + 1
        camera = view.camera
        middle = (low + high) / 2
        ray = np.array([(middle[0] - camera.cx) / camera.fx, (middle[1] - camera.cy) / camera.fy, 1.0])
        rays.append(camera.world_from_camera[:3, :3] @ ray / np.linalg.norm(ray))
        starts.append(camera.centre)
        angles.append(np.linalg.norm((high - low) / (camera.fx, camera.fy)) / 2)
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
    count = len(silhouettes.views)
    rank = 1 + (count >= 8) + (count >= 16)
    depths = measure_depths(silhouettes, torch.from_numpy(points.astype(np.float32)), rank)
    reach = 0.5 * float(np.linalg.norm(cell))
    may_be = (depths.smallest[rank - 1] > -reach) & (depths.seen >= silhouettes.needed_views)
    found = np.argwhere(may_be.numpy().reshape(GRID, GRID, GRID))
    if not len(found):
        return None
    return np.stack([box[0] + cell * found.min(axis=0), box[0] + cell * (found.max(axis=0) + 1)])
