"""The mesh that is to be refined -> what the engine is sent, and what is needed to bring the result back onto it."""
from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...bridge.errors import BadMesh, BadSettings
from .meshes import corner_uvs_of, positions_of, triangles_of
from .originals import views_from_local
from .solid import seen_mesh

if TYPE_CHECKING:
    from bpy.types import Mesh, Object

SCULPT_MASK = ".sculpt_mask"
MODIFIERS = ("APPLY", "KEEP")
WEIGHTS = ("NONE", "GROUP", "MASK")
MATERIALS = ("KEEP", "NEW")


@dataclass(frozen=True)
class SourceWishes:
    """keep_topology: only positions change. modifiers: APPLY: the mesh as its modifiers show it is what comes back, and
    they are gone; KEEP: they stay. weights: what says how far a vertex may move; group: a vertex group, "" = the active
    one. material: with keep_topology, KEEP: slots stay as they are; NEW: one with the new texture.
    in_views: the mesh is sent in the world of the views that it came from, instead of Blender's."""

    keep_topology: bool = False
    modifiers: str = "APPLY"
    weights: str = "NONE"
    group: str = ""
    material: str = "KEEP"
    in_views: bool = False


@dataclass(frozen=True, eq=False)
class RefineSource:
    """What was sent of `object_name`. vertices: (V, 3) float32, faces: (F, 3) int32, as sent. world_from_local: (4, 4)
    float64, of that moment; its world is the one of the views. outlines, base_outlines: of outlines_of, of the mesh as
    it was sent and of the one below its modifiers, by which they are known again. object_uid: of scenes.find_object."""

    object_name: str
    wishes: SourceWishes
    world_from_local: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray
    outlines: np.ndarray
    base_outlines: np.ndarray
    object_uid: int

    @property
    def mirrored(self) -> bool:
        """The object's scale turns it inside out; faces were turned round for the engine."""
        return is_mirrored(self.world_from_local)


def is_mirrored(matrix: np.ndarray) -> bool:
    """Whether a (4, 4) transform turns things inside out."""
    return bool(np.linalg.det(matrix[:3, :3]) < 0)


def symmetry_of(mesh: Mesh) -> str:
    """The engine's word for the mesh's own symmetry setting (Sculpt, Edit and Weight Paint share it)."""
    return next((axis for axis in "xyz" if getattr(mesh, f"use_mirror_{axis}")), "none")


def read_source(thing: Object, wishes: SourceWishes) -> tuple[RefineSource, bytes]:
    """(what to keep until the result comes, content of mesh.npz).

    vertices, faces, corner_uvs (if it has UVs), weights (if wanted), origin and axes, as docs/conventions.md has them.
    Raises BadMesh (no faces, shape keys or modifiers that do not go with the wishes), BadSettings (no such weights).
    """
    base: Mesh = thing.data  # type: ignore[assignment]
    with seen_mesh(thing) as (mesh, matrix):
        positions, faces, uvs = positions_of(mesh), triangles_of(mesh), corner_uvs_of(mesh)
        outlines, below = outlines_of(mesh), outlines_of(base)
        _check(thing, wishes, np.array_equal(outlines, below), len(faces))
        weights = _weights(thing, mesh, wishes)
    if wishes.in_views:
        matrix = views_from_local(thing, matrix)
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
        raise BadMesh(f"{thing.name} is scaled to nothing.", "Give it a scale other than 0.")
    world = (positions.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
    step = -1 if is_mirrored(matrix) else 1
    arrays = {"vertices": world, "faces": np.ascontiguousarray(faces[:, ::step]), "origin": matrix[:3, 3],
              "axes": _plane_normals(matrix)}
    source = RefineSource(thing.name, wishes, matrix, world, arrays["faces"], outlines, below, thing.session_uid)
    if uvs is not None:
        arrays["corner_uvs"] = np.ascontiguousarray(uvs[:, ::step])
    if weights is not None:
        arrays["weights"] = weights
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return source, packed.getvalue()


def active_modifiers(thing: Object) -> list[str]:
    """Names of those that the viewport shows."""
    return [modifier.name for modifier in thing.modifiers if modifier.show_viewport]


def _check(thing: Object, wishes: SourceWishes, same: bool, faces: int) -> None:
    if not faces:
        raise BadMesh(f"{thing.name} has no faces to refine.", "Choose a mesh with a surface.")
    keys = thing.data.shape_keys is not None  # type: ignore[union-attr]
    if keys and not wishes.keep_topology:
        raise BadMesh(f"{thing.name} has shape keys, which new faces would lose.",
                      "Switch on Keep Topology, or remove the shape keys.")
    if not wishes.keep_topology:
        return
    if keys and wishes.modifiers == "APPLY" and active_modifiers(thing):
        raise BadMesh(f"{thing.name} has shape keys, which applying its modifiers would lose.",
                      "Choose to keep the modifiers.")
    if wishes.modifiers == "KEEP" and not same:
        names = ", ".join(active_modifiers(thing))
        raise BadMesh(f"Modifiers of {thing.name} give it other faces ({names}), so its own vertices cannot be moved "
                      "to where the result has them.",
                      "Choose to apply the modifiers, or switch those off in the viewport.")


def outlines_of(mesh: Mesh) -> np.ndarray:
    """(L + P,) int32: the vertex of each corner, and where each face begins. Unlike its triangles they do not depend on
    where the vertices are: a quad that bends is split along its other diagonal."""
    corners, begins = np.empty(len(mesh.loops), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    mesh.polygons.foreach_get("loop_start", begins)
    return np.concatenate([corners, begins])


def _weights(thing: Object, mesh: Mesh, wishes: SourceWishes) -> np.ndarray | None:
    """(V,) float32, 0 locks and 1 is free, or None: everything is free."""
    if wishes.weights == "NONE":
        return None
    if wishes.weights == "MASK":
        held = mesh.attributes.get(SCULPT_MASK)
        if held is None:
            raise BadSettings(f"{thing.name} has no sculpt mask.", "Paint one in Sculpt Mode, or choose other weights.")
        values = np.empty(len(mesh.vertices), np.float32)
        held.data.foreach_get("value", values)  # type: ignore[attr-defined]
        return 1.0 - values.clip(0.0, 1.0)        # what is masked must stay
    group = thing.vertex_groups.get(wishes.group) if wishes.group else thing.vertex_groups.active
    if group is None:
        raise BadSettings(f"{thing.name} has no vertex group {wishes.group}".rstrip() + ".",
                          "Choose one of its groups, or refine everything.")
    index = group.index
    found = (next((each.weight for each in vertex.groups if each.group == index), 0.0) for vertex in mesh.vertices)
    return np.fromiter(found, np.float32, len(mesh.vertices))


def _plane_normals(matrix: np.ndarray) -> np.ndarray:
    """(3, 3), rows: world normals of the planes where the object's own x, y and z are 0."""
    normals = np.linalg.inv(matrix[:3, :3])      # rows of the inverse = columns of its transpose
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
