"""Remesh: the same surface in triangles that are nearly equilateral and of a wanted size.

Split long edges, collapse short ones, flip towards regular valences, move vertices within the surface (Botsch and
Kobbelt, "A Remeshing Approach to Multiresolution Modeling", 2004). Every single operation keeps the surface a manifold
of the same genus. What it cannot see alone, walls that come to run through each other, is looked for at the end: those
places are frozen and the whole is done again.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import warp as wp
from scipy.spatial import KDTree

from ...bridge.errors import BadMesh, BadSettings
from ..render.backend import prepare_kernels
from .crossing import crossing_faces, nearest_places, search_tree
from .halfedge import LINE, HalfEdges, fan_vertices, make_half_edges
from .manifold import compact
from .normals import face_normals, vertex_normals
from .progress import Stage
from .remesh_kernels import LONG, SHORT, collapse_short, flip_edges, smooth_vertices, split_long
from .types import Mesh

log = logging.getLogger(__name__)

SPLIT_ROUNDS = 40           # a round halves the longest edges: enough for a ratio of a million
COLLAPSE_ROUNDS = 3
MAX_FACES = 4_000_000       # a target length that asks for more is a mistake: 1 GB and minutes
FREEZE_ROUNDS = 4           # how often the remeshing is done again with places frozen that ran through each other
CPU = torch.device("cpu")


@dataclass(frozen=True)
class RemeshSettings:
    """How remesh_isotropic works."""

    iterations: int = 5                          # rounds of split, collapse, flip, smooth
    feature_angle_deg: float | None = 60.0       # edges that turn by more stay; None: only open borders do
    project: bool = True                         # vertices end on the given surface; False: it is smoothed a little
    keep_apart: bool = True                      # look for new self-intersections and undo them


@dataclass(frozen=True)
class _Input:
    """A checked mesh: one fan a vertex, twins, target lengths, and the vertex each one was in the caller's mesh."""

    mesh: Mesh
    twin: np.ndarray
    size: np.ndarray
    source: np.ndarray


def remesh_isotropic(mesh: Mesh, edge_length: float, settings: RemeshSettings, stage: Stage,
                     sizing: np.ndarray | None = None) -> Mesh:
    """Remesh to edges of one length. Closed stays closed; genus, parts, open borders and sharp edges stay.

    mesh: a manifold, open or closed; vertices that several fans share are doubled, faces that hold a vertex twice and
    vertices without a face are dropped. edge_length: world units. sizing: (V,) float, a factor on edge_length at each
    vertex, or None. The same input gives the same mesh, bit by bit.
    Raises BadMesh (empty, numbers that are none, more than two faces at an edge), BadSettings (lengths), Cancelled.
    """
    return _remesh(mesh, edge_length, settings, stage, sizing)[0]


def remesh_with_attributes(mesh: Mesh, attributes: np.ndarray, edge_length: float, settings: RemeshSettings,
                           stage: Stage, sizing: np.ndarray | None = None,
                           frozen: np.ndarray | None = None) -> tuple[Mesh, np.ndarray]:
    """remesh_isotropic, and the values that the given mesh has at the new vertices.

    attributes: (V, K) float, linear inside the given faces. Returns the mesh and (V', K) of the same dtype.
    frozen: (V,) bool, vertices that stay, with the surface between them (its long edges may get vertices), or None.
    """
    if attributes.ndim != 2 or len(attributes) != len(mesh.vertices):
        raise ValueError(f"Expected attributes ({len(mesh.vertices)}, K), got {attributes.shape}.")
    made, given = _remesh(mesh, edge_length, settings, stage, sizing, frozen)
    normals = vertex_normals(made.vertices, made.faces)
    face, weights = nearest_places(given.mesh, made.vertices, normals, edge_length)
    corners = attributes[given.source][given.mesh.faces[face]]
    return made, (corners * weights[:, :, None]).sum(1).astype(attributes.dtype)


def _remesh(mesh: Mesh, edge_length: float, settings: RemeshSettings, stage: Stage,
            sizing: np.ndarray | None, held: np.ndarray | None = None) -> tuple[Mesh, _Input]:
    given = _checked(mesh, edge_length, sizing)
    wp.init()   # returns at once when it has run
    prepare_kernels(split_long, CPU)
    frozen = np.zeros(len(given.mesh.vertices), bool) if held is None else held[given.source]
    accepted: int | None = None
    for attempt in range(FREEZE_ROUNDS + 1):
        made = _run(given, settings, frozen, stage)
        if not settings.keep_apart:
            return made, given
        crossing = crossing_faces(made)
        if not crossing.any():
            return made, given
        accepted = int(crossing_faces(given.mesh).sum()) if accepted is None else accepted
        if crossing.sum() <= accepted:
            return made, given
        log.info("remesh: %d faces run through each other, round %d", int(crossing.sum()), attempt)
        frozen |= _near(given.mesh.vertices, made.vertices[made.faces[crossing]], 1.0 + attempt)
    stage.warn(f"Remeshing left {int(crossing.sum())} faces that run through each other "
               f"({accepted} before). A smaller edge length keeps thin walls apart.")
    return made, given


def _near(points: np.ndarray, triangles: np.ndarray, reach: float) -> np.ndarray:
    """(N,) bool: points (N, 3) within `reach` longest edges of the nearest triangle's centre. triangles: (F, 3, 3)."""
    longest = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(1)
    distance, nearest = KDTree(triangles.mean(1)).query(points)
    return distance < reach * 1.5 * longest[nearest]


def _checked(mesh: Mesh, edge_length: float, sizing: np.ndarray | None) -> _Input:
    if not (np.isfinite(edge_length) and edge_length > 0):
        raise BadSettings(f"An edge length of {edge_length} is not possible.", "Give a length above 0.")
    vertices, faces = mesh.vertices, mesh.faces
    if not len(faces):
        raise BadMesh("The mesh has no faces.", "Give a mesh with a surface.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise BadMesh("Faces of the mesh name vertices that are not there.", "Export the mesh again.")
    if not np.isfinite(vertices[faces]).all():
        raise BadMesh("The mesh has vertices whose position is not a number.", "Remove them or export the mesh again.")
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    directed = faces.astype(np.int64) * len(vertices) + np.roll(faces, -1, axis=1)
    if not len(faces) or len(np.unique(directed)) < directed.size:
        raise BadMesh("The mesh has edges with more than two faces, or neighbours that look opposite ways.",
                      "In Blender, Select > All by Trait > Non Manifold shows them; Mesh > Clean Up > Merge by "
                      "Distance and Mesh > Normals > Recalculate Outside often help.")
    factor = np.ones(len(vertices), np.float32) if sizing is None else np.asarray(sizing, np.float32)
    if factor.shape != (len(vertices),) or not np.isfinite(factor).all() or factor.min() <= 0:
        raise BadSettings("The sizes at the vertices have to be numbers above 0, one a vertex.", "Check the attribute.")
    faces, twin, source = fan_vertices(faces, len(vertices))
    made = Mesh(np.ascontiguousarray(vertices[source], np.float32), faces)
    size = (edge_length * factor)[source].astype(np.float32)
    areas = np.linalg.norm(face_normals(made.vertices, faces), axis=1) / 2
    expected = float((areas / (0.433 * size[faces].mean(1).astype(np.float64)**2)).sum())
    if expected > MAX_FACES:
        raise BadSettings(f"An edge length of {edge_length:.3g} would need about {expected:.2g} faces.",
                          f"Give a length of at least {edge_length * (expected / MAX_FACES)**0.5:.3g}.")
    return _Input(made, twin, size, source)


def _run(given: _Input, settings: RemeshSettings, frozen: np.ndarray, stage: Stage) -> Mesh:
    half = make_half_edges(given.mesh.vertices, given.mesh.faces, given.twin, given.size,
                           settings.feature_angle_deg, frozen)
    tree = search_tree(given.mesh)
    faces = wp.array(given.mesh.faces.ravel(), dtype=wp.int32, device="cpu")
    sizes = wp.array(given.size, dtype=wp.float32, device="cpu")
    lines = given.mesh.vertices[half.line_edges()].astype(np.float64)
    for _ in range(settings.iterations):
        stage.check()
        _split(half)
        _collapse(half)
        _flip(half, 0)
        goals = wp.array(_line_goals(half, lines), dtype=wp.vec3, device="cpu")
        wp.launch(smooth_vertices, dim=1, device="cpu",
                  inputs=[half.on_warp(), goals, tree.id, int(settings.project), sizes, faces])
    _flip(half, 1)
    return compact(half.vertices, half.faces)


def _operations(half: HalfEdges, kernel: object, *arguments: object) -> int:
    half.count[3] = 0
    wp.launch(kernel, dim=1, inputs=[half.on_warp(), *arguments], device="cpu")
    return int(half.count[3])


def _split(half: HalfEdges) -> None:
    for _ in range(SPLIT_ROUNDS):
        edges, ratio = half.edges()
        chosen = ratio > max(LONG, 0.6 * float(ratio.max(initial=0)))   # the longest first: no needles in between
        if not chosen.any():
            return
        order = edges[chosen][np.argsort(-ratio[chosen], kind="stable")]
        half.reserve(len(order), 2 * len(order))
        _operations(half, split_long, wp.array(order, dtype=wp.int32, device="cpu"))


def _collapse(half: HalfEdges) -> None:
    for _ in range(COLLAPSE_ROUNDS):
        edges, ratio = half.edges()
        chosen = ratio < SHORT
        order = edges[chosen][np.argsort(ratio[chosen], kind="stable")]
        if not len(order) or not _operations(half, collapse_short, wp.array(order, dtype=wp.int32, device="cpu")):
            return
        half.pack()


def _flip(half: HalfEdges, delaunay: int) -> None:
    excess = half.excess()
    for _ in range(3):
        if not _operations(half, flip_edges, wp.array(excess, dtype=wp.int32, device="cpu", copy=False), delaunay):
            return


def _line_goals(half: HalfEdges, lines: np.ndarray) -> np.ndarray:
    """Where vertices of sharp lines and borders want to be: midway between their two neighbours on the line, on the
    given line. lines: (E, 2, 3) float64, the given lines. Returns (V, 3) float32; other vertices: where they are."""
    goals = half.vertices.copy()
    edges = half.line_edges()
    moving = np.flatnonzero(half.kind[:len(goals)] == LINE)
    if not len(edges) or not len(moving):
        return goals
    ends, others = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
    count = np.maximum(np.bincount(ends, minlength=len(goals)), 1)[:, None]
    middle = np.stack([np.bincount(ends, half.place[others, axis], minlength=len(goals)) for axis in range(3)], -1)
    goals[moving] = _onto_lines((middle / count)[moving], lines)
    return goals


def _onto_lines(points: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The nearest point of many segments (E, 2, 3) to each point (N, 3). Candidates: segments with a near sample."""
    length = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
    pieces = np.clip(np.ceil(length / max(float(np.median(length)), 1e-30)), 1, 64).astype(int)
    of_sample = np.repeat(np.arange(len(lines)), pieces)
    within = (np.arange(len(of_sample)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[of_sample]
    samples = lines[of_sample, 0] + within[:, None] * (lines[of_sample, 1] - lines[of_sample, 0])
    nearest = of_sample[KDTree(samples).query(points, k=min(4, len(samples)))[1].reshape(len(points), -1)]
    start, along = lines[nearest, 0], lines[nearest, 1] - lines[nearest, 0]
    t = ((points[:, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-60)
    candidates = start + np.clip(t, 0, 1)[..., None] * along
    best = np.linalg.norm(candidates - points[:, None], axis=-1).argmin(1)
    return candidates[np.arange(len(points)), best]
