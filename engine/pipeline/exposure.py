"""Exposure differences between views, evened out."""
from __future__ import annotations

import numpy as np

ROUNDS = 6
TOLERANCE = 0.1            # log units: a sample further off than this (highlight, wrong surface) counts less
PULL_TO_ONE = 0.02         # weight of "no change" beside the mean weight of a view's samples
LARGEST_GAIN = 4.0
DARK, BRIGHT = 0.003, 0.9  # linear light: outside, a sample is noise or clipped


def solve_gains(color: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Factor per view and channel that makes shared surface points look alike in all views.

    color: (N, V, 3) float32 linear. weight: (N, V) float32, 0 = unseen. Returns (V, 3) float64 factors for linear
    light; their weighted mean in the logarithm is 0, so that total brightness stays.
    Least squares over log colour, with one unknown per point (eliminated) and one per view, reweighted against outliers
    (Cauchy), pulled weakly to 1. Source: own.
    """
    views = color.shape[1]
    gains = np.ones((views, 3))
    for channel in range(3):
        value = color[..., channel].astype(np.float64)
        usable = (weight > 0) & (value > DARK) & (value < BRIGHT)
        base = np.where(usable, weight / np.maximum(weight.max(1, keepdims=True), 1e-30), 0.0)
        base[(base > 0).sum(1) < 2] = 0
        gains[:, channel] = np.exp(_solve(np.log(np.maximum(value, 1e-6)), base))
    return np.clip(gains, 1 / LARGEST_GAIN, LARGEST_GAIN)


def _solve(light: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Log gain of each view: minimises sum w (light + gain - point)^2 over gains and points."""
    gain = np.zeros(base.shape[1])
    weight = base
    for _ in range(ROUNDS):
        total = np.maximum(weight.sum(1, keepdims=True), 1e-12)
        mean = (weight * light).sum(1, keepdims=True) / total
        matrix = np.diag(weight.sum(0)) - weight.T @ (weight / total)
        right = -(weight * (light - mean)).sum(0)
        pull = PULL_TO_ONE * max(weight.sum() / len(gain), 1e-6)
        gain = np.linalg.solve(matrix + pull * np.eye(len(gain)), right)
        lit = light + gain
        off = lit - (weight * lit).sum(1, keepdims=True) / total
        weight = base / (1 + (off / TOLERANCE) ** 2)
    share = base.sum(0)
    return gain - (gain @ share) / max(share.sum(), 1e-12)
