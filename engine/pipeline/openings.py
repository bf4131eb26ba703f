"""Tell a true opening, which one view or two happen to look through, from a mask that is wrong.

Both take something deep inside what all other views leave. A true one is open by the view's depth, where it has that;
else it shows the background's colours, takes nothing that another view shows as object, and is joined to the outside in
its picture (between the legs of a chair, say) or looked through by a second view as well (a bore).
"""
from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy import ndimage

from .silhouettes import Silhouette, Silhouettes, view_depth

JOINED = 0.9  # of the doubted pixels: joined to the background around the object
CLEAR_PX = 3  # around outlines, where pixels mix both sides
BINS = 12  # per colour channel
MIN_SAMPLES = 30  # pixels of background and of object that a colour model needs
OPEN = 0.9  # of the doubted pixels: without a surface, by the depth
UNCOVERED = 2e-3  # of the object's picture in another view: more than rounding can uncover


def is_opening(silhouettes: Silhouettes, position: int, image: np.ndarray, doubted: np.ndarray,
               hull_points: torch.Tensor, cell: float, shared: bool = False) -> bool:
    """Whether view `position` is to be believed where it sees through what the others take for object.

    image: (H, W, 3) uint8, that view's picture at any size. doubted: (h, w) bool, at the size of its distance_px.
    hull_points: (N, 3) float32, inside the hull without this view. cell: world units, spacing of those points.
    shared: another view that is doubted sees through the same place.
    Where the colours say nothing either way, it is no opening. Source: own.
    """
    view = silhouettes.views[position]
    outside = (view.distance_px < 0).cpu().numpy()
    doubted = doubted & outside
    if not doubted.any():
        return False
    if not shared and (doubted & _around_the_object(outside)).sum() < JOINED * doubted.sum():
        return False
    return _looks_like_background(view, image, doubted) and _covers_the_others(silhouettes, position, hull_points, cell)


def is_seen_open(depth: np.ndarray, doubted: np.ndarray) -> bool:
    """Whether a view's depth shows nothing where it is doubted. depth: (H, W) float32, not finite = nothing there.
    doubted: (h, w) bool, the same picture at any size."""
    height, width = doubted.shape
    open_there = cv2.resize((~np.isfinite(depth)).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return bool(doubted.any()) and float(open_there[doubted].mean()) > OPEN


def _around_the_object(outside: np.ndarray) -> np.ndarray:
    """(H, W) bool: the parts of `outside` that reach the frame."""
    _, label = cv2.connectedComponents(outside.astype(np.uint8), connectivity=4)
    rim = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    return np.isin(label, rim[rim > 0]) & outside


def _looks_like_background(view: Silhouette, image: np.ndarray, doubted: np.ndarray) -> bool:
    """By the ratio of two colour histograms, taken well off the outlines and off the doubted pixels."""
    distance = view.distance_px.cpu().numpy()
    height, width = distance.shape
    bins = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.int32) * BINS // 256
    known = cv2.dilate(doubted.astype(np.uint8), np.ones((2 * CLEAR_PX + 1,) * 2, np.uint8)) == 0
    background, thing = bins[known & (distance < -CLEAR_PX)], bins[distance > CLEAR_PX]
    asked = bins[doubted & (distance < -1)]
    if min(len(background), len(thing)) < MIN_SAMPLES or not len(asked):
        return False
    ratio = np.log(_histogram(background)) - np.log(_histogram(thing))
    return float(ratio[tuple(asked.T)].mean()) > 0.5


def _histogram(colours: np.ndarray) -> np.ndarray:
    """(BINS, BINS, BINS) float64, smoothed, nowhere zero, sum 1. colours: (N, 3) int32 bin numbers."""
    counts = np.zeros((BINS,) * 3)
    np.add.at(counts, tuple(colours.T), 1.0)
    for axis in range(3):
        counts = ndimage.convolve1d(counts, [0.25, 0.5, 0.25], axis=axis, mode="constant")
    return (counts / len(colours) + 1e-4) / (1 + 1e-4 * counts.size)


def _covers_the_others(silhouettes: Silhouettes, position: int, hull_points: torch.Tensor, cell: float) -> bool:
    """Whether the hull still fills every other view's outline when this view is believed."""
    depth, sees, _, _ = view_depth(silhouettes.views[position], hull_points, 0.0)
    left = hull_points[~(sees & (depth < -0.7 * cell))]
    for number, other in enumerate(silhouettes.views):
        if number == position:
            continue
        before, after = picture_of(other, hull_points, cell), picture_of(other, left, cell)
        lost = before & ~after & (other.distance_px > 1).cpu().numpy()
        if lost.sum() > UNCOVERED * before.sum():
            return False
    return True


def picture_of(view: Silhouette, points: torch.Tensor, radius: float) -> np.ndarray:
    """(H, W) bool: pixels within `radius` (world units, at the points' mean depth) of any projected point."""
    height, width = view.distance_px.shape
    local = (points @ view.projection[:, :3].T + view.projection[:, 3]).cpu().numpy()
    local = local[local[:, 2] > 0]
    picture = np.zeros((height, width), np.uint8)
    if not len(local):
        return picture > 0
    pixels = np.floor(local[:, :2] / local[:, 2:]).astype(int)
    pixels = pixels[((pixels >= 0) & (pixels < (width, height))).all(axis=1)]
    picture[pixels[:, 1], pixels[:, 0]] = 1
    size = 2 * int(np.ceil(radius * view.focal_px / float(local[:, 2].mean()))) + 1
    return cv2.dilate(picture, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0
