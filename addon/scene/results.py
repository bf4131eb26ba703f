"""A finished job -> an object in the scene."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bridge.errors import BadFrame, BadMesh
from ...bridge.events import Result
from .cameras import PinholeCamera, add_camera, blender_matrix, camera_from_mapping
from .images import pack_png
from .mask_archive import archive_of_mask
from .materials import textured_material
from .meshes import build_mesh, check_mesh_arrays
from .originals import (
    CAMERAS_KEY,
    DEVICE_KEY,
    ENGINE_KEY,
    JOB_KEY,
    METHOD_KEY,
    SECONDS_KEY,
    SETTINGS_KEY,
    keep_original,
    keep_views,
)
from .scratch import all_or_nothing
from .standing import standing

if TYPE_CHECKING:
    import bpy

COLLECTION_NAME = "Slipcast"
CAMERAS_BYTES = 256 * 1024          # thousands of cameras would swell the file; nobody places by one of so many
CAMERA_SIZE = 0.1  # of a drawn camera, in sizes of the object


@dataclass(frozen=True)
class Placement:
    """How a result is to stand in the scene.

    name: of the object. base: (3,) world, where the centre of its bottom goes.
    target_size: longest side in scene units; 0 keeps the size that the cameras have it in.
    import_cameras: make a Blender camera of each view, too.
    in_place: where and as large as the views have it, whatever base and target_size say: they were made in this scene.
    """

    name: str
    base: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_size: float = 0.0
    import_cameras: bool = False
    in_place: bool = False


@dataclass(frozen=True)
class PreparedResult:
    """A result read, checked and moved; nothing of it is in Blender yet.

    vertices: (V, 3) float32, local to the object. faces: (F, 3) int32. corner_uvs: (F, 3, 2) float32.
    normal_map_png: tangent space, or None: the engine made none.
    world_from_views: (4, 4) float64, the similarity that takes the views' world to Blender's.
    views_vertices: (V, 3) float32, in the views' world, to the bit as the engine sent them.
    masks: the artefact of that name, or the one mask in the same form; empty without any. warnings: of the job.
    """

    placement: Placement
    vertices: np.ndarray
    faces: np.ndarray
    corner_uvs: np.ndarray
    base_color_png: bytes
    cameras: tuple[PinholeCamera, ...]
    world_from_views: np.ndarray
    properties: Mapping[str, Any]
    views_vertices: np.ndarray
    masks: bytes = b""
    warnings: tuple[str, ...] = ()
    normal_map_png: bytes | None = None


def prepare_result(result: Result, placement: Placement, engine_version: str = "") -> PreparedResult:
    """Everything that needs no bpy. Raises BadFrame, BadMesh or BadCameras for a result that cannot be used."""
    vertices, faces = _array(result, "vertices"), _array(result, "faces")
    corner_uvs = _array(result, "corner_uvs")
    check_mesh_arrays(vertices, faces, corner_uvs)
    bottom, scale = standing(vertices, 0.0 if placement.in_place else placement.target_size)
    if not scale:
        raise BadMesh("The mesh has no size.")
    if placement.in_place:
        placement = replace(placement, base=(float(bottom[0]), float(bottom[1]), float(bottom[2])))
    local = ((vertices.astype(np.float64) - bottom) * scale).astype(np.float32)
    world_from_views = np.eye(4)
    world_from_views[:3, :3] *= scale
    world_from_views[:3, 3] = np.asarray(placement.base) - scale * bottom
    cameras = tuple(map(camera_from_mapping, _json(result, "cameras"))) if placement.import_cameras else ()
    return PreparedResult(placement, local, faces, corner_uvs, bytes(_data(result, "base_color")), cameras,
                          world_from_views, _properties(result, engine_version), vertices,
                          masks=_masks(result),
                          warnings=tuple(map(str, result.info.summary.get("warnings", ()))),
                          normal_map_png=(bytes(_data(result, "normal_map")) if "normal_map" in result.artefacts
                                          else None))


def place_result(prepared: PreparedResult, data: bpy.types.BlendData, scene: bpy.types.Scene,
                 view_layer: bpy.types.ViewLayer) -> bpy.types.Object:
    """Put a result into `scene`, selected and active. Either all of it is there afterwards, or nothing.

    Raises BadImage or BadMesh, and what bpy raises for a scene that cannot be written to.
    """
    name = prepared.placement.name
    with all_or_nothing(data):
        mesh = build_mesh(data.meshes, name, prepared.vertices, prepared.faces, prepared.corner_uvs)
        image = pack_png(data.images, f"{name} Base Color", prepared.base_color_png)
        relief = None
        if prepared.normal_map_png is not None:
            relief = pack_png(data.images, f"{name} Normal Map", prepared.normal_map_png, colors=False)
        mesh.materials.append(textured_material(data, name, image, relief))
        made = data.objects.new(name, mesh)
        made.location = prepared.placement.base
        for key, value in prepared.properties.items():
            made[key] = value
        keep_original(made)
        keep_views(made, prepared.world_from_views)
        collection = slipcast_collection(data, scene)
        collection.objects.link(made)
        if prepared.cameras:
            _add_cameras(data, prepared, made, collection)
    _select_only(made, view_layer)
    return made


def _add_cameras(data: bpy.types.BlendData, prepared: PreparedResult, made: bpy.types.Object,
                 collection: bpy.types.Collection) -> None:
    """Cameras hang on the object, so that they stay in register when it is moved, turned or scaled."""
    from mathutils import Matrix

    folder = data.collections.new(f"{made.name} Cameras")
    collection.children.link(folder)
    size = float(np.ptp(prepared.vertices, axis=0).max())
    for camera in prepared.cameras:
        added = add_camera(data, camera, camera.name)
        folder.objects.link(added)
        matrix = prepared.world_from_views @ blender_matrix(camera.world_from_camera)
        matrix[:3, :3] = camera_rotation(matrix)
        matrix[:3, 3] -= prepared.placement.base
        distance = float(np.linalg.norm(matrix[:3, 3]))
        added.parent = made
        added.matrix_local = Matrix(matrix.tolist())
        lens = added.data
        lens.display_size = CAMERA_SIZE * size  # type: ignore[union-attr]
        lens.clip_start = min(lens.clip_start, distance / 100)  # type: ignore[union-attr]
        lens.clip_end = max(lens.clip_end, distance * 10)  # type: ignore[union-attr]


def camera_rotation(matrix: np.ndarray) -> np.ndarray:
    """(4, 4) similarity -> its (3, 3) rotation: a Blender camera must not carry scale."""
    return matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)


def _properties(result: Result, engine_version: str) -> dict[str, Any]:
    info = result.info
    cameras = result.data.get("cameras", b"")
    kept = {CAMERAS_KEY: bytes(cameras).decode("utf-8", "replace")} if 0 < len(cameras) <= CAMERAS_BYTES else {}
    return {
        **kept,
        JOB_KEY: info.job,
        METHOD_KEY: info.method,
        SETTINGS_KEY: json.dumps(dict(info.settings), sort_keys=True),
        ENGINE_KEY: engine_version,
        DEVICE_KEY: str(info.summary.get("device", "")),
        SECONDS_KEY: float(info.summary.get("seconds", 0.0)),
    }


def _data(result: Result, name: str) -> memoryview:
    if name not in result.data or name not in result.artefacts:
        raise BadFrame(f"The engine's result has no {name}.")
    return result.data[name]


def _masks(result: Result) -> bytes:
    if "mask" in result.artefacts:
        return archive_of_mask(bytes(_data(result, "mask")), result.info.summary)
    return bytes(_data(result, "masks")) if "masks" in result.artefacts else b""


def _array(result: Result, name: str) -> np.ndarray:
    data, artefact = _data(result, name), result.artefacts[name]
    try:
        return np.frombuffer(data, dtype=f"<{artefact.dtype}").reshape(artefact.shape)
    except (TypeError, ValueError) as error:
        raise BadFrame(f"The engine's {name} do not fit {artefact.dtype} {artefact.shape}.") from error


def _json(result: Result, name: str) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(bytes(_data(result, name)))
    except ValueError as error:
        raise BadFrame(f"The engine's {name} cannot be read.") from error
    if not isinstance(found, list):
        raise BadFrame(f"The engine's {name} are not a list.")
    return found


def slipcast_collection(data: bpy.types.BlendData, scene: bpy.types.Scene) -> bpy.types.Collection:
    """The scene's own collection "Slipcast" (another scene of the file may have one, too)."""
    for found in scene.collection.children_recursive:
        if found.name.partition(".")[0] == COLLECTION_NAME and found.library is None:
            return found
    made = data.collections.new(COLLECTION_NAME)
    scene.collection.children.link(made)
    return made


def _select_only(made: bpy.types.Object, view_layer: bpy.types.ViewLayer) -> None:
    view_layer.update()                      # it learns of new objects only now
    if made.name not in view_layer.objects:  # an artist may have excluded the collection from this view layer
        return
    for other in view_layer.objects.selected:
        other.select_set(False, view_layer=view_layer)
    made.select_set(True, view_layer=view_layer)
    view_layer.objects.active = made
