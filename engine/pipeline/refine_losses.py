"""What a mesh leaves unexplained of its views, and how its surface bends: the losses of refine, with gradients."""
from __future__ import annotations

from dataclasses import dataclass

import torch

from ..render import Cells, antialias, draw_colours, interpolate, rasterize
from ..render.colour import linear_from_srgb
from .refine_settings import RefineSettings
from .targets import Targets

COLOUR_ROUNDING = 0.03      # differences below are squared, above counted once: highlights must not steer the surface
DEPTH_ROUNDING = 0.01       # the same, in radii of the object


@dataclass(frozen=True)
class Surface:
    """The mesh being optimised. faces: (F, 3) int32, topology: of build_topology, edges: (E, 2) int64."""

    faces: torch.Tensor
    topology: torch.Tensor
    edges: torch.Tensor
    edge_length: float


def clip_positions(positions: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
    """(V, 3) in the unit frame and (N, 4, 4) -> (N, V, 4)."""
    one = torch.ones_like(positions[:, :1])
    return torch.cat([positions, one], 1) @ clip.transpose(1, 2)


def corners_of(positions: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(F, 3) positions of each face's first, second and third corner, differentiable. faces: (F, 3) int.

    Not by positions[index]: with two threads or more PyTorch adds up its gradient in an order of chance.
    """
    a, b, c = (positions.index_select(0, faces[:, each]) for each in range(3))
    return a, b, c


def normals_of(positions: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """(V, 3) unit normals by area, differentiable."""
    a, b, c = corners_of(positions, faces)
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(positions)
    for each in range(3):
        total = total.index_add(0, faces[:, each].long(), face)
    return torch.nn.functional.normalize(total, dim=1, eps=1e-12)


@dataclass(frozen=True)
class Look:
    """What views see on a surface. colours: (P, 3) sRGB in [0, 1], of the cells' samples. light: (B, V, 3), factors of
    them in each view (Light.brightness). The surface moves under its light; it does not turn to change it."""

    colours: torch.Tensor
    cells: Cells
    light: torch.Tensor


def view_loss(positions: torch.Tensor, look: Look, surface: Surface, targets: Targets, chosen: torch.Tensor,
              settings: RefineSettings, radius: float) -> torch.Tensor:
    """Mean over the object's pixels of what `chosen` views (indices, (B,)) show and the mesh does not.

    positions: (V, 3) unit frame. With settings.linear_colour colours are compared as linear light.
    """
    wanted = targets.rgba[chosen].to(torch.float32) / 255
    clip = clip_positions(positions, targets.clip[chosen])
    side = targets.rgba.shape[1]
    rast = rasterize(clip, surface.faces, (side, side))
    drawn = draw_colours(look.colours, look.cells, look.light, rast)
    if settings.linear_colour:
        drawn, wanted = _linear_light(drawn), _linear_light(wanted)
    drawn = antialias(drawn, rast, clip, surface.faces, surface.topology)
    known, trust = targets.known[chosen] > 0, targets.trust[chosen][:, None, None]
    weight = known * trust
    scale = 1 / (wanted[..., 3] * weight).sum().clamp(min=1)
    away = drawn - wanted
    total = settings.silhouette * (away[..., 3].square() * weight).sum()
    if settings.colour:
        off = (away[..., :3].square().sum(-1) + COLOUR_ROUNDING**2).sqrt() - COLOUR_ROUNDING
        total = total + settings.colour * (off * weight).sum()
    return (total + _geometry(positions, clip, rast, surface, targets, chosen, settings, radius)) * scale


def _linear_light(rgba: torch.Tensor) -> torch.Tensor:
    """Of colours times coverage; the coverage stays."""
    cover = rgba[..., 3:]
    return torch.cat([linear_from_srgb(rgba[..., :3] / cover.clamp(min=1 / 255)) * cover, cover], -1)


def _geometry(positions: torch.Tensor, clip: torch.Tensor, rast: torch.Tensor, surface: Surface, targets: Targets,
              chosen: torch.Tensor, settings: RefineSettings, radius: float) -> torch.Tensor:
    """Depth and normals, summed over the pixels where both the view and the mesh have some."""
    total = torch.zeros((), device=positions.device)
    inside = (rast[..., 3] > 0) & (targets.known[chosen] > 0)
    if targets.depth is not None and settings.depth:
        wanted = targets.depth[chosen]
        used = inside & torch.isfinite(wanted)
        drawn = interpolate(clip[..., 3:].contiguous(), rast, surface.faces)[..., 0]
        away = torch.where(used, (drawn - torch.where(used, wanted, 0)) / radius, 0)
        total = total + settings.depth * ((away.square() + DEPTH_ROUNDING**2).sqrt() - DEPTH_ROUNDING).sum()
    if targets.normals is not None and settings.normals:
        wanted = targets.normals[chosen]
        used = inside & (wanted.square().sum(-1) > 0.25)
        drawn = interpolate(normals_of(positions, surface.faces), rast, surface.faces)
        drawn = torch.nn.functional.normalize(drawn, dim=-1, eps=1e-6)
        total = total + settings.normals * ((1 - (drawn * wanted).sum(-1)) * used).sum()
    return total


def bending(positions: torch.Tensor, surface: Surface, degree: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares, averaged, in edge lengths: how far vertices are from their neighbours' mean, and how much that differs
    from one vertex to the next. The first flattens, the second lets an even bend be. degree: (V, 1)."""
    a, b = surface.edges[:, 0], surface.edges[:, 1]

    def departure(values: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(values)
        for here, there in ((a, b), (b, a)):
            total = total.index_add(0, here, values.index_select(0, there))
        return total / degree - values

    bend = departure(positions / surface.edge_length)
    return bend.square().sum(1).mean(), departure(bend).square().sum(1).mean()


def area_of(positions: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """The area of (F, 3) faces."""
    a, b, c = corners_of(positions, faces)
    return torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2


@torch.no_grad()
def seen_faces(positions: torch.Tensor, surface: Surface, targets: Targets) -> torch.Tensor:
    """(S, 3) int32: the faces that some view shows a pixel of. positions: (V, 3) unit frame."""
    side = targets.rgba.shape[1]
    seen = torch.zeros(len(surface.faces) + 1, dtype=torch.bool, device=positions.device)
    for view in range(len(targets.clip)):
        rast = rasterize(clip_positions(positions, targets.clip[view:view + 1]), surface.faces, (side, side))
        seen[rast[..., 3].long().ravel()] = True
    return surface.faces[seen[1:]]
