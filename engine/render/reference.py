"""Slow, obvious twins of the kernels, in numpy float64. Tests compare the fast path with these."""
from __future__ import annotations

import numpy as np


def fragments_ref(clip: np.ndarray, faces: np.ndarray, height: int, width: int,
                  near_w: float = 1e-6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twin of find_fragments for one view: clip (V, 4) float64, faces (F, 3).

    Returns face (H, W), weights (H, W, 2), depth (H, W).

    For each triangle and pixel the barycentric weights solve  weights @ corners(x, y, w)  proportional to (x, y, 1)
    of the pixel: that is the definition of perspective-correct interpolation.
    """
    rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    pixels = np.stack([columns / width * 2 - 1, rows / height * 2 - 1, np.ones_like(rows)], -1)
    face_at = np.full((height, width), -1)
    weights = np.zeros((height, width, 2))
    depth = np.full((height, width), np.inf)
    nearest = np.full((height, width), np.inf)
    for index, face in enumerate(faces):
        corners = clip[face]
        matrix = corners[:, [0, 1, 3]]
        if abs(np.linalg.det(matrix)) < 1e-14:
            continue
        raw = pixels @ np.linalg.inv(matrix)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = raw / raw.sum(-1, keepdims=True)
        w = share @ corners[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = share @ corners[:, 2] / w
        hit = (share >= 0).all(-1) & (w >= near_w) & (np.abs(z) <= 1) & (z < nearest)
        nearest[hit], face_at[hit], depth[hit], weights[hit] = z[hit], index, w[hit], share[hit][:, :2]
    return face_at, weights, depth


def observe_ref(point: np.ndarray, normal: np.ndarray, pose: np.ndarray, lens: np.ndarray, depth: np.ndarray,
                trust: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Twin of observe for one point (3,) and one view: depth (H, W), trust (H, W) in [0, 1], image (H, W, 3) linear."""
    height, width = depth.shape
    seen = pose[:3, :3] @ point + pose[:3, 3]
    nothing = (np.zeros(3), 0.0)
    if seen[2] <= 0:
        return nothing
    x, y = lens[0] * seen[0] / seen[2] + lens[2], lens[1] * seen[1] / seen[2] + lens[3]
    if not (0 <= x < width and 0 <= y < height):
        return nothing
    turned = pose[:3, :3] @ normal
    cosine = -turned @ seen / (np.linalg.norm(turned) * np.linalg.norm(seen))
    row, column = int(y), int(x)
    footprint = seen[2] / lens[0]
    slope = min(np.sqrt(max(1 - cosine**2, 0)) / max(cosine, 1e-3), 8)
    hidden = seen[2] > depth[row, column] + footprint * 1.5 * (1 + slope)
    if cosine <= 0.08 or trust[row, column] == 0 or hidden:
        return nothing
    u, v = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    total = np.zeros(3)
    for r in (int(v), min(int(v) + 1, height - 1)):
        for c in (int(u), min(int(u) + 1, width - 1)):
            total += image[r, c] * max(0.0, 1 - abs(u - c)) * max(0.0, 1 - abs(v - r))
    return total, float(cosine**2 * trust[row, column] / footprint**2)


def blend_observations_ref(color: np.ndarray, weight: np.ndarray, sharpness: float, brighter: float,
                           darker: float) -> tuple[np.ndarray, float]:
    """Twin of blend_observations for one point: color (V, 3), weight (V,)."""
    best = [view for view in np.argsort(-weight, kind="stable")[:8] if weight[view] > 0]
    if not best:
        return np.zeros(3), 0.0
    color, weight = color[best].astype(np.float64), weight[best].astype(np.float64)
    light = np.log(color @ [0.2126, 0.7152, 0.0722] + 0.01)
    order = np.argsort(light, kind="stable")
    middle = light[order][np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]
    off = light - middle
    weight = weight / (1 + (off / np.where(off > 0, brighter, darker)) ** 2)
    share = (weight / weight.max()) ** sharpness
    return (color * share[:, None]).sum(0) / share.sum(), float(weight.max())
