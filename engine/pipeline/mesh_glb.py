"""Read the triangles of a binary glTF 2.0 file: places of its nodes, texture coordinates, attributes of the vertices.

Source: Khronos glTF 2.0 specification, chapters 3 to 5.
"""
from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from .mesh_tables import Damaged, MeshTable

_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES = 4
_PACKERS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
_DEEPEST = 200


def read_glb(data: bytes) -> MeshTable:
    """All triangles of the scene's nodes, in the file's axes (Y up), as one mesh. Raises Damaged."""
    try:
        document, body = _chunks(data)
        packed = [name for name in _PACKERS if name in document.get("extensionsRequired", ())]
        if packed:
            raise Damaged("it is compressed; export it without compression")
        placed = _placed_meshes(document)
        parts = [_part(document, body, primitive, place) for number, place in placed
                 for primitive in document["meshes"][number]["primitives"]]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise Damaged(f"it is cut short or makes no sense ({error!r})") from error
    if not parts:
        raise Damaged("there is no mesh in it")
    origin = placed[0][1][:3, 3] if len(placed) == 1 else np.zeros(3)
    return _together(parts, origin)


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF" or version != 2:
        raise Damaged("it is no binary glTF 2.0 file")
    if length > len(data):
        raise Damaged("it is cut short")
    size, kind = struct.unpack_from("<I4s", data, 12)
    if kind != b"JSON":
        raise Damaged("its first part is not JSON")
    document = json.loads(data[20:20 + size])
    at, body = 20 + size, b""
    if at + 8 <= length:
        count, _ = struct.unpack_from("<I4s", data, at)
        body = data[at + 8:at + 8 + count]
    if not isinstance(document, dict):
        raise Damaged("it describes nothing")
    return document, body


def _placed_meshes(document: dict[str, Any]) -> list[tuple[int, np.ndarray]]:
    """(number of a mesh, (4, 4) float64 world from mesh) of each node of the scene that shows one."""
    nodes = document.get("nodes", [])
    scenes = document.get("scenes")
    roots = scenes[document.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
    found: list[tuple[int, np.ndarray]] = []
    waiting = [(root, np.eye(4), 0) for root in reversed(list(roots))]
    while waiting:
        number, above, depth = waiting.pop()
        if depth > _DEEPEST:
            raise Damaged("its nodes hold each other")
        node = nodes[number]
        place = above @ _placement(node)
        if "mesh" in node:
            found.append((node["mesh"], place))
        waiting += [(child, place, depth + 1) for child in reversed(node.get("children", []))]
    return found


def _placement(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    turn = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    place = np.eye(4)
    place[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    place[:3, 3] = node.get("translation", (0, 0, 0))
    return place


def _part(document: dict[str, Any], body: bytes, primitive: dict[str, Any], place: np.ndarray) -> MeshTable:
    if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
        raise Damaged("it holds lines, points or strips instead of triangles")
    columns = {name: _accessor(document, body, number) for name, number in primitive["attributes"].items()}
    places = columns.pop("POSITION").astype(np.float64)
    index = (_accessor(document, body, primitive["indices"])[:, 0].astype(np.int64) if "indices" in primitive
             else np.arange(len(places)))
    faces = index[:len(index) // 3 * 3].reshape(-1, 3)
    if len(faces) and faces.max() >= len(places):
        raise Damaged("faces name vertices that are not there")
    if np.linalg.det(place[:3, :3]) < 0:
        faces = faces[:, ::-1]     # a mirrored node turns its faces over
    uv = columns.pop("TEXCOORD_0", None)
    if uv is not None:
        uv = _as_float(uv)
    uvs = None if uv is None else np.stack([uv[faces, 0], 1 - uv[faces, 1]], -1).astype(np.float32)
    attributes = {name: _as_float(column)[:, 0] for name, column in columns.items()
                  if name.startswith(("_", "COLOR")) and len(column) == len(places)}
    return MeshTable(places @ place[:3, :3].T + place[:3, 3], faces, uvs, attributes, split=True)


def _as_float(column: np.ndarray) -> np.ndarray:
    """Whole numbers of a glTF attribute are parts of their type's largest."""
    if np.issubdtype(column.dtype, np.floating):
        return column
    return column.astype(np.float64) / np.iinfo(column.dtype).max


def _accessor(document: dict[str, Any], body: bytes, number: int) -> np.ndarray:
    """(count, width) in the accessor's own type."""
    accessor = document["accessors"][number]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise Damaged("it holds sparse numbers; export it again without shape keys")
    view = document["bufferViews"][accessor["bufferView"]]
    if document["buffers"][view["buffer"]].get("uri"):
        raise Damaged("its numbers lie in another file")
    kind, width, count = np.dtype(_KINDS[accessor["componentType"]]), _WIDTHS[accessor["type"]], accessor["count"]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride") or kind.itemsize * width
    if count < 1:
        return np.zeros((0, width), kind)
    if start < 0 or start + (count - 1) * stride + kind.itemsize * width > len(body):
        raise Damaged("it is cut short")
    return np.ndarray((count, width), kind, body, start, (stride, kind.itemsize))


def _together(parts: list[MeshTable], origin: np.ndarray) -> MeshTable:
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    uvs = [part.corner_uvs for part in parts]
    known = set.intersection(*(set(part.attributes) for part in parts))
    bare = sum(each is None for each in uvs)
    warnings = ((f"{bare} of {len(uvs)} parts of the mesh have no texture coordinates, so none are used.",)
                if 0 < bare < len(uvs) else ())
    return MeshTable(np.concatenate([part.vertices for part in parts]),
                     np.concatenate([part.faces + offset for part, offset in zip(parts, offsets)]),
                     None if bare else np.concatenate([each for each in uvs if each is not None]),
                     {name: np.concatenate([part.attributes[name] for part in parts]) for name in sorted(known)},
                     warnings, True, origin)
