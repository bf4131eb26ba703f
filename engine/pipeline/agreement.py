"""Find masks that contradict all other views, so that one wrong mask does not carve a hole into the shape.

A right mask mostly takes thin slivers from what the other views leave: measured on six round shapes from 8, 12 and 24
views, no right mask alone took anything that lay deeper than 4 % of the box's diagonal inside the others' hull, while
a wrong hole of 16 pixels in one mask of 24 took .3 % of the volume there. Where a right one does (a chair's legs, a
bore that few views look along), openings.py knows it by its depth, its colours and what the other views show.
"""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from .openings import is_opening, is_seen_open, picture_of
from .progress import Stage
from .silhouettes import Silhouette, Silhouettes, measure_depths, view_depth
from .types import ViewSet

log = logging.getLogger(__name__)
MIN_VIEWS = 8  # with fewer, a view that alone sees through an opening cannot be told from a wrong mask
MIN_VIEWS_FOR_TWO = 16  # from here on two masks may be wrong at the same place
GRID = 64  # cells along the longest side of the box
DEEP, DEEP_FOR_TWO = 0.04, 0.05  # of the box's diagonal
TOO_MUCH = 5e-4  # of the hull's volume, taken deep inside by one mask
WHOLE_VIEW = 0.15  # of the object's picture: beyond it the whole mask is not believed
SHARED = 0.25  # of what one doubted view carves, by another one: both look through the same opening
MAX_WRONG = 0.25  # of the views: beyond it they contradict each other, and none can be called wrong


@dataclass(frozen=True)
class _Contradiction:
    """position: in Silhouettes.views. points: (N, 3) float32, carved by this view against the others."""

    position: int
    points: torch.Tensor


def silence_wrong_masks(silhouettes: Silhouettes, views: ViewSet, box: np.ndarray, stage: Stage) -> Silhouettes:
    """The same silhouettes, but where a mask contradicts all others deep inside the object, it says nothing (the whole
    view is left out if that is a large part of it). The person is told which. views: what they were made of.
    box: (2, 3) float64, world."""
    if len(silhouettes.views) < MIN_VIEWS:
        return silhouettes
    cell = float((box[1] - box[0]).max()) / GRID
    found, hull_points = _contradictions(silhouettes, box, cell)
    found = [wrong for wrong in found if not _is_believed(silhouettes, views, wrong, found, hull_points, cell)]
    if len(found) > MAX_WRONG * len(silhouettes.views):
        stage.warn(f"{len(found)} of {len(silhouettes.views)} masks contradict each other; the shape may be cut away "
                   "in places. Check the masks and that the cameras belong to these images.")
        return silhouettes
    kept: list[Silhouette | None] = list(silhouettes.views)
    for wrong in found:
        view = silhouettes.views[wrong.position]
        silenced, part = _silence(view, wrong.points, hull_points, cell)
        log.info("mask of %s contradicts the others in %.1f %% of the object", view.name, 100 * part)
        if part > WHOLE_VIEW:
            kept[wrong.position] = None
            stage.warn(f"{view.name}: its mask contradicts all other views, so it was left out of the shape. "
                       "Check this mask and this camera.")
        else:
            kept[wrong.position] = silenced
            stage.warn(f"{view.name}: its mask has a hole or a gap where all other views see the object; it was not "
                       "believed there. If the object is open there, add a view that looks through it, too.")
        stage.check()
    return replace(silhouettes, views=tuple(view for view in kept if view is not None))


def _contradictions(silhouettes: Silhouettes, box: np.ndarray, cell: float
                    ) -> tuple[Sequence[_Contradiction], torch.Tensor]:
    """The contradictions, and the points (N, 3) inside the hull that outvotes single views."""
    axes = [torch.from_numpy(np.arange(box[0][axis] + 0.5 * cell, box[1][axis], cell) - silhouettes.origin[axis])
            for axis in range(3)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).float().to(silhouettes.device)
    depths = measure_depths(silhouettes, points, 3)
    believed = (depths.seen >= max(4, silhouettes.needed_views)) & (depths.seen > depths.missed)
    diagonal = float(np.linalg.norm(box[1] - box[0]))
    inside = believed & (depths.smallest[1] > 0)
    carved = believed & (depths.smallest[0] < -0.7 * cell)
    deep = depths.smallest[1] > DEEP * diagonal
    if len(silhouettes.views) >= MIN_VIEWS_FOR_TWO:
        deep |= depths.smallest[2] > DEEP_FOR_TWO * diagonal
        inside |= believed & (depths.smallest[2] > 0)
    suspect = points[carved & deep]
    limit = TOO_MUCH * int(inside.sum())
    found = []
    for position, view in enumerate(silhouettes.views if len(suspect) else ()):
        depth, sees, _, _ = view_depth(view, suspect, 0.0)
        taken = suspect[sees & (depth < -0.7 * cell)]
        if len(taken) > limit:
            found.append(_Contradiction(position, taken))
    return found, points[inside]


def _is_believed(silhouettes: Silhouettes, views: ViewSet, doubt: _Contradiction, doubts: Sequence[_Contradiction],
                 hull_points: torch.Tensor, cell: float) -> bool:
    view = silhouettes.views[doubt.position]
    doubted = picture_of(view, doubt.points, cell)
    depth = views.views[view.index].depth
    if depth is not None:
        return is_seen_open(depth, doubted & (view.distance_px < 0).cpu().numpy())
    shared = any(_share(silhouettes, *pair, cell) > SHARED for other in doubts if other is not doubt
                 for pair in ((doubt, other), (other, doubt)))
    return is_opening(silhouettes, doubt.position, views.views[view.index].image, doubted, hull_points, cell, shared)


def _share(silhouettes: Silhouettes, one: _Contradiction, other: _Contradiction, cell: float) -> float:
    """The part of what `one` carves that the other view carves as well."""
    depth, sees, _, _ = view_depth(silhouettes.views[other.position], one.points, 0.0)
    return float((sees & (depth < -0.7 * cell)).float().mean())


def _silence(view: Silhouette, carved: torch.Tensor, hull_points: torch.Tensor, cell: float
             ) -> tuple[Silhouette, float]:
    """The view with its mask unknown around the carved points and in all of the gap they lie in, and the part of the
    object's picture that this is."""
    whole = picture_of(view, hull_points, 1.0 * cell)
    mark = picture_of(view, carved, 2.0 * cell)
    mark |= _gap_around(view, mark, whole, 2.0 * cell)
    distance = view.distance_px.clone()
    distance[torch.from_numpy(mark).to(distance.device)] = torch.nan
    return replace(view, distance_px=distance), float((mark & whole).sum() / max(1, int(whole.sum())))


def _gap_around(view: Silhouette, mark: np.ndarray, whole: np.ndarray, width: float) -> np.ndarray:
    """(H, W) bool: what the mask leaves out of the object's picture `whole`, joined to `mark`, where it is at least
    `width` (world units) wide: a gap is shallow near the outline, where the carved points do not reach."""
    left_out = ((view.distance_px < 0).cpu().numpy() & whole).astype(np.uint8)
    depth = float((view.projection[2, 3]).cpu())  # of the origin, which lies in the middle of the box
    size = 2 * round(0.5 * width * view.focal_px / depth) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    _, label = cv2.connectedComponents(cv2.morphologyEx(left_out, cv2.MORPH_OPEN, kernel))
    touched = np.unique(label[mark & (label > 0)])
    return cv2.dilate(np.isin(label, touched[touched > 0]).astype(np.uint8), kernel) > 0
