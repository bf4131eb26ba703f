"""The field: raw density and colour at any point, from three planes of features. Source: spec triposr, section 4.

Frame: the model's own, right-handed, z up, the object's front towards +x; the planes span +-radius. float32 always.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .layout import TripoSrSizes
from .weights import Weights

CHUNK = 16_384          # points at a time; on a CPU they stay in its cache
PLANE_AXES = ((0, 1), (0, 2), (1, 2))   # of each plane: the axis along its columns, the axis along its rows


@dataclass(frozen=True)
class TriplaneField:
    """code: (3, C, S, S) float32. weights: the decoder's, below "decoder.layers". chunk: points at a time."""

    code: Tensor
    weights: Weights
    sizes: TripoSrSizes
    chunk: int = CHUNK

    def raw(self, points: Tensor) -> Tensor:
        """(N, 3) float32 points -> (N, 4): raw density, raw red, green, blue."""
        return torch.cat([points.new_zeros(0, 4), *(self._raw(part) for part in points.split(self.chunk) if len(part))])

    def _raw(self, points: Tensor) -> Tensor:
        places = plane_places(points, self.sizes.radius)
        features = [sample_plane(plane, places[:, axes]) for plane, axes in zip(self.code, PLANE_AXES)]
        values = functional.linear(torch.cat(features, dim=1), self.weights["0.weight"], self.weights["0.bias"])
        return self.weights.linear(self.last, self.hidden(values))

    @property
    def last(self) -> str:
        """The name of the decoder's last layer."""
        return str(2 * self.sizes.hidden)

    def hidden(self, values: Tensor) -> Tensor:
        """All but the first and last layer; values (N, neurons): what the first layer gave. Overwrites `values`."""
        values = functional.silu(values, inplace=True)
        for number in range(1, self.sizes.hidden):
            values = functional.silu(self.weights.linear(str(2 * number), values), inplace=True)
        return values

    def density(self, raw: Tensor) -> Tensor:
        """The density of the volume renderer and the surface's threshold; grows without bound."""
        return torch.exp(raw + self.sizes.density_bias)

    def colors(self, points: Tensor) -> Tensor:
        """(N, 3) points -> (N, 3) float32 sRGB in [0, 1]."""
        return torch.sigmoid(self.raw(points)[:, 1:])


def plane_places(points: Tensor, radius: float) -> Tensor:
    """Points, any shape, to places in the planes, [-1, 1] within +-radius: in the published code's two steps. A single
    division would round otherwise; where the field is flat that moves the surface by 2e-5."""
    return (points + radius) / (2 * radius) * 2 - 1


def sample_plane(plane: Tensor, places: Tensor) -> Tensor:
    """Features of one plane, bilinear, fading to 0 beyond the middle of its outermost cells.

    plane: (C, S, S), rows along the second place. places: (N, 2) in [-1, 1]. Returns (N, C).
    """
    found = functional.grid_sample(plane[None], places[None, None], mode="bilinear", padding_mode="zeros",
                                   align_corners=False)
    return found[0, :, 0].T


def sliced(count: int, size: int) -> Iterator[slice]:
    """0..count in slices of `size`; the last may be shorter."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
