"""How much each pixel of a photo has to say about a texture, and how far a texture is from it.

Differences are weighed as a person sees them (in steps of sRGB) though colours are linear, and robustly: a photo that
is brighter than the surface shows a highlight, one that is darker a shadow, or something in front.
"""
from __future__ import annotations

import torch

from ..render.colour import srgb_slope

BRIGHTER, DARKER = 0.06, 0.12     # in sRGB values of 0 to 1: differences at which a pixel counts half
CLIPPED = 0.96                    # linear light from which a photo only says "at least so bright"
LUMINANCE = (0.2126, 0.7152, 0.0722)


def trust_of(shown: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far pixels are to be believed, and what is left to explain. shown, wanted: (M, 3) linear.

    Returns weight (M, 3) in [0, 1] (Cauchy), and loss (M,) >= 0, in squared sRGB values. Source: own.
    """
    open_ = ~((wanted >= CLIPPED) & (shown >= wanted))
    step = (shown - wanted) * srgb_slope(wanted) * open_
    luminance = step @ step.new_tensor(LUMINANCE)
    scale = torch.where(luminance < 0, BRIGHTER, DARKER)
    ratio = step.square().sum(-1) / 3 / scale.square()
    return open_ / (1 + ratio)[:, None], scale.square() * torch.log1p(ratio)
