"""Which of the sparse points lie on the object, and not on the table, the wall or nowhere."""
from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from .cameras import inside_frame, project
from .types import ViewSet

MIN_POINTS = 40  # fewer do not outline anything
_NEIGHBOURS = 8


def object_points(views: ViewSet) -> np.ndarray | None:
    """The points of `views` that most likely lie on the object: (N, 3) float64, world; None when they are too few.

    Kept: inside the stated volume if there is one, else in the frames of most views; then those near others of their
    kind and near the middle of them all. Source: own.
    """
    if views.points is None or len(views.points) < MIN_POINTS:
        return None
    points = views.points.astype(np.float64)
    if views.volume is not None:
        points = points[((points >= views.volume[0]) & (points <= views.volume[1])).all(axis=1)]
    else:
        seen = sum(inside_frame(view.camera, project(view.camera, points)[0]).astype(int) for view in views.views)
        points = points[seen >= 0.7 * np.max(seen)]
    if len(points) < MIN_POINTS:
        return None
    gaps = KDTree(points).query(points, k=_NEIGHBOURS + 1)[0][:, -1]
    points = points[gaps < 4 * np.median(gaps)]
    if views.volume is None and len(points) >= MIN_POINTS:
        off = np.linalg.norm(points - np.median(points, axis=0), axis=1)
        points = points[off < 3 * np.median(off)]
    return points if len(points) >= MIN_POINTS else None
