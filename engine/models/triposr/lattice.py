"""Raw density on a regular lattice, without sampling a plane twice at the same place. Source: own.

The lattice has R points along each axis, from -radius to +radius inclusive. A lattice point's place in a plane is one
of R x R, and the decoder's first layer is linear: so each plane goes through its third of that layer once, at R x R
places, and the first layer of a point is the sum of three looked-up vectors. Exact up to rounding.
Each value depends on its point alone, not on which others are asked for in the same call.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .field import TriplaneField, plane_places, sample_plane, sliced


class Lattice:
    """Raw densities of `field` at lattice points given by their flat index, x slowest.

    check: called between chunks; may raise to stop.
    """

    def __init__(self, field: TriplaneField, resolution: int, check: Callable[[], None] = lambda: None) -> None:
        self._field, self.resolution, self._check = field, resolution, check
        weight, bias = field.weights["0.weight"], field.weights["0.bias"]
        radius = field.sizes.radius
        points = torch.linspace(0, 1, resolution, device=weight.device, dtype=weight.dtype) * (2 * radius) - radius
        axis = plane_places(points, radius)
        # the first place of each plane varies fastest in its table, so swap: tables are indexed [first, second]
        places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
        thirds = weight.chunk(3, dim=1)
        self._tables = [sample_plane(torch.einsum("nc,chw->nhw", third, plane), places).contiguous()
                        for third, plane in zip(thirds, field.code)]
        self._tables[0] += bias
        last = field.weights
        self._density_row, self._density_bias = last[f"{field.last}.weight"][:1], last[f"{field.last}.bias"][:1]

    @property
    def device(self) -> torch.device:
        """Where the tables are, and where indices must be."""
        return self._tables[0].device

    def at(self, index: Tensor) -> Tensor:
        """index: (N,) int64 flat indices. Returns (N,) float32 raw densities."""
        found = torch.empty(len(index), device=index.device, dtype=self._tables[0].dtype)
        for part in sliced(len(index), self._field.chunk):
            self._check()
            found[part] = self._decode(index[part])
        return found

    def all(self) -> Tensor:
        """Every point: (R, R, R) float32. The plain way, which the surface does without."""
        count = self.resolution**3
        return self.at(torch.arange(count, device=self.device)).view(3 * (self.resolution,))

    def _decode(self, index: Tensor) -> Tensor:
        xy = torch.div(index, self.resolution, rounding_mode="floor")
        z = index - xy * self.resolution
        x = torch.div(xy, self.resolution, rounding_mode="floor")
        y = xy - x * self.resolution
        values = self._tables[0][xy]
        values += self._tables[1][x * self.resolution + z]
        values += self._tables[2][y * self.resolution + z]
        return functional.linear(self._field.hidden(values), self._density_row, self._density_bias)[:, 0]
