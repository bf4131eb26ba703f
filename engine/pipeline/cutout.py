"""Cut the object out of one photo that has no mask: seeds from points, from the background's colour, or the middle."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .cameras import inside_frame, project, resize_camera
from .types import View

ROUNDS = 4  # of GrabCut; more changes few pixels
EDGE = 2            # pixels on either side of GrabCut's edge that may be of both
LEAST_CONTRAST = 30.0   # of 8-bit colours; where object and background are more alike, GrabCut knows more
_SURE_BACK, _SURE_FRONT, _MAYBE_BACK, _MAYBE_FRONT = cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD


@dataclass(frozen=True)
class Cutout:
    """values: (H, W) float32 in [0, 1] at the image's size; source and confidence as in types.Mask."""

    values: np.ndarray
    source: str
    confidence: float


@dataclass(frozen=True)
class Backdrop:
    """How far each pixel is from a smooth background. distance: (H, W) float32, CIE Lab units; 0 = just like it.

    fits: the border of the picture is indeed one smooth colour. noise: Lab units, how much the border scatters.
    """

    distance: np.ndarray
    fits: bool
    noise: float


def cut_out(view: View, points: np.ndarray | None, longer_px: int) -> Cutout:
    """Find the object in a photo. points: (N, 3) world, on the object, or None. longer_px: working size.

    The same photo always gives the same cut-out. Source: GrabCut (Rother et al. 2004); the seeds are our own.
    """
    height, width = view.image.shape[:2]
    scale = min(1.0, longer_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    backdrop = measure_backdrop(image)
    seeds, source, confidence = None, "centre", 0.3
    if points is not None:
        pixels, _ = project(resize_camera(view.camera, *size), points)
        pixels = pixels[inside_frame(resize_camera(view.camera, *size), pixels)]
        if len(pixels) >= 20:
            seeds, source, confidence = _seeds_from_points(image, pixels, backdrop), "points", 0.8
    if seeds is None and backdrop.fits:
        seeds, source, confidence = _seeds_from_backdrop(backdrop), "key", 0.9
        if seeds is None:  # one smooth colour and nothing before it
            return Cutout(np.zeros((height, width), np.float32), source, 0.0)
    if seeds is None:
        seeds = _seeds_from_centre(image)
    if view.valid is not None:
        seeds[cv2.resize(view.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 0] = _SURE_BACK
    inside = _tidy(_grab(image, seeds), seeds)
    soft = soft_edge(image, inside)
    values = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return Cutout(values, source, confidence)


def measure_backdrop(image: np.ndarray) -> Backdrop:
    """Fit a smooth colour (quadratic over the picture, in Lab) to the border of `image` ((H, W, 3) uint8 sRGB).

    The fit leaves out what does not agree, so an object that reaches over the border does no harm.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    height, width = lab.shape[:2]
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    band = max(2, round(0.03 * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[band:-band, band:-band] = False
    rows, colours = basis[border], lab[border]
    keep = np.ones(len(rows), dtype=bool)
    fit = np.zeros((6, 3))
    for order in (1, 3, 6, 6, 6):  # constant first: a fit of all terms to mixed colours would bend between them
        middle = np.median(colours, axis=0) if order == 1 else None
        fit[:] = 0
        if middle is not None:
            fit[0] = middle
        else:
            fit[:order] = np.linalg.lstsq(rows[keep][:, :order], colours[keep], rcond=None)[0]
        off = np.linalg.norm(colours - rows @ fit, axis=1)
        noise = max(1.0, 1.48 * float(np.median(off[keep])))
        keep = off < max(6.0, 3 * noise)
        if keep.mean() < 0.3:
            break
    distance = np.linalg.norm(lab - basis @ fit, axis=-1).astype(np.float32)
    return Backdrop(distance, bool(keep.mean() > 0.6 and noise < 7.0), noise)


def _seeds_from_points(image: np.ndarray, pixels: np.ndarray, backdrop: Backdrop) -> np.ndarray:
    """Probably object: the points' convex outline. Surely not: far from it, or like the border with no point near."""
    height, width = image.shape[:2]
    outline = cv2.convexHull(pixels.astype(np.float32).reshape(-1, 1, 2))
    hull = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(hull, outline.astype(np.int32), (1,))
    reach = np.sqrt(max(float(cv2.contourArea(outline)), 100.0))
    dots = np.zeros((height, width), np.uint8)
    dots[pixels[:, 1].astype(int), pixels[:, 0].astype(int)] = 1
    to_dot = cv2.distanceTransform(1 - dots, cv2.DIST_L2, 3)
    to_hull = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 3)
    seeds = np.where(hull > 0, _MAYBE_FRONT, _MAYBE_BACK).astype(np.uint8)
    if backdrop.fits:
        like_border = backdrop.distance < max(6.0, 2.5 * backdrop.noise)
        seeds[like_border & (to_dot > 0.05 * reach)] = _SURE_BACK
    seeds[to_hull > 0.1 * reach] = _SURE_BACK
    crowd = cv2.GaussianBlur(dots.astype(np.float32), (0, 0), 0.03 * reach) * 2 * np.pi * (0.03 * reach) ** 2
    seeds[(to_dot < max(1.0, 0.006 * reach)) & (crowd > 4)] = _SURE_FRONT  # a lone dot may be a stray point
    return seeds


def _seeds_from_backdrop(backdrop: Backdrop) -> np.ndarray | None:
    """None when nothing stands out from the background."""
    distance = np.minimum(backdrop.distance, 100.0)
    level, _ = cv2.threshold((distance * 2.55).astype(np.uint8), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    split = max(level / 2.55, 4 * backdrop.noise, 8.0)
    seeds = np.full(distance.shape, _MAYBE_BACK, np.uint8)
    seeds[distance > split] = _MAYBE_FRONT
    seeds[distance > 1.5 * split] = _SURE_FRONT
    seeds[distance < min(0.3 * split, 2.5 * backdrop.noise)] = _SURE_BACK
    stands_out = float((distance > split).mean())
    return seeds if 5e-4 < stands_out < 0.9 else None


def _seeds_from_centre(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    radius = np.hypot(x, y)
    seeds = np.full((height, width), _MAYBE_BACK, np.uint8)
    seeds[radius < 0.7] = _MAYBE_FRONT
    seeds[radius < 0.15] = _SURE_FRONT
    seeds[np.maximum(abs(x), abs(y)) > 0.94] = _SURE_BACK
    return seeds


def _grab(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """(H, W) bool. GrabCut inside the box around all that is not surely background."""
    open_y, open_x = np.nonzero(seeds != _SURE_BACK)
    result = seeds.copy()
    front = np.isin(seeds, (_SURE_FRONT, _MAYBE_FRONT))
    if len(open_y) and front.any() and not front.all():
        margin = 12  # pixels of sure background around the box: GrabCut must know what it looks like
        top, left = max(0, open_y.min() - margin), max(0, open_x.min() - margin)
        box = np.s_[top:open_y.max() + margin + 1, left:open_x.max() + margin + 1]
        part = np.ascontiguousarray(result[box])
        if np.isin(part, (_SURE_BACK, _MAYBE_BACK)).any():
            cv2.setRNGSeed(7)  # its colour clusters start at random; the seed is this thread's own
            colours = np.zeros((2, 1, 65))  # where GrabCut keeps its two colour models
            cv2.grabCut(np.ascontiguousarray(image[box]), part, (0, 0, 1, 1), colours[0], colours[1], ROUNDS,
                        cv2.GC_INIT_WITH_MASK)
            result[box] = part
    return np.isin(result, (_SURE_FRONT, _MAYBE_FRONT))


def soft_edge(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: at the edge of `inside` (H, W) bool how much of a pixel is the object's, told from the
    colours that both have a few pixels away; elsewhere inside, a little softened. image: (H, W, 3) uint8 sRGB.

    GrabCut gives a pixel to the one or the other as its colour clusters happen to lie, up to two pixels off on photos.
    Source: own; a pixel as a mix of two colours as in Porter and Duff 1984.
    """
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)
    colours = image.astype(np.float32)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE + 1,) * 2)
    front = cv2.erode(inside.astype(np.uint8), kernel).astype(np.float32)
    back = cv2.erode((~inside).astype(np.uint8), kernel).astype(np.float32)
    (object_, near_object), (behind, near_behind) = (_mean_around(colours, each) for each in (front, back))
    between = object_ - behind
    contrast = np.square(between).sum(-1)
    share = ((colours - behind) * between).sum(-1) / np.maximum(contrast, 1.0)
    known = (front + back == 0) & near_object & near_behind & (contrast > LEAST_CONTRAST**2)
    return np.where(known, share.clip(0, 1), soft).astype(np.float32)


def _mean_around(colours: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((H, W, 3) means of the colours there that are near each pixel, (H, W) bool: there are some)."""
    weight = cv2.GaussianBlur(where, (0, 0), EDGE)
    total = cv2.GaussianBlur(colours * where[..., None], (0, 0), EDGE)
    return total / np.maximum(weight, 1e-6)[..., None], weight > 1e-3


def _tidy(inside: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Close hairline gaps, keep the large pieces, fill pinholes. Real holes (between columns, in a handle) stay."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    closed = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    if count < 2:
        return closed > 0
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.flatnonzero(areas >= 0.05 * areas.max()) + 1
    kept = np.isin(labels, keep)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < 0.002 * areas.max())
    return kept | (np.isin(labels, small) & ~kept & (labels > 0))
