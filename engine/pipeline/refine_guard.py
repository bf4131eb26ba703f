"""How far a mesh is from views that it was not fitted to: what tells a refinement from a mistake."""
from __future__ import annotations

import fast_simplification
import numpy as np
import torch

from ..render import build_topology, interpolate, rasterize
from .refine_colours import seen_colours
from .refine_light import Light
from .refine_losses import Surface, clip_positions, normals_of
from .targets import Targets, UnitFrame
from .types import Mesh

WORSE = 1.05         # growth of the error that is not the fit's choice of vertices
FIRST_WORSE = 1.5    # the same after the first, coarse level: only what is plainly wrong ends there
SLACK = 2e-3         # of the error: rounding of pixels
FAR = 0.1            # of the object's radius: a depth that is off by more counts as much as a missing outline
NO_EDGES = torch.zeros((0, 2), dtype=torch.int64)


def as_coarse_as(mesh: Mesh, faces: int) -> Mesh:
    """With about `faces` triangles if it has more: meshes are compared by colours at their vertices, and more vertices
    hold more colours. For comparing only: parts may touch afterwards."""
    if len(mesh.faces) <= faces:
        return mesh
    vertices, reduced = fast_simplification.simplify(mesh.vertices.astype(np.float64), mesh.faces.astype(np.int32),
                                                     target_count=faces)[:2]
    return Mesh(vertices.astype(np.float32), reduced.astype(np.int32))


@torch.no_grad()
def unexplained(mesh: Mesh, frame: UnitFrame, seen: Targets, left_out: Targets, seen_light: Light,
                left_light: Light) -> float:
    """Mean difference of outline and colour, and of depth and normals where views carry them, over the object's pixels
    of `left_out`: [0, 1] each, summed.

    The mesh gets its colours from the views `seen`, each freed from its light. mesh: world. Source: own.
    """
    unit, device = frame.to_unit(mesh), seen.clip.device
    positions = torch.from_numpy(np.ascontiguousarray(unit.vertices)).to(device)
    faces = torch.from_numpy(np.ascontiguousarray(unit.faces, np.int32)).to(device)
    surface = Surface(faces, build_topology(faces), NO_EDGES, 1.0)
    facing = normals_of(positions, faces)
    colours = seen_colours(positions, surface, seen, seen_light.brightness(facing, seen.turn))
    lit = colours * left_light.brightness(facing, left_out.turn)
    total, pixels = 0.0, 0.0
    for view in range(len(left_out.clip)):
        side = left_out.rgba.shape[1]
        clip = clip_positions(positions, left_out.clip[view:view + 1])
        rast = rasterize(clip, faces, (side, side))
        wanted = left_out.rgba[view].to(torch.float32) / 255
        known = (left_out.known[view] > 0) * left_out.trust[view]
        cover = (rast[0, ..., 3] > 0).to(torch.float32)
        away = (interpolate(lit[view], rast, faces)[0] * wanted[..., 3:] - wanted[..., :3]).abs().mean(-1)
        total += float(((cover - wanted[..., 3]).abs() * known + away * cover * known).sum())
        away = _passes_off(clip, facing, rast, faces, left_out, view, frame.radius)
        total += float((away * cover * known).sum())
        pixels += float((wanted[..., 3] * known).sum())
    return total / max(pixels, 1.0)


def _passes_off(clip: torch.Tensor, facing: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor,
                left_out: Targets, view: int, radius: float) -> torch.Tensor:
    """(S, S) in [0, 2]: by how much depth and normals are off, 0 where the view has none. clip: (1, V, 4)."""
    off = torch.zeros_like(rast[0, ..., 0])
    if left_out.depth is not None:
        wanted = left_out.depth[view]
        away = (interpolate(clip[..., 3:].contiguous(), rast, faces)[0, ..., 0] - wanted).abs() / (FAR * radius)
        off += torch.where(torch.isfinite(wanted), away.clamp(max=1), 0)
    if left_out.normals is not None:
        wanted = left_out.normals[view]
        drawn = torch.nn.functional.normalize(interpolate(facing[None], rast, faces)[0], dim=-1, eps=1e-6)
        off += torch.where(wanted.square().sum(-1) > 0.25, (1 - (drawn * wanted).sum(-1)) / 2, 0)
    return off


def is_worse(after: float, before: float, first: bool) -> bool:
    """Of two errors of `unexplained`; first: the mesh is still coarse."""
    return after > (FIRST_WORSE if first else WORSE) * before + SLACK
