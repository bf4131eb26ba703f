"""Texels that a bake has not reached take on the colours around them. No bpy."""
from __future__ import annotations

import numpy as np


def fill_from_around(colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """colour: (H, W, C) float32. known: (H, W) bool. Returns colour with the other texels filled, smoothly; as it is
    where nothing is known. Source: pull and push over a pyramid (Gortler et al. 1996, "The lumigraph", 3.4)."""
    if known.all() or not known.any():
        return colour
    height, width = known.shape
    if max(height, width) == 1:
        return colour
    even = ((0, height % 2), (0, width % 2))
    weight = np.pad(known, even).astype(np.float32)
    total = np.pad(colour, (*even, (0, 0))) * weight[..., None]
    four = [(rows, columns) for rows in (0, 1) for columns in (0, 1)]
    count = sum(weight[rows::2, columns::2] for rows, columns in four)
    half = sum(total[rows::2, columns::2] for rows, columns in four) / np.maximum(count, 1.0)[..., None]
    above = fill_from_around(half, count > 0)
    spread = above.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known[..., None], colour, spread)
