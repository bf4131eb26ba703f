"""Normal map: what a fine mesh has of relief, written into a texture of the simplified one.

Tangent space, as Blender, glTF and game engines read it: red to where u grows, green to where v grows ("OpenGL", +Y),
blue outward; 8 bits a channel, not colour but data. The frame of each texel is the one that readers will use: tangents
of MikkTSpace and shading normals, interpolated as they are and not made unit (tangents.py), so that reading the map
gives back the fine normal exactly, on mirrored charts as well.
"""
from __future__ import annotations

import math

import numpy as np
import torch
import warp as wp

from ..render.backend import launch_rows, prepare_kernels, wrap
from .fill import pad_with_nearest
from .normal_map_kernels import find_fine_normals
from .normals import shading_normals
from .progress import Stage
from .tangents import corner_tangents
from .texels import Texels
from .types import Mesh

REACH = 0.05              # of the bounding box' diagonal: how far apart the two surfaces may lie
FLATTEST = 0.05           # smallest share of a normal that looks outward: beyond, shading would turn over
TEXELS_AT_ONCE = 1_000_000
FINER = 1.25              # times the faces: a mesh that has fewer holds no relief worth a map


def worth_a_normal_map(fine: Mesh, mesh: Mesh) -> bool:
    """Whether the fine mesh has so many more faces that a map of it shows something."""
    return len(fine.faces) > FINER * len(mesh.faces)


def bake_normal_map(texels: Texels, fine: Mesh, stage: Stage) -> np.ndarray:
    """Tangent-space normal map of `fine` on the texels of another mesh, (H, W, 3) uint8, row 0 = highest v.

    fine: in the same place. Where it is not found within reach, or looks the other way, the map says "as the mesh".
    Texels outside the charts take the nearest one's value. Progress counts blocks of texels. Raises Cancelled.
    """
    frames, relief = _Frames(texels), _Relief(fine, texels.device)
    stage.total = stage.done + math.ceil(texels.count / TEXELS_AT_ONCE)
    values = np.empty((texels.count, 3), np.uint8)
    for start in range(0, texels.count, TEXELS_AT_ONCE):
        part = slice(start, start + TEXELS_AT_ONCE)
        normals = frames.normals(part)
        local = frames.in_frame(part, relief.normals_at(frames.points(part), normals), normals)
        values[part] = (local * 127.5 + 128).clamp(0, 255).to(torch.uint8).cpu().numpy()
        stage.advance()
    stage.check()
    image = np.zeros((*texels.covered.shape, 3), np.uint8)
    image[texels.covered] = values
    if not texels.covered.any():
        image[:] = (128, 128, 255)
    return pad_with_nearest(image, texels.covered)


class _Frames:
    """The tangent frames of the texels of a mesh."""

    def __init__(self, texels: Texels) -> None:
        mesh, device = texels.mesh, texels.device
        shaded = shading_normals(mesh.vertices, mesh.faces)
        known = corner_tangents(mesh, texels.uv_mesh.corner_uvs, shaded)
        self._texels = texels
        self._normals = torch.from_numpy(shaded).to(device)
        self._tangents = torch.from_numpy(known.tangents).to(device)
        self._signs = torch.from_numpy(known.signs).to(device)

    def points(self, part: slice) -> torch.Tensor:
        return self._texels.at(part, self._texels.vertices)

    def normals(self, part: slice) -> torch.Tensor:
        """(N, 3), interpolated, not made unit."""
        return self._texels.at(part, self._normals)

    def in_frame(self, part: slice, wanted: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        """World normals (N, 3), 0 = as the mesh, in the frames of the texels: (N, 3) unit, to be read back as
        x tangent + y sign cross(normal, tangent) + z normal."""
        face, weights = self._texels.face[part].long(), self._texels.weights[part]
        shares = torch.cat([weights, 1 - weights.sum(1, keepdim=True)], 1)
        tangent = (self._tangents[face] * shares[..., None]).sum(1)
        bitangent = self._signs[face][:, None] * torch.linalg.cross(normals, tangent)
        # the inverse of the matrix with these three columns, but for a factor that is above 0
        turned = torch.stack([torch.linalg.cross(bitangent, normals), torch.linalg.cross(normals, tangent),
                              torch.linalg.cross(tangent, bitangent)], 1)
        local = (turned @ wanted[..., None])[..., 0]
        local = local * torch.sign((tangent * turned[:, 0]).sum(1, keepdim=True))
        local = torch.nn.functional.normalize(local, dim=1)
        flat = local.new_tensor([0.0, 0.0, 1.0])
        local = torch.where((local.abs().sum(1, keepdim=True) > 0) & local.isfinite().all(1, keepdim=True), local, flat)
        local = torch.cat([local[:, :2], local[:, 2:].clamp(min=FLATTEST)], 1)
        return torch.nn.functional.normalize(local, dim=1)


class _Relief:
    """The fine mesh, ready to be asked for its normals."""

    def __init__(self, fine: Mesh, device: torch.device) -> None:
        prepare_kernels(find_fine_normals, device)
        points = torch.from_numpy(np.ascontiguousarray(fine.vertices, np.float32)).to(device)
        self._faces = torch.from_numpy(np.ascontiguousarray(fine.faces, np.int32)).to(device)
        self._normals = torch.from_numpy(shading_normals(fine.vertices, fine.faces)).to(device)
        self._reach = REACH * float(np.linalg.norm(np.ptp(fine.vertices, axis=0)))
        self._mesh = wp.Mesh(points=wrap(points, wp.vec3), indices=wrap(self._faces.reshape(-1)))
        self._points = points        # Warp uses this memory as long as the mesh lives

    def normals_at(self, points: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
        """(N, 3), not made unit; 0 where there is no surface that looks the same way. points, ways: (N, 3) world."""
        found = torch.zeros_like(points)
        arguments = [self._mesh.id, wrap(self._normals, wp.vec3), wrap(self._faces),
                     wrap(points.contiguous(), wp.vec3), wrap(ways.contiguous(), wp.vec3), self._reach,
                     wrap(found, wp.vec3)]
        if len(points):
            launch_rows(find_fine_normals, len(points), lambda first, end: end - first, arguments, points.device)
        return found
