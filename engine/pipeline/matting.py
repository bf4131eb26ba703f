"""Say in every view where the object is: given masks if there are any, else cut out with the best hint there is.

Order: alpha or mask files; sparse points projected into the photo; a background of one smooth colour; the middle of
the picture (low confidence, and the person is told). The last three only seed GrabCut, which draws the line.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...bridge.errors import BadMasks
from .cutout import Cutout, cut_out
from .objectpoints import object_points
from .parallel import map_views
from .progress import Stage
from .types import Mask, View, ViewSet

MIN_COVER = 2e-4  # of the image: a smaller object is noise (15 x 15 pixels in a megapixel photo)
MAX_COVER = 0.998
LOW_CONFIDENCE = 0.5


def mask_views(views: ViewSet, stage: Stage, cutout_px: int = 640) -> tuple[Mask, ...]:
    """One mask a view, in the same order and of the image's size.

    cutout_px: longer side at which photos without a mask are cut out; the edge is brought up to full size softly.
    A view whose mask is empty or full among good ones is told of and gets confidence 0: the shape leaves it out.
    Raises BadMasks when fewer than two views are left, Cancelled.
    Source of the policy: measurements on real photos in this project's data notes; GrabCut: Rother et al. 2004.
    """
    stage.total = len(views.views)
    points = object_points(views)
    masks = map_views(lambda view: _mask_view(view, points, cutout_px), views.views, stage)
    _tell(views.views, masks, stage)
    return tuple(masks)


def _mask_view(view: View, points: np.ndarray | None, cutout_px: int) -> Mask:
    if view.alpha is not None:
        values, source, confidence = view.alpha.astype(np.float32) / 255, "alpha", 1.0
    else:
        cutout: Cutout = cut_out(view, points, cutout_px)
        values, source, confidence = cutout.values, cutout.source, cutout.confidence
    if view.valid is not None:
        values = np.where(view.valid, values, 0).astype(np.float32)
    inside = values > 0.5
    cover = float(inside.mean() if view.valid is None else inside[view.valid].mean())
    if not MIN_COVER < cover < MAX_COVER:
        confidence = 0.0
    return Mask(values, source, confidence)


def _tell(views: Sequence[View], masks: Sequence[Mask], stage: Stage) -> None:
    """Raise when too few masks are usable; warn about those left out and those to be looked at."""
    left_out = [(view, mask) for view, mask in zip(views, masks, strict=True) if mask.confidence == 0.0]
    if len(masks) - len(left_out) < 2:
        raise _no_object(left_out)
    if left_out:
        stage.warn(f"{_names([view.name for view, _ in left_out])}: the mask is empty or covers everything, "
                   "so the view was left out.")
    unsure = [view.name for view, mask in zip(views, masks, strict=True) if 0 < mask.confidence < LOW_CONFIDENCE]
    if unsure:
        stage.warn(f"{_names(unsure)}: the object was found by its place in the picture only, which often fails. "
                   "Give masks, images with alpha, or a plain background for a better shape.")


def _no_object(left_out: Sequence[tuple[View, Mask]]) -> BadMasks:
    if any(mask.source != "alpha" for _, mask in left_out):
        return BadMasks("No object could be told from its background in these photos.",
                        "Give masks, images with alpha, or photos with a plain background.")
    full = sum(float(view.alpha.mean()) > 127 for view, _ in left_out if view.alpha is not None)
    if full * 2 > len(left_out):
        return BadMasks("The masks are all white: they say that everything is the object.",
                        "Masks are white on the object and black elsewhere; images without a cut-out must be saved "
                        "without an alpha channel.")
    return BadMasks("The masks are all black: they say that there is no object.",
                    "Masks are white on the object and black elsewhere; check that they are not inverted or empty.")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more views" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


