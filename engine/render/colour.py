"""sRGB and linear light: the curve of IEC 61966-2-1, both ways. Tensors keep their shape, dtype and device."""
from __future__ import annotations

import numpy as np
import torch

STRAIGHT_SRGB, STRAIGHT_LINEAR = 0.04045, 0.0031308     # below, the curve is a straight line
SLOPE, OFFSET, POWER = 12.92, 0.055, 2.4


def linear_from_srgb(value: torch.Tensor) -> torch.Tensor:
    """Linear light of sRGB values in [0, 1], with gradients."""
    curved = ((value.clamp(min=STRAIGHT_SRGB) + OFFSET) / (1 + OFFSET)) ** POWER
    return torch.where(value <= STRAIGHT_SRGB, value / SLOPE, curved)


def srgb_from_linear(light: torch.Tensor) -> torch.Tensor:
    """sRGB values in [0, 1] of linear light, which is clipped to that range, with gradients."""
    light = light.clamp(0, 1)
    curved = (1 + OFFSET) * light.clamp(min=STRAIGHT_LINEAR) ** (1 / POWER) - OFFSET
    return torch.where(light <= STRAIGHT_LINEAR, light * SLOPE, curved)


def srgb_slope(linear: torch.Tensor) -> torch.Tensor:
    """How fast the sRGB value (0 to 1) grows with linear light."""
    curved = (1 + OFFSET) / POWER * linear.clamp(min=STRAIGHT_LINEAR) ** (1 / POWER - 1)
    return torch.where(linear <= STRAIGHT_LINEAR, SLOPE, curved)


def linear_from_srgb_table() -> np.ndarray:
    """(256,) float32: linear light of each sRGB byte."""
    return linear_from_srgb(torch.arange(256, dtype=torch.float64) / 255).to(torch.float32).numpy()


def srgb_bytes(linear: np.ndarray) -> np.ndarray:
    """Linear light, any shape, to sRGB bytes, uint8."""
    coded = srgb_from_linear(torch.from_numpy(np.ascontiguousarray(linear)))
    return (coded * 255 + 0.5).to(torch.uint8).numpy()
