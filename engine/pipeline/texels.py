"""The texels of a texture: which face each lies in, and where on it."""
from __future__ import annotations

import numpy as np
import torch

from ..render import Fragments, find_fragments, interpolate_at
from .atlas import merged_corners
from .normals import vertex_normals
from .types import UvMesh


class Texels:
    """The covered texels of a texture, N of them, and where they lie on the surface.

    covered: (H, W) bool, texels whose centre lies in a face. face: (N,) int32 and weights: (N, 2) float32, barycentric
    weights of the face's first two corners, of the covered texels from row 0 (highest v) on. count: N.
    Of the mesh, on `device`: vertices and normals (V, 3) float32, faces (F, 3) int32; uvs (S, 2) float32 and split
    (F, 3) int32, as of atlas.merged_corners.
    """

    def __init__(self, uv_mesh: UvMesh, texture_px: int, device: torch.device) -> None:
        self.uv_mesh, self.mesh, self.device = uv_mesh, uv_mesh.mesh, device
        mesh = uv_mesh.mesh
        _, uvs, split = merged_corners(mesh.faces, uv_mesh.corner_uvs)
        ones = np.ones(len(uvs), np.float32)
        clip = np.stack([uvs[:, 0] * 2 - 1, 1 - uvs[:, 1] * 2, ones * 0, ones], -1).astype(np.float32)
        self.uvs, self.split = torch.from_numpy(uvs).to(device), torch.from_numpy(split).to(device)
        fragments: Fragments = find_fragments(torch.from_numpy(clip).to(device)[None], self.split, texture_px,
                                              texture_px)
        covered = fragments.face[0] >= 0
        self.covered = covered.cpu().numpy()
        self.face, self.weights = fragments.face[0][covered], fragments.weights[0][covered]
        self.count = len(self.face)
        self.faces = torch.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.int32)).to(device)
        self.vertices = torch.from_numpy(np.ascontiguousarray(mesh.vertices, dtype=np.float32)).to(device)
        self.normals = torch.from_numpy(vertex_normals(mesh.vertices, mesh.faces)).to(device)

    def surface(self, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Points and normals (N, 3) float32, world, of some of the texels."""
        return self.at(part, self.vertices), self.at(part, self.normals)

    def at(self, part: slice, attributes: torch.Tensor) -> torch.Tensor:
        """Vertex attributes (V, C) at some of the texels, (N, C)."""
        return interpolate_at(self.face[part], self.weights[part], self.faces, attributes)

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertex indices and barycentric weights of each texel, (N, 3) each."""
        two = self.weights.cpu().numpy()
        return self.mesh.faces[self.face.cpu().numpy()], np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1)
