"""The sparse points that came with the views (a COLMAP model, the cloud of a NeRF data folder) as places where the
surface is: photos of plain or shiny things say little else about a hollow that no outline shows.

Source: own; that sparse points tell a surface where it is, after Fu et al., "Geo-Neus", 2022 (arXiv 2205.15848).
"""
from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import warp as wp

from ..render.backend import launch_rows, prepare_kernels, torch_stream, wrap
from .cameras import inside_frame, project
from .objectpoints import object_points
from .refine_losses import corners_of
from .refine_points_kernels import find_nearest_places
from .targets import UnitFrame
from .types import Mask, Mesh, View, ViewSet

log = logging.getLogger(__name__)

MOST = 10_000         # points; more say nothing new to meshes of our size
LEAST = 100
BESIDE = np.ones((3, 3), np.uint8)     # pixels that count as within an outline: those that touch one of it
MISSED = 0.1          # of the views that have a point in frame, in which it may lie beside the outline
ROUNDING = 0.01       # unit radii; distances below are squared, above counted once: a wrong point does not pull harder
FILLING = 0.5         # of the depth at which points lie that fill a body evenly; points of a surface lie less deep


class NearestPlaces:
    """Where a mesh that moves is nearest to points that stay. points: (P, 3) float32. faces: (F, 3) int32."""

    def __init__(self, points: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor) -> None:
        prepare_kernels(find_nearest_places, points.device)
        self._points, self._faces = points.contiguous(), faces.contiguous()
        self._positions = positions.detach().clone()       # Warp uses this memory as long as the mesh lives
        with torch_stream(points.device):
            self._mesh = wp.Mesh(points=wrap(self._positions, wp.vec3), indices=wrap(self._faces.reshape(-1)))
        self._corners, self._weights, self._way = self._find()

    def follow(self, positions: torch.Tensor) -> None:
        """Look again, where the mesh is now. positions: (V, 3)."""
        self._positions.copy_(positions.detach())
        with torch_stream(self._points.device):
            self._mesh.refit()
        self._corners, self._weights, self._way = self._find()

    def distances(self, positions: torch.Tensor) -> torch.Tensor:
        """(P,) from the places last found to the points, along the way there; differentiable in positions (V, 3)."""
        return ((self._points - self._places(positions, self._corners, self._weights)) * self._way).sum(1)

    def _find(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        face = torch.zeros(len(self._points), dtype=torch.int32, device=self._points.device)
        first_two = torch.zeros((len(face), 2), device=face.device)
        launch_rows(find_nearest_places, len(face), lambda first, end: end - first,
                    [self._mesh.id, wrap(self._points, wp.vec3), wrap(face), wrap(first_two, wp.vec2)], face.device)
        weights = torch.cat([first_two, 1 - first_two.sum(1, keepdim=True)], 1)
        corners = self._faces[face.long()].long()
        away = self._points - self._places(self._positions, corners, weights)
        return corners, weights, torch.nn.functional.normalize(away, dim=1, eps=1e-9)

    @staticmethod
    def _places(positions: torch.Tensor, corners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        a, b, c = corners_of(positions, corners)
        return a * weights[:, :1] + b * weights[:, 1:2] + c * weights[:, 2:]


def points_loss(distances: torch.Tensor) -> torch.Tensor:
    """Mean over points of distances in unit radii, small ones squared."""
    return ((distances.square() + ROUNDING**2).sqrt() - ROUNDING).mean()


def surface_points(views: ViewSet, masks: Sequence[Mask], mesh: Mesh, frame: UnitFrame, device: torch.device,
                   seed: int) -> torch.Tensor | None:
    """Which of the views' points lie on the object: (P, 3) float32, unit frame; None where too few do, or where they
    fill it, as the points at random do that some data sets carry.

    mesh: world; of the object, or about it. masks: one a view. Source: own.
    """
    points = object_points(views)
    if points is None:
        return None
    random = np.random.default_rng(seed)
    points = random.permutation(points)[:MOST]
    points = points[in_outlines(points, views.views, masks)]
    if len(points) < LEAST:
        return None
    low, high = points.min(0), points.max(0)
    anywhere = low + random.random((MOST, 3)) * (high - low)
    anywhere = anywhere[in_outlines(anywhere, views.views, masks)]
    deep, filled = (_depth(each, mesh, frame, device) for each in (points, anywhere))
    used_at_all = deep < FILLING * filled
    log.info("refine: %d points %.4f deep, where points anywhere are %.4f: %s", len(points), deep, filled,
             "used" if used_at_all else "left out")
    return _unit(points, frame, device) if used_at_all else None


def _unit(points: np.ndarray, frame: UnitFrame, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(((points - frame.centre) / frame.radius).astype(np.float32)).to(device)


def _depth(points: np.ndarray, mesh: Mesh, frame: UnitFrame, device: torch.device) -> float:
    """Median distance from the mesh in radii; of no points, infinite."""
    if not len(points):
        return float("inf")
    faces = torch.from_numpy(np.ascontiguousarray(mesh.faces, np.int32)).to(device)
    vertices = _unit(mesh.vertices, frame, device)
    return float(NearestPlaces(_unit(points, frame, device), vertices, faces).distances(vertices).median())


def in_outlines(points: np.ndarray, views: Sequence[View], masks: Sequence[Mask]) -> np.ndarray:
    """(P,) bool: which points (P, 3), world, lie within the object's outline or a pixel beside it, MISSED views
    excepted, where a view shows them; those in no view do not. Views whose mask has confidence 0 say nothing."""
    seen, missed = np.zeros(len(points)), np.zeros(len(points))
    for view, mask in zip(views, masks):
        if mask.confidence <= 0:
            continue
        pixels = project(view.camera, points)[0]
        there = np.flatnonzero(inside_frame(view.camera, pixels))
        column, row = pixels[there].astype(int).T
        if view.valid is not None:
            shown = view.valid[row, column]
            there, column, row = there[shown], column[shown], row[shown]
        seen[there] += 1
        missed[there] += cv2.dilate(mask.values, BESIDE)[row, column] < 0.5
    return (seen > 0) & (missed <= MISSED * seen)
