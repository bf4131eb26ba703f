"""How a view's light changes colours: its exposure, and a light that moves with the camera, as a flash does.

Without it the optimisation explains by shape what the light did: a highlight that wanders over a smooth forehead looks
like a hollow. What it cannot explain tells how far colours may be trusted at all.
Source: own; the spherical harmonics of first and second order as in Ramamoorthi and Hanrahan, "An Efficient
Representation for Irradiance Environment Maps", 2001.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from ..render import interpolate, rasterize
from .refine_colours import seen_colours
from .refine_losses import COLOUR_ROUNDING, Surface, clip_positions, normals_of
from .targets import Targets

log = logging.getLogger(__name__)

HARMONICS = 8        # of order 1 and 2; order 0 is exposure
ROUNDS = 160         # fits of four views each
RATE = 0.02          # step of the first round, of colours and logarithms of brightness
LAST_RATE = 0.05     # share of it that is left at the end
SOLID = 250          # coverage of 255 from which a pixel's colour is the object's alone


@dataclass(frozen=True)
class Light:
    """gain: (N, 3) float32, logarithm of each view's exposure, mean 0. turning: (8,) float32, see lit_colours.
    unexplained: median distance of colours (in [0, 1] each) between views and a surface under this light.
    """

    gain: torch.Tensor
    turning: torch.Tensor
    unexplained: float


def lit_colours(colours: torch.Tensor, gain: torch.Tensor, turning: torch.Tensor, normals: torch.Tensor,
                turn: torch.Tensor) -> torch.Tensor:
    """(B, V, 3): what B views see of colours (V, 3).

    gain: (B, 3), logarithm of exposure. turning: (8,), logarithm of brightness over spherical harmonics of the normal
    in the camera's axes, the same in all views. normals: (V, 3) unit, world. turn: (B, 3, 3), world to camera.
    """
    x, y, z = (normals @ turn.transpose(1, 2)).unbind(-1)
    basis = torch.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], -1)
    return colours * ((basis @ turning)[..., None] + gain[:, None]).exp()


def fit_light(positions: torch.Tensor, surface: Surface, targets: Targets, seed: int) -> Light:
    """Colours, exposures and the light that moves along, on a surface that stands still. positions: unit frame."""
    device, views = positions.device, len(targets.clip)
    random = np.random.default_rng(seed)
    facing = normals_of(positions, surface.faces)
    colours = seen_colours(positions, surface, targets).requires_grad_()
    gain = torch.zeros((views, 3), device=device, requires_grad=True)
    turning = torch.zeros(HARMONICS, device=device, requires_grad=True)
    painter = torch.optim.Adam([colours, gain, turning], lr=RATE, betas=(0.9, 0.99))
    for round_ in range(ROUNDS):
        chosen = torch.from_numpy(random.permutation(views)[:4]).to(device)
        lit = lit_colours(colours, (gain - gain.mean(0))[chosen], turning, facing, targets.turn[chosen])
        away = _differences(lit, positions, surface, targets, chosen)
        ((away.square() + COLOUR_ROUNDING**2).sqrt().mean()).backward()
        painter.param_groups[0]["lr"] = RATE * LAST_RATE**(round_ / ROUNDS)
        painter.step()
        painter.zero_grad()
    with torch.no_grad():
        gain = gain - gain.mean(0)
        everyone = torch.arange(views, device=device)
        away = _differences(lit_colours(colours, gain, turning, facing, targets.turn), positions, surface, targets,
                            everyone)
    return Light(gain, turning.detach(), float(away.median()) if len(away) else 0.0)


def _differences(lit: torch.Tensor, positions: torch.Tensor, surface: Surface, targets: Targets,
                 chosen: torch.Tensor) -> torch.Tensor:
    """(M,) distances of colours, over the pixels that the object fills in both the views and the drawing."""
    side = targets.rgba.shape[1]
    rast = rasterize(clip_positions(positions, targets.clip[chosen]), surface.faces, (side, side))
    wanted = targets.rgba[chosen]
    both = (rast[..., 3] > 0) & (wanted[..., 3] >= SOLID) & (targets.known[chosen] > 0)
    shown = interpolate(lit, rast, surface.faces)[both]
    return torch.linalg.norm(shown - wanted[..., :3][both].to(torch.float32) / 255, dim=-1)
