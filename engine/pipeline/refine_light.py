"""How light changes the colours of views: their exposures, and a light that moves with the camera, as a flash does.

Without it the optimisation explains by shape what the light did: a highlight that wanders over a smooth forehead looks
like a hollow. What it cannot explain tells how far colours may be trusted at all.
Source: own; the spherical harmonics of first and second order as in Ramamoorthi and Hanrahan, "An Efficient
Representation for Irradiance Environment Maps", 2001.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..render import interpolate, rasterize
from .delight import low_harmonics
from .refine_colours import seen_colours
from .refine_losses import COLOUR_ROUNDING, Surface, clip_positions, normals_of
from .targets import Targets

HARMONICS = 8        # of order 1 and 2; order 0 is exposure
VIEWS = 4            # in a round
LAST_RATE = 0.05     # share of the first round's step that is left at the end
SOLID = 250          # coverage of 255 from which a pixel's colour is the object's alone


@dataclass(frozen=True)
class Search:
    """rate: step of the first round, of colours and of logarithms of brightness."""

    rounds: int
    rate: float


UNKNOWN, KNOWN = Search(200, 0.03), Search(40, 0.002)


@dataclass(frozen=True)
class Light:
    """gain: (N, 3) float32, logarithm of each view's exposure, mean 0. turning: (8,) float32, logarithm of brightness
    over spherical harmonics of the normal in the camera's axes, the same in all views.
    """

    gain: torch.Tensor
    turning: torch.Tensor

    @staticmethod
    def even(views: int, device: torch.device) -> Light:
        return Light(torch.zeros((views, 3), device=device), torch.zeros(HARMONICS, device=device))

    def of(self, views: Sequence[int] | torch.Tensor) -> Light:
        return Light(self.gain[torch.as_tensor(views, device=self.gain.device)], self.turning)

    def brightness(self, normals: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """(N, V, 3) factors of colours. normals: (V, 3) unit, world. turn: (N, 3, 3), world to camera."""
        return ((low_harmonics(normals @ turn.transpose(1, 2)) @ self.turning)[..., None] + self.gain[:, None]).exp()


def fit_light(positions: torch.Tensor, surface: Surface, targets: Targets, start: Light, search: Search,
              seed: int) -> Light:
    """The light of the targets' views, fitted beside the colours of a surface that stands still.

    positions: (V, 3), unit frame. start: what the light is thought to be. Repeatable for one seed. Source: own.
    """
    device, views = positions.device, len(targets.clip)
    random = np.random.default_rng(seed)
    facing = normals_of(positions, surface.faces)
    colours = seen_colours(positions, surface, targets, start.brightness(facing, targets.turn)).requires_grad_()
    gain, turning = start.gain.clone().requires_grad_(), start.turning.clone().requires_grad_()
    painter = torch.optim.Adam([colours, gain, turning], lr=search.rate, betas=(0.9, 0.99))
    for round_ in range(search.rounds):
        chosen = torch.from_numpy(random.permutation(views)[:VIEWS]).to(device)
        light = Light((gain - gain.mean(0))[chosen], turning)
        away = _away(colours * light.brightness(facing, targets.turn[chosen]), positions, surface, targets, chosen)
        (away.square() + COLOUR_ROUNDING**2).sqrt().mean().backward()
        painter.param_groups[0]["lr"] = search.rate * LAST_RATE**(round_ / search.rounds)
        painter.step()
        painter.zero_grad()
    return Light((gain - gain.mean(0)).detach(), turning.detach())


@torch.no_grad()
def disagreement(positions: torch.Tensor, surface: Surface, colours: torch.Tensor, light: Light,
                 targets: Targets) -> float:
    """Median distance, in [0, 3**.5], of the views' colours from those of a surface. 0: nothing is seen of it."""
    everyone = torch.arange(len(targets.clip), device=positions.device)
    lit = colours * light.brightness(normals_of(positions, surface.faces), targets.turn)
    away = _away(lit, positions, surface, targets, everyone)
    return float(away.median()) if len(away) else 0.0


def _away(lit: torch.Tensor, positions: torch.Tensor, surface: Surface, targets: Targets,
          chosen: torch.Tensor) -> torch.Tensor:
    """(M,) distances of colours, over the pixels that the object fills in both the views and the drawing."""
    side = targets.rgba.shape[1]
    rast = rasterize(clip_positions(positions, targets.clip[chosen]), surface.faces, (side, side))
    wanted = targets.rgba[chosen]
    both = (rast[..., 3] > 0) & (wanted[..., 3] >= SOLID) & (targets.known[chosen] > 0)
    shown = interpolate(lit, rast, surface.faces)[both]
    return torch.linalg.norm(shown - wanted[..., :3][both].to(torch.float32) / 255, dim=-1)
