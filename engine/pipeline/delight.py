"""What light did to the views, in linear light: each view's exposure, and a light that moves with the camera.

A flash, or a lamp beside the camera while the object turns, brightens a place by where its normal points in the
camera's axes, the same way in all views. That part can be told from the surface's own colour, because many views see
each place, and be divided out. A light that stands still cannot; it comes out as none and stays in the colours.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

log = logging.getLogger(__name__)

ROUNDS = 6
TOLERANCE = 0.1            # log units: a sample further off than this (highlight, shadow, wrong surface) counts less
PULL_TO_ONE = 0.02         # weight of "no change" beside the mean weight of a view's samples
PULL_TO_NONE = 1e-3        # the same for each coefficient of the moving light, beside all samples
LARGEST_GAIN = 1.4         # log of a view's exposure: a factor of 4
LARGEST_TURN = 2.0         # log of the moving light: a factor of 7, as towards a lamp and at a grazing angle
RARE = 0.005               # share of the samples beyond which the moving light is not followed, at either end
FOLD_SAMPLES = 2_500
DARK, BRIGHT = 0.003, 0.9  # linear light: outside, a sample is noise or clipped
HARMONICS = 15             # of order 1 to 3; order 0 is exposure
FOLDS = 4                  # parts of the views that are foretold from the others in turn
EXPLAINS = 0.9             # a moving light is believed that leaves less than this share of what exposures leave
GLARE_CELLS = 24           # across the hemisphere of normals that a camera sees
GLARE = 0.15               # log units: a sample brighter by more than this was perhaps a highlight
GLARE_PRIOR = 20.0         # samples; a direction with fewer is taken for an ordinary one
GLARE_POWER = 2.0
LEAST_VIEWS = 8            # with fewer, what moves with the camera cannot be told from the surface


@dataclass(frozen=True)
class ViewLight:
    """gain: (V, 3) float32, log of what each view's colours are brighter by. turn: (V, 3, 3) float32, directions in the
    world -> the camera's axes. turning: (15,) float32, log of brightness over spherical harmonics of the normal in the
    camera's axes. level: added to that, so that its mean is 0. span: lowest and highest log of it that the surface
    showed often: beyond, the harmonics would make things up. calm: (C, C) float32 in (0, 1], by x and y of the normal
    in the camera's axes from -1 to 1 (columns are x): how free of highlights surfaces are that look there.
    """

    gain: torch.Tensor
    turning: torch.Tensor
    level: float
    span: tuple[float, float]
    turn: torch.Tensor
    calm: torch.Tensor

    @property
    def moves(self) -> bool:
        """Whether any of the light moves with the camera."""
        return bool((self.turning != 0).any())

    def moving(self, normals: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """(N,) log of the moving light on normals (N, 3), world, unit or not. turn: (3, 3), world -> camera."""
        if not self.moves:
            return normals.new_zeros(len(normals))
        seen = torch.nn.functional.normalize(normals, dim=-1) @ turn.T
        return (harmonics(seen) @ self.turning + self.level).clamp(*self.span)

    def moving_in_all(self, normals: torch.Tensor) -> torch.Tensor:
        """(N, V) log of the moving light in all views."""
        return torch.stack([self.moving(normals, turn) for turn in self.turn], 1)

    def calm_in_all(self, normals: torch.Tensor) -> torch.Tensor:
        """(N, V) in (0, 1]: how free of highlights all views are expected to be at normals (N, 3), world."""
        seen = torch.nn.functional.normalize(normals, dim=-1) @ self.turn.transpose(1, 2)
        found = torch.nn.functional.grid_sample(self.calm[None, None], seen[None, ..., :2], padding_mode="border",
                                                align_corners=False)
        return found[0, 0].T


def harmonics(seen: torch.Tensor) -> torch.Tensor:
    """(..., 15) real spherical harmonics of order 1 to 3, without their constants, of unit vectors (..., 3)."""
    x, y, z = seen.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    third = torch.stack([y * (3 * xx - yy), x * y * z, y * (5 * zz - 1), z * (5 * zz - 3), x * (5 * zz - 1),
                         z * (xx - yy), x * (xx - 3 * yy)], -1)
    return torch.cat([low_harmonics(seen), third], -1)


def low_harmonics(seen: torch.Tensor) -> torch.Tensor:
    """(..., 8): those of order 1 and 2."""
    x, y, z = seen.unbind(-1)
    return torch.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], -1)


def find_view_light(color: torch.Tensor, weight: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor) -> ViewLight:
    """Exposures, and a light that moves with the camera if there is one: if it foretells views it was not fitted to.

    Arguments as of fit_view_light. Each part of the views is foretold from the light and the surface colours of the
    others, with its own exposure; what the moving light leaves unexplained must be clearly less than without it.
    """
    views, every = weight.shape[1], max(1, len(weight) // FOLD_SAMPLES)
    if views >= LEAST_VIEWS:
        some = color[::every], weight[::every], normals[::every]
        left = {moving: [] for moving in (False, True)}
        for fold in range(FOLDS):
            out = torch.zeros(views, dtype=torch.bool)
            out[fold::FOLDS] = True
            for tried, rows in left.items():
                rows.append(_unforetold(*some, turn, out.to(color.device), tried))
        without, with_ = (float(np.mean(left[moving])) for moving in (False, True))
        log.info("light: views foretold to %.3f without a light that moves, to %.3f with it", without, with_)
        if with_ < EXPLAINS * without:
            return fit_view_light(color, weight, normals, turn)
    return fit_view_light(color, weight, normals, turn, moving=False)


def _unforetold(color: torch.Tensor, weight: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor,
                out: torch.Tensor, moving: bool) -> float:
    """Median difference, log units, of the views `out` (V,) bool from what the others and their light say."""
    light = fit_view_light(color[:, ~out], weight[:, ~out], normals, turn[~out], moving)
    brighter = torch.stack([light.moving(normals, each) for each in turn], 1)
    logs = color.clamp(min=DARK).log() - brighter[..., None]
    known: torch.Tensor = weight[..., None] * ((color > DARK) & (color < BRIGHT))
    share = known[:, ~out]
    own = (share * (logs[:, ~out] - light.gain)).sum(1) / share.sum(1).clamp(min=1e-30)
    rows = []
    for view in torch.nonzero(out)[:, 0].tolist():
        for channel in range(3):
            both = (known[:, view, channel] > 0) & (share[..., channel] > 0).any(1)
            off = logs[both, view, channel] - own[both, channel]
            if len(off):
                rows.append(float((off - off.median()).abs().median()))
    return float(np.mean(rows)) if rows else 0.0


def fit_view_light(color: torch.Tensor, weight: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor,
                   moving: bool = True) -> ViewLight:
    """The light that makes shared surface points look alike once it is divided out.

    color: (N, V, 3) float32 linear. weight: (N, V) float32, 0 = unseen. normals: (N, 3), world. turn: (V, 3, 3).
    moving: whether to look for a light that moves with the camera; without, exposures alone.
    Least squares over log colour with an unknown a point and channel (eliminated), one a view and channel, and the
    harmonics, shared; reweighted against outliers (Cauchy), pulled weakly to "no change". Source: own.
    """
    views = weight.shape[1]
    seen = torch.nn.functional.normalize(normals, dim=-1) @ turn.transpose(1, 2)
    basis = harmonics(seen).permute(1, 0, 2).to(torch.float64)[..., :HARMONICS if moving else 0]
    even = (weight / weight.amax(1, keepdim=True).clamp(min=1e-30))[..., None]
    base = torch.where((color > DARK) & (color < BRIGHT), even, 0.0).to(torch.float64)
    base = base * ((base > 0).sum(1, keepdim=True) >= 2)
    light = color.clamp(min=1e-6).to(torch.float64).log()
    found, off = _solve(light, base, basis)
    calm = torch.ones((GLARE_CELLS, GLARE_CELLS), dtype=torch.float32, device=color.device)
    if moving:
        calm = _calm(off, base, seen)
    gain, turning = found[:3 * views].reshape(3, views).T, found[3 * views:]
    share = base.sum(0)
    gain = gain - (share * gain).sum(0) / share.sum(0).clamp(min=1e-12)
    level, span = _level_and_span((basis @ turning), base.mean(-1)) if moving else (0.0, (0.0, 0.0))
    full = torch.zeros(HARMONICS, dtype=torch.float32, device=color.device)
    full[:len(turning)] = turning.to(torch.float32)
    return ViewLight(gain.clamp(-LARGEST_GAIN, LARGEST_GAIN).to(torch.float32), full, level, span, turn, calm)


def _calm(off: torch.Tensor, base: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """How seldom samples are too bright by the direction of their normals, beside what is usual. off, base: (N, V, 3),
    log units and weights. seen: (V, N, 3), normals in the cameras' axes."""
    known = base.mean(-1) > 0
    bright = (off.mean(-1) > GLARE)[known].to(torch.float64)
    place = ((seen.permute(1, 0, 2)[..., :2][known] + 1) * (GLARE_CELLS / 2)).long().clamp(0, GLARE_CELLS - 1)
    cell = place[:, 1] * GLARE_CELLS + place[:, 0]
    count = torch.bincount(cell, minlength=GLARE_CELLS**2)
    usual = float(bright.mean()) if len(bright) else 0.0
    share = (torch.bincount(cell, bright, minlength=GLARE_CELLS**2) + GLARE_PRIOR * usual) / (count + GLARE_PRIOR)
    calm = (max(usual, 1e-6) / share.clamp(min=1e-6)).clamp(max=1) ** GLARE_POWER
    return calm.view(GLARE_CELLS, GLARE_CELLS).to(torch.float32)


def _level_and_span(logs: torch.Tensor, weight: torch.Tensor) -> tuple[float, tuple[float, float]]:
    """What brings the weighted mean of logs (N, V) to 0, and between which values most of them lie then."""
    order = logs.flatten().argsort()
    share = weight.flatten()[order].cumsum(0)
    if not len(share) or float(share[-1]) <= 0:
        return 0.0, (0.0, 0.0)
    level = -float((logs * weight).sum() / weight.sum())
    ends = torch.searchsorted(share, share[-1] * share.new_tensor([RARE, 1 - RARE])).clamp(max=len(order) - 1)
    low, high = (float(logs.flatten()[order[end]]) + level for end in ends)
    return level, (max(low, -LARGEST_TURN), min(high, LARGEST_TURN))


def _solve(light: torch.Tensor, base: torch.Tensor, basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(3 V + K,), and what that leaves unexplained, (N, V, 3).

    Minimises sum w (light - gain - basis . turning - point)^2, with w as `base`.
    light, base: (N, V, 3). basis: (N, V, K).
    """
    views, count = base.shape[1], basis.shape[-1]
    found = torch.zeros(3 * views + count, dtype=torch.float64, device=light.device)
    weight, off = base, torch.zeros_like(light)
    for _ in range(ROUNDS):
        matrix = torch.zeros((len(found), len(found)), dtype=torch.float64, device=light.device)
        right = torch.zeros(len(found), dtype=torch.float64, device=light.device)
        for channel in range(3):
            _add_channel(matrix, right, light[..., channel], weight[..., channel], basis, channel)
        pull = float(weight.sum()) / max(3 * views, 1)
        pulls = torch.full((len(found),), PULL_TO_NONE * pull * views, dtype=torch.float64, device=light.device)
        pulls[:3 * views] = PULL_TO_ONE * max(pull, 1e-6)
        found = torch.linalg.solve(matrix + torch.diag(pulls + 1e-9), right)
        rest = light - found[:3 * views].reshape(3, views).T - (basis @ found[3 * views:])[..., None]
        off = rest - (weight * rest).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-12)
        weight = base / (1 + (off / TOLERANCE) ** 2)
    return found, off


def _add_channel(matrix: torch.Tensor, right: torch.Tensor, light: torch.Tensor, weight: torch.Tensor,
                 basis: torch.Tensor, channel: int) -> None:
    """Add one channel's normal equations, each point's own colour eliminated."""
    views, total = weight.shape[1], weight.sum(1, keepdim=True).clamp(min=1e-12)
    off = light - (weight * light).sum(1, keepdim=True) / total
    here, shared = slice(channel * views, (channel + 1) * views), slice(3 * views, None)
    matrix[here, here] += torch.diag(weight.sum(0)) - weight.T @ (weight / total)
    right[here] += (weight * off).sum(0)
    if basis.shape[-1]:
        centred = basis - (weight[..., None] * basis).sum(1, keepdim=True) / total[..., None]
        weighted = weight[..., None] * centred
        across = weighted.sum(0)
        matrix[here, shared] += across
        matrix[shared, here] += across.T
        flat = weighted.reshape(-1, basis.shape[-1])
        matrix[shared, shared] += flat.T @ centred.reshape(flat.shape)
        right[shared] += flat.T @ off.reshape(-1)
