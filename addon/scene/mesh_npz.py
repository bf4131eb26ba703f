"""A mesh as the engine takes it: triangles as they are seen, modifiers included, in the world of the views."""
from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ...bridge.errors import BadMesh
from .meshes import corner_uvs_of, positions_of, triangles_of
from .originals import views_from_local
from .solid import seen_mesh

if TYPE_CHECKING:
    from bpy.types import Object

MESH_LABEL = "mesh.npz"


def mesh_npz(thing: Object) -> bytes:
    """vertices (V, 3) float32 in the world of the views it came from (else Blender's), faces (F, 3) int32, corner_uvs
    (F, 3, 2) float32 where it has UVs, origin (3,) of the object. Raises BadMesh without faces."""
    with seen_mesh(thing) as (mesh, matrix_world):
        points, faces, uvs = positions_of(mesh).astype(np.float64), triangles_of(mesh), corner_uvs_of(mesh)
    if not len(faces):
        raise BadMesh(f"{thing.name} has no faces.")
    matrix = views_from_local(thing, matrix_world)
    step = -1 if np.linalg.det(matrix[:3, :3]) < 0 else 1       # mirrored by its scale: the outside must stay outside
    arrays = {"vertices": (points @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32), "faces": faces[:, ::step],
              "origin": matrix[:3, 3]}
    if uvs is not None:
        arrays["corner_uvs"] = uvs[:, ::step]
    held = io.BytesIO()
    np.savez(held, **{name: np.ascontiguousarray(values) for name, values in arrays.items()})
    return held.getvalue()
