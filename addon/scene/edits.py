"""Changes to a mesh that Blender can make by itself: fewer or other faces, smoother, symmetric, standing."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...bridge.errors import BadMesh
from .health import fill_holes, mesh_extent
from .meshes import own_mesh, positions_of, triangles_of
from .originals import space_changed

if TYPE_CHECKING:
    from bmesh.types import BMesh
    from bpy.types import Context, Mesh, Object

_BUDGET_TRIES = 4
_SMOOTH, _SWELL = 0.5, -0.53     # Taubin 1995: a step in, a slightly larger one out, so that nothing shrinks
UP_TURNS = {"KEEP": None, "X": (1, 0, 0), "-X": (-1, 0, 0), "Y": (0, 1, 0), "-Y": (0, -1, 0), "-Z": (0, 0, -1)}
ORIGINS = ("KEEP", "BASE", "CENTRE")


def refuse_shape_keys(mesh: Mesh, deed: str) -> None:
    """Raises BadMesh: other vertices would make shape keys meaningless."""
    if mesh.shape_keys is not None:
        raise BadMesh(f"{mesh.name} has shape keys, which {deed} would break.", "Apply or remove them first.")


def triangle_count(mesh: Mesh) -> int:
    mesh.calc_loop_triangles()
    return len(mesh.loop_triangles)


def decimate_to(thing: Object, context: Context, triangles: int, symmetry: str = "NONE") -> int:
    """At most `triangles` triangles, UVs, groups and materials kept; returns how many there are now.

    symmetry: NONE, X, Y or Z, an axis of the object. Raises BadMesh (shape keys; it cannot get so low).
    """
    refuse_shape_keys(thing.data, "fewer faces")  # type: ignore[arg-type]
    for _ in range(_BUDGET_TRIES):
        now = triangle_count(thing.data)  # type: ignore[arg-type]
        if now <= triangles:
            return now

        def configure(modifier: Any, share: float = triangles / now) -> None:
            modifier.ratio, modifier.use_collapse_triangulate = share, True
            modifier.use_symmetry, modifier.symmetry_axis = symmetry != "NONE", "X" if symmetry == "NONE" else symmetry

        apply_modifier(thing, context, "DECIMATE", configure)
    now = triangle_count(thing.data)  # type: ignore[arg-type]
    if now > triangles:
        raise BadMesh(f"{thing.name} cannot get below {now:,} triangles without falling apart.",
                      "Remesh with voxels first, or ask for more triangles.")
    return now


def voxel_remesh(thing: Object, context: Context, size: float) -> int:
    """One closed skin around everything, from cubes with sides of `size` (mesh units); UVs are lost. Returns faces.

    Raises BadMesh (shape keys; nothing left).
    """
    refuse_shape_keys(thing.data, "a remesh")  # type: ignore[arg-type]

    def configure(modifier: Any) -> None:
        modifier.mode, modifier.voxel_size, modifier.use_smooth_shade = "VOXEL", size, True

    apply_modifier(thing, context, "REMESH", configure)
    return len(thing.data.polygons)  # type: ignore[union-attr]


def quad_remesh(thing: Object, context: Context, faces: int, seed: int = 0) -> int:
    """About `faces` quads that follow the shape (QuadriFlow); UVs are lost. Returns faces.

    Raises BadMesh when QuadriFlow gives up: it wants a manifold mesh.
    """
    mesh = thing.data
    refuse_shape_keys(mesh, "a remesh")  # type: ignore[arg-type]
    before = _fingerprint(mesh)  # type: ignore[arg-type]
    hint = "Repair the mesh, or remesh with voxels first."
    # an operator is the only door to QuadriFlow
    try:
        with context.temp_override(object=thing, active_object=thing, selected_objects=[thing],
                                   selected_editable_objects=[thing]):
            done = bpy.ops.object.quadriflow_remesh(mode="FACES", target_faces=faces, seed=seed)
    except RuntimeError as error:
        raise BadMesh(f"QuadriFlow could not remesh {thing.name}: {str(error).strip()}", hint) from error
    if done != {"FINISHED"} or _fingerprint(thing.data) == before:  # type: ignore[arg-type]
        raise BadMesh(f"QuadriFlow could not remesh {thing.name}.", hint)
    return len(thing.data.polygons)  # type: ignore[union-attr]


def _fingerprint(mesh: Mesh) -> tuple[int, int, float]:
    places = _positions(mesh)
    return len(mesh.vertices), len(mesh.polygons), float(np.abs(places).sum())


def apply_modifier(thing: Object, context: Context, kind: str, configure: Callable[[Any], None]) -> None:
    """Replace the object's mesh, for all who use it, by what one modifier of this kind makes of it.

    The object's own modifiers are neither applied nor touched. Raises BadMesh when nothing is left; the mesh is
    then as it was.
    """
    old = thing.data
    helper = bpy.data.objects.new("slipcast edit", old)
    context.scene.collection.objects.link(helper)
    try:
        configure(helper.modifiers.new("edit", kind))
        graph = context.evaluated_depsgraph_get()
        made = bpy.data.meshes.new_from_object(helper.evaluated_get(graph), preserve_all_data_layers=True,
                                               depsgraph=graph)
    finally:
        bpy.data.objects.remove(helper)
    if not made.polygons:
        bpy.data.meshes.remove(made)
        raise BadMesh(f"Nothing of {thing.name} would be left.", "Use a smaller size or more faces.")
    name = old.name
    old.user_remap(made)
    bpy.data.meshes.remove(old)  # type: ignore[arg-type]
    made.name = name


# --- moving vertices ------------------------------------------------------------------------------------------------
def _positions(mesh: Mesh) -> np.ndarray:
    return positions_of(mesh).astype(np.float64)


def mesh_sides(mesh: Mesh) -> tuple[float, float, float]:
    """Sides of the bounding box in the mesh's own units. Raises BadMesh without vertices."""
    if not len(mesh.vertices):
        raise BadMesh(f"{mesh.name} has no vertices.")
    x, y, z = np.ptp(_positions(mesh), axis=0).tolist()
    return x, y, z


def _move(mesh: Mesh, places: np.ndarray) -> None:
    mesh.vertices.foreach_set("co", places.astype(np.float32).ravel())
    mesh.update()


def smooth_mesh(mesh: Mesh, rounds: int) -> None:
    """Smooth without shrinking; corners, UVs and all else stay, and the rims of holes do not move.

    Raises BadMesh (shape keys). Source: Taubin 1995, "A signal processing approach to fair surface design", with
    even weights; a closed mesh is then scaled to the volume it had.
    """
    refuse_shape_keys(mesh, "smoothing")
    places, edges = _positions(mesh), np.empty(2 * len(mesh.edges), np.int32)
    mesh.edges.foreach_get("vertices", edges)
    a, b = edges.reshape(-1, 2).T
    degree = np.maximum(np.bincount(np.concatenate([a, b]), minlength=len(places)), 1)[:, None]
    uses = _faces_of_edges(mesh)
    rim = np.zeros(len(places), bool)
    rim[np.concatenate([a[uses != 2], b[uses != 2]])] = True
    before = _volume(mesh, places)
    for step in [_SMOOTH, _SWELL] * rounds:
        towards = np.stack([np.bincount(a, places[b, axis], len(places)) + np.bincount(b, places[a, axis], len(places))
                            for axis in range(3)], axis=-1) / degree - places
        towards[rim] = 0.0
        places = places + step * towards
    after = _volume(mesh, places)
    if not rim.any() and before * after > 0:
        centre = places.mean(axis=0)
        places = centre + (places - centre) * (before / after) ** (1 / 3)
    _move(mesh, places)


def _faces_of_edges(mesh: Mesh) -> np.ndarray:
    edges = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", edges)
    return np.bincount(edges, minlength=len(mesh.edges))


def _volume(mesh: Mesh, places: np.ndarray) -> float:
    triangles = triangles_of(mesh)
    a, b, c = (places[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def symmetrise_mesh(mesh: Mesh, direction: str) -> None:
    """Copy one half over the other. direction: "+X", "-X", "+Y" ...: the half that is kept, in the mesh's own axes."""
    refuse_shape_keys(mesh, "symmetry")

    def mirror(work: BMesh) -> None:
        bmesh.ops.symmetrize(work, input=[*work.verts, *work.edges, *work.faces], direction=direction.lstrip("+"),
                             dist=1e-5 * max(mesh_extent(work)))

    edit_mesh(mesh, mirror)


def edit_mesh(mesh: Mesh, change: Callable[[BMesh], Any]) -> Any:
    """Run `change` on a BMesh of `mesh` and write it back; returns what it returns. An error changes nothing."""
    work = bmesh.new()
    try:
        work.from_mesh(mesh)
        answer = change(work)
        work.to_mesh(mesh)
    finally:
        work.free()
    mesh.update()
    return answer


def flatten_base(thing: Object, share: float, cut: bool) -> None:
    """Make the object stand on a flat base at `share` of its height (world Z).

    cut: take off what is below and close the cut; else press it up to that height, topology and UVs kept.
    Raises BadMesh (shape keys; nothing left).
    """
    mesh = thing.data
    refuse_shape_keys(mesh, "a flat base")  # type: ignore[arg-type]
    matrix = np.array(thing.matrix_world, dtype=np.float64)
    local = _positions(mesh)  # type: ignore[arg-type]
    world = local @ matrix[:3, :3].T + matrix[:3, 3]
    height = world[:, 2].min() + share * np.ptp(world[:, 2])
    if not cut:
        world[:, 2] = np.maximum(world[:, 2], height)
        _move(mesh, (world - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T)  # type: ignore[arg-type]
        return
    place = thing.matrix_world.inverted() @ Vector((0.0, 0.0, height))
    up = thing.matrix_world.to_3x3().transposed() @ Vector((0.0, 0.0, 1.0))   # a plane goes by the transpose

    def slice_off(work: BMesh) -> None:
        open_before = {edge for edge in work.edges if edge.is_boundary}
        found = bmesh.ops.bisect_plane(work, geom=[*work.verts, *work.edges, *work.faces], plane_co=place,
                                       plane_no=up.normalized(), clear_inner=True)["geom_cut"]
        rim = [edge for edge in found if isinstance(edge, bmesh.types.BMEdge) and edge.is_boundary
               and edge not in open_before]
        if rim:
            lid = bmesh.ops.triangle_fill(work, use_beauty=True, use_dissolve=False, edges=rim, normal=-up)["geom"]
            _face_as_neighbours([face for face in lid if isinstance(face, bmesh.types.BMFace)])

    edit_mesh(mesh, slice_off)  # type: ignore[arg-type]


def _face_as_neighbours(made: list[Any]) -> None:
    """Turn new faces so that they go the other way than old ones along the edges they share; they agree already
    among themselves."""
    fresh = set(made)
    for face in made:
        for loop in face.loops:
            other = loop.link_loop_radial_next
            if other.face not in fresh:
                if other.vert is loop.vert:
                    for turned in made:
                        turned.normal_flip()
                return


def fill_mesh_holes(mesh: Mesh, most_edges: int) -> int:
    """Close holes with up to `most_edges` edges (0: all); returns how many faces were added. Raises BadMesh."""
    refuse_shape_keys(mesh, "new faces")
    return edit_mesh(mesh, lambda work: fill_holes(work, most_edges))


# --- placing --------------------------------------------------------------------------------------------------------
def place_object(thing: Object, origin: str, height: float, up: str) -> None:
    """Turn, scale and set the origin, all written into the mesh: rotation is 0 and scale 1 afterwards.

    origin: one of ORIGINS. height: scene units, 0 = as it is. up: the world axis that shall point up, a key of
    UP_TURNS. The middle of the base stays where it is. Children keep their places. Raises BadMesh (no extent).
    """
    mesh = own_mesh(thing)
    if not len(mesh.vertices):
        raise BadMesh(f"{thing.name} has no vertices.")
    children = [(child, child.matrix_world.copy()) for child in thing.children]
    old = thing.matrix_world.copy()
    turn = UP_TURNS[up]
    rotation = Matrix.Identity(4) if turn is None else Vector(turn).rotation_difference(Vector((0, 0, 1))) \
        .to_matrix().to_4x4()
    base_before, _ = _base_and_middle(_world(mesh, old))
    world = _world(mesh, rotation @ old)
    base, _ = _base_and_middle(world)
    tall = float(np.ptp(world[:, 2]))
    if height > 0 and tall <= 0:
        raise BadMesh(f"{thing.name} has no height.", "Turn it up first, or leave the height as it is.")
    scale = height / tall if height > 0 else 1.0
    new = Matrix.Translation(base_before) @ Matrix.Scale(scale, 4) @ Matrix.Translation(-base) @ rotation @ old
    base, middle = _base_and_middle(_world(mesh, new))
    place = {"KEEP": new.translation.copy(), "BASE": base, "CENTRE": middle}[origin]
    mesh.transform(Matrix.Translation(-place) @ new, shape_keys=True)
    space_changed(thing, Matrix.Translation(-place) @ new)
    if new.is_negative:
        mesh.flip_normals()
    mesh.update()
    thing.matrix_world = Matrix.Translation(place)
    for child, matrix in children:
        child.matrix_world = matrix


def _world(mesh: Mesh, matrix: Matrix) -> np.ndarray:
    values = np.array(matrix, dtype=np.float64)
    return _positions(mesh) @ values[:3, :3].T + values[:3, 3]


def _base_and_middle(world: np.ndarray) -> tuple[Vector, Vector]:
    low, high = world.min(axis=0), world.max(axis=0)
    middle = (low + high) / 2
    return Vector((*middle[:2], low[2])), Vector(middle)
