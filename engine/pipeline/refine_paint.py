"""Colours on a mesh that are finer than its vertices.

One colour a vertex blurs what lies between vertices, and the loop then moves vertices to make up for the blur. Here
every face carries a triangular lattice of colours, about one a pixel; neighbouring faces share those on their edge.
Source: own; the idea of colours on a lattice of each face is that of Yuksel et al., "Mesh Colors", 2010.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..render import interpolate


@dataclass(frozen=True)
class Lattice:
    """split: parts of an edge. faces: (F * split**2, 3) int32, small triangles, by number of the face they lie in.

    of_face: (N,) int64, a face that each node lies in. weights: (N, 3), where on it.
    """

    split: int
    faces: torch.Tensor
    of_face: torch.Tensor
    weights: torch.Tensor
    _number: torch.Tensor       # (split, split, 2) of a small triangle in its face, by column, row, and pointing down

    def nodes(self, values: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """(N, C) at the nodes, from (V, C) at the vertices. coarse: (F, 3), the mesh's faces."""
        return (values[coarse.long()[self.of_face]] * self.weights[..., None]).sum(1)

    def at_pixels(self, colours: torch.Tensor, rast: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) from (N, C). rast: of the mesh. Differentiable in both."""
        scaled = rast[..., :2] * self.split
        cell = scaled.detach().floor().clamp(0, self.split - 1)
        column, row = cell.long().unbind(-1)
        row = torch.minimum(row, self.split - 1 - column)
        cell = torch.stack([column, row], -1).to(scaled.dtype)
        rest = scaled - cell
        down = (rest.detach().sum(-1) > 1) & (column + row < self.split - 1)
        inside = torch.where(down[..., None], 1 - rest, rest)
        small = (rast[..., 3] - 1) * self.split**2 + self._number[column, row, down.long()] + 1
        covered = rast[..., 3] > 0
        within = torch.stack([inside[..., 0], inside[..., 1], rast[..., 2], small], -1)
        return interpolate(colours, torch.where(covered[..., None], within, 0), self.faces)


def lattice_of(faces: np.ndarray, split: int, device: torch.device) -> Lattice:
    """faces: (F, 3) of a mesh. Nodes on an edge belong to all faces at it; those at a vertex to all around it."""
    spots = np.array([(i, j, split - i - j) for i in range(split + 1) for j in range(split + 1 - i)])
    index = {(i, j): number for number, (i, j, _) in enumerate(spots.tolist())}
    small, number = [], np.zeros((split, split, 2), np.int64)
    for i in range(split):
        for j in range(split - i):
            number[i, j, 0] = len(small)
            small.append((index[i + 1, j], index[i, j + 1], index[i, j]))
            if i + j < split - 1:
                number[i, j, 1] = len(small)
                small.append((index[i, j + 1], index[i + 1, j], index[i + 1, j + 1]))
    names = _names(np.asarray(faces, np.int64), spots, split)
    _, first, node = np.unique(names.reshape(-1, names.shape[-1]), axis=0, return_index=True, return_inverse=True)
    node = node.reshape(len(faces), len(spots))
    of_face, spot = np.divmod(first, len(spots))
    as_torch = [torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in (
        node[:, np.array(small)].reshape(-1, 3).astype(np.int32), of_face, (spots[spot] / split).astype(np.float32),
        number)]
    return Lattice(split, *as_torch)


def _names(faces: np.ndarray, spots: np.ndarray, split: int) -> np.ndarray:
    """(F, S, 3): the same three numbers for the same node, from whichever face it is looked at.

    At a vertex: its number. On an edge: its ends, the lower first, and the distance from that. Inside: face, spot.
    """
    names = np.empty((len(faces), len(spots), 3), np.int64)
    for each, weights in enumerate(spots):
        used = np.flatnonzero(weights)
        if len(used) == 1:
            names[:, each] = np.stack([faces[:, used[0]], np.full(len(faces), -1), np.full(len(faces), -1)], 1)
        elif len(used) == 2:
            one, other = faces[:, used[0]], faces[:, used[1]]
            away = np.where(one < other, weights[used[1]], weights[used[0]])
            names[:, each] = np.stack([np.minimum(one, other), np.maximum(one, other), away], 1)
        else:
            names[:, each] = np.stack([np.arange(len(faces)), np.full(len(faces), -2 - each),
                                       np.full(len(faces), -1)], 1)
    return names
