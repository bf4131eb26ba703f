"""What is wrong with a mesh for printing or a game, in numbers and in words; and the repairs that lose nothing."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bmesh
import numpy as np
from mathutils.bvhtree import BVHTree

from .meshes import positions_of, triangles_of

if TYPE_CHECKING:
    from bmesh.types import BMesh
    from bpy.types import Mesh

MOST_FACES_CROSSED = 400_000     # above, self-intersections are not looked for: it would take tens of seconds
HEALTH_KEY = "slipcast_health"
MERGE_SHARE = 1e-5               # of the longest side: corners nearer than this are one
_ZERO_SHARE = 1e-12              # of the longest side squared: a face below has no area


@dataclass(frozen=True)
class MeshHealth:
    """Counts. self_intersections: pairs of triangles, None where they were not looked for."""

    triangles: int
    components: int
    open_edges: int
    non_manifold_edges: int       # more than two faces, or none
    turned_edges: int             # two faces that disagree about the outside
    zero_area_faces: int
    self_intersections: int | None

    @property
    def watertight(self) -> bool:
        return bool(self.triangles) and not (self.open_edges or self.non_manifold_edges)

    @property
    def sound(self) -> bool:
        return self.watertight and not (self.turned_edges or self.zero_area_faces or self.self_intersections)


def mesh_health(mesh: Mesh) -> MeshHealth:
    """Look at `mesh` as it is stored (no modifiers)."""
    points, triangles = positions_of(mesh).astype(np.float64), triangles_of(mesh)
    if not len(triangles):
        return MeshHealth(0, 0, 0, len(mesh.edges), 0, 0, 0)
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", corners)
    uses = np.bincount(corners, minlength=len(mesh.edges))
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    longest = float(np.ptp(points, axis=0).max())
    doubled = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    crossing = _crossings(points, triangles) if len(triangles) <= MOST_FACES_CROSSED else None
    return MeshHealth(len(triangles), _components(triangles, len(points)), int((uses == 1).sum()),
                      int(((uses > 2) | (uses == 0)).sum()), _turned(mesh, corners, uses),
                      int((doubled <= _ZERO_SHARE * longest ** 2).sum()), crossing)


def health_line(health: MeshHealth) -> str:
    """One line for people, the worst first: "Open (12 edges), 2 parts"."""
    if not health.triangles:
        return "No faces."
    faults = []
    if health.open_edges:
        faults.append(f"open ({health.open_edges:,} edges)")
    if health.non_manifold_edges:
        faults.append(f"{health.non_manifold_edges:,} non-manifold edges")
    if health.turned_edges:
        faults.append(f"faces inside out along {health.turned_edges:,} edges")
    if health.self_intersections:
        faults.append(f"{health.self_intersections:,} places cut through each other")
    if health.zero_area_faces:
        faults.append(f"{health.zero_area_faces:,} faces without area")
    parts = "1 part" if health.components == 1 else f"{health.components:,} parts"
    line = ", ".join([*(faults or ["watertight"]), parts, f"{health.triangles:,} triangles"])
    return f"{line[0].upper()}{line[1:]}."


def printability_words(health: MeshHealth) -> str:
    """Whether a printer's slicer will take it, and what to do."""
    if not health.triangles:
        return "There is nothing to print."
    if health.open_edges or health.non_manifold_edges or health.turned_edges:
        return "Not printable as it is: Repair, or remesh with voxels."
    if health.self_intersections:
        return "Printable with most slicers; Remesh with voxels makes it one solid."
    if health.self_intersections is None:
        return "Closed. Too many faces to look for places that cut through each other."
    return "Printable." if health.components == 1 else f"Printable, as {health.components} separate parts."


def repair_mesh(mesh: Mesh, smallest_part: float) -> None:
    """Merge what is one point, take out loose and doubled faces and tiny parts, close holes, turn faces outwards.

    smallest_part: parts with a smaller share of the surface go; 0 keeps all. UVs, groups and materials stay.
    """
    work = bmesh.new()
    try:
        work.from_mesh(mesh)
        longest = max(mesh_extent(work))
        bmesh.ops.remove_doubles(work, verts=work.verts, dist=MERGE_SHARE * longest)
        bmesh.ops.dissolve_degenerate(work, edges=work.edges, dist=MERGE_SHARE * longest)
        _drop_doubled_faces(work)
        _drop_loose(work)
        if smallest_part > 0:
            _drop_small_parts(work, smallest_part)
        fill_holes(work, 0)
        bmesh.ops.recalc_face_normals(work, faces=work.faces)
        work.to_mesh(mesh)
    finally:
        work.free()
    mesh.update()


def fill_holes(work: BMesh, most_edges: int) -> int:
    """Close holes with up to `most_edges` edges (0: all) by triangles that face as their neighbours do; returns how
    many faces were added."""
    rims = [edge for edge in work.edges if edge.is_boundary]
    if not rims:
        return 0
    made = bmesh.ops.holes_fill(work, edges=rims, sides=most_edges)["faces"]
    for face in made:
        loop = face.loops[0]
        other = loop.link_loop_radial_next
        if other.face is not face and other.vert is loop.vert:   # both go the same way along the edge
            face.normal_flip()
    return len(bmesh.ops.triangulate(work, faces=made)["faces"]) if made else 0


def mesh_extent(work: BMesh) -> tuple[float, float, float]:
    """Sides of the bounding box, mesh units; zeros for an empty mesh."""
    if not work.verts:
        return 0.0, 0.0, 0.0
    places = np.array([vertex.co for vertex in work.verts])
    x, y, z = np.ptp(places, axis=0).tolist()
    return x, y, z


def _components(triangles: np.ndarray, count: int) -> int:
    """Pieces that share no corner. Each point takes the smallest number among its neighbours until none changes,
    with a shortcut to the number's own number (Shiloach and Vishkin 1982)."""
    label = np.arange(count)
    while True:
        lowest = label[triangles].min(axis=1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, before[triangles[:, corner]], lowest)
            np.minimum.at(label, triangles[:, corner], lowest)
        label = label[label]
        if np.array_equal(label, before):
            return len(np.unique(label[np.unique(triangles)]))


def _turned(mesh: Mesh, edges: np.ndarray, uses: np.ndarray) -> int:
    """Edges with two faces that run along them in the same direction."""
    starts, first = np.empty(len(mesh.loops), np.int32), np.empty(2 * len(mesh.edges), np.int32)
    mesh.loops.foreach_get("vertex_index", starts)
    mesh.edges.foreach_get("vertices", first)
    forward = np.bincount(edges[starts == first.reshape(-1, 2)[edges, 0]], minlength=len(mesh.edges))
    return int(((uses == 2) & (forward != 1)).sum())


def _crossings(points: np.ndarray, triangles: np.ndarray) -> int:
    tree = BVHTree.FromPolygons(points.tolist(), triangles.tolist(), all_triangles=True)
    pairs = np.array(tree.overlap(tree), dtype=np.int64).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    first, second = triangles[pairs[:, 0]], triangles[pairs[:, 1]]
    # neighbours touch where they should
    return int((~(first[:, :, None] == second[:, None, :]).any(axis=(1, 2))).sum())


def _drop_doubled_faces(work: BMesh) -> None:
    seen, doubled = set(), []
    for face in work.faces:
        key = frozenset(vertex.index for vertex in face.verts)
        if key in seen:
            doubled.append(face)
        seen.add(key)
    bmesh.ops.delete(work, geom=doubled, context="FACES_ONLY")


def _drop_loose(work: BMesh) -> None:
    bmesh.ops.delete(work, geom=[edge for edge in work.edges if edge.is_wire], context="EDGES")
    bmesh.ops.delete(work, geom=[vertex for vertex in work.verts if not vertex.link_faces], context="VERTS")


def _drop_small_parts(work: BMesh, share: float) -> None:
    parts = list(_parts(work))
    areas = [sum(face.calc_area() for face in part) for part in parts]
    least = min(share * sum(areas), max(areas, default=0.0))   # the largest part always stays
    gone = [face for part, area in zip(parts, areas) if area < least for face in part]
    bmesh.ops.delete(work, geom=gone, context="FACES")


def _parts(work: BMesh) -> Iterable[list]:
    left = set(work.faces)
    while left:
        front = [left.pop()]
        part = []
        while front:
            face = front.pop()
            part.append(face)
            near = {other for vertex in face.verts for other in vertex.link_faces} & left
            left -= near
            front.extend(near)
        yield part


# --- what was found last, kept with the mesh ------------------------------------------------------------------------
def remember_health(mesh: Mesh) -> MeshHealth:
    """Look, and keep the words with the mesh for the panel, which must not work while it draws."""
    health = mesh_health(mesh)
    mesh[HEALTH_KEY] = {"line": health_line(health), "words": printability_words(health), "sound": health.sound,
                        "counts": [len(mesh.vertices), len(mesh.polygons)]}
    return health


def remembered_health(mesh: Mesh) -> tuple[str, str, bool] | None:
    """(health line, printability, sound) as it was found last; None when the mesh was never looked at, or has other
    counts since."""
    kept = mesh.get(HEALTH_KEY)
    if kept is None or list(kept["counts"]) != [len(mesh.vertices), len(mesh.polygons)]:
        return None
    return str(kept["line"]), str(kept["words"]), bool(kept["sound"])


def forget_health(mesh: Mesh) -> None:
    """After a change that kept the counts."""
    if HEALTH_KEY in mesh:
        del mesh[HEALTH_KEY]
