"""What refine may move: all of a mesh or parts of it, its faces too or its positions alone, both sides alike or not."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree

from ...bridge.errors import BadMesh, BadSettings
from .manifold import clean, compact, part_touching
from .normals import face_normals
from .progress import Stage
from .remesh import RemeshSettings, remesh_isotropic, remesh_with_attributes
from .symmetry import Symmetry, make_symmetric, mirrored_partners
from .targets import UnitFrame
from .types import Mesh

EQUILATERAL = 3**0.5 / 4  # area of a triangle with edges of length 1
LOCKED = 1e-3             # weights below count as 0 (8-bit weight paint has steps of .004)
SAME = 1e-6               # radii; two places that are nearer are the same place
SNAP = 0.3                # edges; vertices nearer to the plane of symmetry are put into it
LEAST_PAIRED = 0.5        # of the vertices; with fewer partners a mesh is not symmetric
REMESH = RemeshSettings(feature_angle_deg=None)


@dataclass(frozen=True)
class Freedom:
    """How a mesh may be refined.

    keep_topology: same faces, same vertices in the same order; positions alone change. False: it gets new faces.
    weights: (V,) float in [0, 1], or None (all 1). A vertex takes that share of every movement; 0 locks it.
    symmetry: both sides of this plane move alike (keep_topology), or the half on the normal's side is taken for both.
    """

    keep_topology: bool = False
    weights: np.ndarray | None = None
    symmetry: Symmetry | None = None


FREE = Freedom()


def check_freedom(freedom: Freedom, mesh: Mesh) -> None:
    """Raises BadMesh (weights that do not fit), BadSettings (wishes that exclude each other)."""
    weights = freedom.weights
    if weights is None:
        return
    if weights.shape != (len(mesh.vertices),):
        raise BadMesh(f"There are {weights.size} weights for {len(mesh.vertices)} vertices.", "Give one each.")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() > 1:
        raise BadMesh("The weights of the mesh are not all numbers from 0 to 1.",
                      "Weights are 0 for what must stay, 1 for what may move.")
    if weights.max() < LOCKED:
        raise BadMesh("All weights of the mesh are 0, so nothing may move.", "Paint what may move with 1.")
    if freedom.symmetry is not None and not freedom.keep_topology:
        raise BadSettings("Weights and symmetry exclude each other when the mesh gets new faces.",
                          "Keep its topology, or leave one of them out.")


class Leash:
    """Holds the mesh of one refinement: makes the mesh of each level, and bounds how its vertices move.

    given: the mesh to refine, world. frame: the unit frame of the optimisation.
    """

    def __init__(self, freedom: Freedom, given: Mesh, frame: UnitFrame, device: torch.device) -> None:
        check_freedom(freedom, given)
        self._freedom, self._given, self._frame, self._device = freedom, given, frame, device
        self._mesh, self._at = given, frame.to_unit(given)
        self._weights: np.ndarray | None = freedom.weights
        self._exact = given.vertices
        self._group: np.ndarray | None = None
        self._loose: torch.Tensor | None = None
        self._base: torch.Tensor | None = None
        self._partner: torch.Tensor | None = None
        self._told = False
        self.stiffer = 1.0

    def begin(self, current: Mesh, faces: int, first: bool, stage: Stage) -> tuple[Mesh, float]:
        """The mesh of a level in the unit frame, and its edge length there: what lengths of steps are measured in.

        current: the refinement's mesh, world. faces: how many the level wants. first: `current` is the given mesh.
        Raises BadMesh, Cancelled.
        """
        if self._freedom.keep_topology:
            mesh, edge = self._begin_kept(current, faces)
        else:
            mesh, edge = self._begin_free(current, faces, first, stage)
        self._at = mesh
        if self._freedom.symmetry is not None:
            self._partner = self._partners(mesh, stage)
        if self._base is not None:
            loose = np.ones(len(mesh.vertices)) if self._weights is None else self._weights
            self._loose = torch.from_numpy(loose.astype(np.float32))[:, None].to(self._device)
        return mesh, edge

    # ------------------------------------------------------------ keep topology

    def _begin_kept(self, current: Mesh, wanted: int) -> tuple[Mesh, float]:
        """Vertices of one place are one (seams split them in files). Movement is measured from the given mesh."""
        if self._group is None:
            self._weld()
        group = self._group
        assert group is not None
        first = np.unique(group, return_index=True)[1]
        unit = self._frame.to_unit(current)
        mesh = Mesh(np.ascontiguousarray(unit.vertices[first]), group[unit.faces].astype(np.int32))
        area = float(np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1).sum()) / 2
        if area <= 0:
            raise BadMesh("All faces of the mesh have no area.", "Give a mesh with a surface.")
        # on a mesh that is finer than the level wants, regions of the level's size move as one
        self.stiffer = max(1.0, len(mesh.faces) / wanted)
        return mesh, (area / (wanted * EQUILATERAL))**0.5

    def _weld(self) -> None:
        given = self._given
        _, group = np.unique(given.vertices, axis=0, return_inverse=True)
        self._group = group.ravel()
        count = int(self._group.max()) + 1
        weights = np.ones(count)
        if self._freedom.weights is not None:
            np.minimum.at(weights, self._group, self._freedom.weights)
        weights[weights < LOCKED] = 0
        used = np.zeros(count, bool)
        used[self._group[given.faces]] = True
        weights[~used] = 0      # no view shows them, and their neighbours are none
        self._weights = weights
        first = np.unique(self._group, return_index=True)[1]
        base = self._frame.to_unit(Mesh(given.vertices[first], given.faces)).vertices
        self._base = torch.from_numpy(np.ascontiguousarray(base)).to(self._device)

    # ------------------------------------------------------------ free

    def _begin_free(self, current: Mesh, faces: int, first: bool, stage: Stage) -> tuple[Mesh, float]:
        plane = self._freedom.symmetry
        mesh = part_touching(clean(current)) if first else current
        weights = self._weights_of(mesh) if self._freedom.weights is not None else None
        if weights is not None and first:
            mesh = self._put_back(mesh, weights)
        edge = (float(np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1).sum()) / 2
                / (faces * EQUILATERAL))**0.5 if len(mesh.faces) else 0.0
        if plane is not None and first:
            mesh = make_symmetric(mesh, plane, SNAP * edge)
        unit, edge = self._frame.to_unit(mesh), edge / self._frame.radius
        if weights is None:
            made = remesh_isotropic(unit, edge, REMESH, stage)
        else:
            made, values = remesh_with_attributes(unit, weights[:, None], edge, REMESH, stage, frozen=weights == 0)
            self._weights = np.where(values[:, 0] < LOCKED, 0.0, values[:, 0].clip(0, 1))
        if plane is not None:
            world = make_symmetric(self._frame.to_world(made), plane, SNAP * edge * self._frame.radius)
            made = self._frame.to_unit(world)
        self._mesh = self._frame.to_world(made)
        if weights is not None:
            self._exact = self._put_back(self._mesh, self._weights).vertices
        if weights is not None or plane is not None:
            self._base = torch.from_numpy(np.ascontiguousarray(made.vertices)).to(self._device)
        return made, edge

    def _weights_of(self, mesh: Mesh) -> np.ndarray:
        """Weights of the level before where it is that mesh, else those of the nearest given vertices."""
        if mesh.faces is self._mesh.faces and self._weights is not None and len(self._weights) == len(mesh.vertices):
            return self._weights
        given = self._freedom.weights
        assert given is not None
        places, group = np.unique(self._given.vertices, axis=0, return_inverse=True)
        least = np.ones(len(places))
        np.minimum.at(least, group.ravel(), given)      # of vertices in one place, a locked one holds the others
        values = least[KDTree(places).query(mesh.vertices)[1]]
        return np.where(values < LOCKED, 0.0, values)

    def _put_back(self, mesh: Mesh, weights: np.ndarray | None) -> Mesh:
        """Locked vertices exactly where the given mesh has them: parting and rounding moved them by a hair."""
        assert weights is not None
        held = np.flatnonzero(weights == 0)
        vertices = mesh.vertices.copy()
        if len(held):
            edge = np.linalg.norm(self._given.vertices[self._given.faces[:, 0]]
                                  - self._given.vertices[self._given.faces[:, 1]], axis=1).mean()
            away, nearest = (np.asarray(each) for each in KDTree(self._given.vertices).query(vertices[held]))
            close = away < (SAME * self._frame.radius if mesh is self._mesh else 0.05 * float(edge))
            vertices[held[close]] = self._given.vertices[nearest[close]]
        return Mesh(vertices, mesh.faces)

    # ------------------------------------------------------------ movement

    def _partners(self, mesh: Mesh, stage: Stage) -> torch.Tensor:
        plane = self._freedom.symmetry
        assert plane is not None
        partner = mirrored_partners(self._frame.to_world(mesh), plane)
        found = float((partner >= 0).mean())
        if found < LEAST_PAIRED:
            raise BadMesh(f"The mesh is not symmetric: {found:.0%} of its vertices have a partner on the other side.",
                          "Check the axis and the object's origin, or refine without symmetry.")
        if found < 1 and not self._told:
            self._told = True
            stage.warn(f"{int((partner < 0).sum())} of {len(partner)} vertices have no partner on the other side of "
                       "the plane of symmetry; they move on their own.")
        return torch.from_numpy(partner).to(self._device)

    def start(self) -> torch.Tensor:
        """(V, 3) float32, unit frame: what `move` takes to where the level's mesh is."""
        at = torch.from_numpy(np.ascontiguousarray(self._at.vertices)).to(self._device)
        if self._base is None or self._loose is None:
            return at
        return self._base + torch.where(self._loose > 0, (at - self._base) / self._loose.clamp(min=LOCKED), 0)

    def move(self, solved: torch.Tensor) -> torch.Tensor:
        """Where vertices come to be that would like to be at `solved`. (V, 3), unit frame. Differentiable."""
        if self._base is None or self._loose is None:
            return solved
        wish = solved - self._base
        if self._partner is not None and self._freedom.symmetry is not None:
            normal = torch.tensor(self._freedom.symmetry.normal, dtype=wish.dtype, device=wish.device)
            other = wish.index_select(0, self._partner.clamp(min=0))    # see refine_losses.corners_of
            other = other - 2 * (other @ normal)[:, None] * normal
            wish = torch.where(self._partner[:, None] >= 0, (wish + other) / 2, wish)
        return self._base + self._loose * wish

    def bent(self, positions: torch.Tensor) -> torch.Tensor:
        """What must not bend: the surface, or where the topology is kept, its movement (the artist's edges stay)."""
        if not self._freedom.keep_topology or self._base is None:
            return positions
        return positions - self._base

    def to_world(self, positions: np.ndarray) -> Mesh:
        """The level's mesh with positions of `move` ((V, 3) float32), world; with keep_topology in the given order.
        Locked vertices are where the given mesh has them, bit by bit."""
        vertices = self._frame.to_world(Mesh(positions, self._at.faces)).vertices
        held = None if self._weights is None or self._loose is None else self._weights == 0
        if self._freedom.keep_topology and self._group is not None:
            assert held is not None
            whole = np.where(held[self._group, None], self._given.vertices, vertices[self._group])
            return Mesh(whole.astype(np.float32), self._given.faces)
        if held is not None:
            vertices[held] = self._exact[held]
        return Mesh(vertices, self._mesh.faces)

    def in_order(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the level's vertices, (V, C), in the order of the vertices of `to_world`."""
        return values if self._group is None else values[torch.from_numpy(self._group).to(values.device)]


def seen_part(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no face uses: they must not say how large the object is."""
    return compact(mesh.vertices, mesh.faces)
