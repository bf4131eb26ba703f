"""A mesh as the engine takes it: triangles as they are seen, modifiers included, in the world of the views."""
from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ...bridge.errors import BadMesh
from .originals import views_from_local

if TYPE_CHECKING:
    from bpy.types import Context, Mesh, Object

MESH_LABEL = "mesh.npz"


def mesh_npz(thing: Object, context: Context) -> bytes:
    """vertices (V, 3) float32 in the world of the views it came from (else Blender's), faces (F, 3) int32, corner_uvs
    (F, 3, 2) float32 where it has UVs, origin (3,) of the object. Raises BadMesh without faces."""
    seen = thing.evaluated_get(context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    try:
        arrays = _arrays(mesh)
    finally:
        seen.to_mesh_clear()
    if not len(arrays["faces"]):
        raise BadMesh(f"{thing.name} has no faces.")
    matrix = views_from_local(thing)
    arrays["vertices"] = (arrays["vertices"] @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
    arrays["origin"] = matrix[:3, 3]
    if np.linalg.det(matrix[:3, :3]) < 0:      # mirrored by its scale: the outside must stay outside
        arrays["faces"] = arrays["faces"][:, ::-1]
        if "corner_uvs" in arrays:
            arrays["corner_uvs"] = arrays["corner_uvs"][:, ::-1]
    held = io.BytesIO()
    np.savez(held, **{name: np.ascontiguousarray(values) for name, values in arrays.items()})
    return held.getvalue()


def _arrays(mesh: Mesh) -> dict[str, np.ndarray]:
    mesh.calc_loop_triangles()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    faces, loops = (np.empty(3 * len(mesh.loop_triangles), np.int32) for _ in range(2))
    mesh.loop_triangles.foreach_get("vertices", faces)
    mesh.loop_triangles.foreach_get("loops", loops)
    found = {"vertices": points.reshape(-1, 3).astype(np.float64), "faces": faces.reshape(-1, 3)}
    if mesh.uv_layers.active is not None:
        uvs = np.empty(2 * len(mesh.loops), np.float32)
        mesh.uv_layers.active.uv.foreach_get("vector", uvs)
        found["corner_uvs"] = uvs.reshape(-1, 2)[loops].reshape(-1, 3, 2)
    return found
