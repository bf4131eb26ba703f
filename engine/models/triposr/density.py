"""Where the surface runs: raw density near it on the lattice, its sign elsewhere. Source: own.

A coarse lattice finds the blocks that the surface may run through; only those are looked into on a lattice twice as
fine, and so on down to the finest. At each step, where the surface leaves the blocks looked into, the block that it
enters is added, until it closes: what is found has the surface that the whole lattice has. What can be missed is a
separate crumb that is smaller than a block of the coarsest lattice and shows in none of that block's corners.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .lattice import Lattice

COARSE_CELLS = 32       # along an axis at most, on the coarsest lattice: half the planes' texels
COARSE_MARGIN = 2.0     # raw density; a coarsest block whose corners come this close to the level is looked into.
#                         Half as much on the next lattice: the field changes half as much across half a block.


@dataclass(frozen=True)
class NearSurface:
    """raw: (R, R, R) float32; exact where the surface runs, elsewhere on the right side of the level.
    evaluated: how many points were computed."""

    raw: Tensor
    evaluated: int


def density_near(lattice: Lattice, level: float) -> NearSurface:
    """Raw densities that have at `level` the surface that lattice.all() has there."""
    nodes = [torch.arange(lattice.resolution, device=lattice.device)]
    while len(nodes[-1]) - 1 > COARSE_CELLS:
        nodes.append(_every_other(nodes[-1]))
    raw = lattice.at(_flat(nodes[-1], lattice.resolution)).view(3 * (len(nodes[-1]),))
    evaluated, margin = raw.numel(), COARSE_MARGIN
    for coarse, fine in zip(nodes[:0:-1], nodes[-2::-1]):
        step = _Step(lattice, level, margin, coarse, fine, raw)
        evaluated += step.run()
        raw, margin = step.raw, margin / 2
    return NearSurface(raw, evaluated)


def _every_other(nodes: Tensor) -> Tensor:
    """Every other node, and the last one in any case."""
    return nodes[::2].contiguous() if len(nodes) % 2 else torch.cat([nodes[::2], nodes[-1:]])


def _flat(nodes: Tensor, resolution: int) -> Tensor:
    """Flat lattice indices of all points whose three coordinates are in `nodes`, x slowest."""
    return ((nodes[:, None, None] * resolution + nodes[:, None]) * resolution + nodes).flatten()


class _Step:
    """From a lattice to one twice as fine. Both are given by their nodes along an axis, in points of the finest.

    corners: raw densities on the coarse one, right where they are within `margin` of the level.
    """

    def __init__(self, lattice: Lattice, level: float, margin: float, coarse: Tensor, fine: Tensor,
                 corners: Tensor) -> None:
        self._lattice, self._level, self._nodes = lattice, level, fine
        # of a fine node along an axis: the block that starts at it or holds it; the last node lies in the last block
        self._block_of = torch.bucketize(fine, coarse[1:-1].contiguous(), right=True)
        self.raw = self._spread(corners)        # a block's points have the sign of its corner, until computed
        self._known = torch.zeros_like(self.raw, dtype=torch.bool)
        low, high = corners, corners
        for axis in range(3):
            size = corners.shape[axis] - 1
            low = torch.minimum(low.narrow(axis, 0, size), low.narrow(axis, 1, size))
            high = torch.maximum(high.narrow(axis, 0, size), high.narrow(axis, 1, size))
        self._chosen = (low - margin <= level) & (high + margin >= level)

    def run(self) -> int:
        """Compute until the surface closes. Returns the number of points computed."""
        evaluated, fresh = 0, self._chosen
        while fresh.any():
            evaluated += self._compute(fresh)
            fresh = self._blocks_entered()
            self._chosen |= fresh
        return evaluated

    def _spread(self, of_block: Tensor) -> Tensor:
        """A value a block -> a value a fine point."""
        for axis in (2, 1, 0):      # the large ones last, where whole rows and layers are copied
            of_block = of_block.index_select(axis, self._block_of)
        return of_block

    def _compute(self, blocks: Tensor) -> int:
        """Compute the points of `blocks`, their borders included, that are not known. Returns how many."""
        wanted = self._spread(blocks)
        for axis in range(3):       # a block's last layer of points is its neighbour's first
            size = wanted.shape[axis] - 1
            wanted.narrow(axis, 1, size).logical_or_(wanted.narrow(axis, 0, size).clone())
        wanted &= ~self._known
        place = wanted.view(-1).nonzero()[:, 0]
        count, resolution = len(self._nodes), self._lattice.resolution
        x, y, z = (self._nodes[part] for part in (place // count**2, place // count % count, place % count))
        self.raw.view(-1)[place] = self._lattice.at((x * resolution + y) * resolution + z)
        self._known |= wanted
        return len(place)

    def _blocks_entered(self) -> Tensor:
        """Blocks not chosen yet that the surface enters: it crosses an edge of which one end was not computed."""
        inside = self.raw > self._level
        entered = torch.zeros_like(self._chosen)
        for axis in range(3):
            size = inside.shape[axis] - 1
            known, known_after = self._known.narrow(axis, 0, size), self._known.narrow(axis, 1, size)
            # both ends unknown and yet of two signs cannot be: blocks side by side that are not chosen share corners
            crossed = (inside.narrow(axis, 0, size) ^ inside.narrow(axis, 1, size)) & (known ^ known_after)
            place = crossed.nonzero()
            place[:, axis] += known[tuple(place.T)]
            blocks = self._block_of[place]
            entered[blocks[:, 0], blocks[:, 1], blocks[:, 2]] = True
        return entered
