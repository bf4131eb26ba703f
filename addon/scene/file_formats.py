"""Meshes as the bytes of files for other programs: glTF binary, STL, PLY. No bpy.

vertices: (V, 3), Z up. faces: (F, 3) int32. corner_uvs: (F, 3, 2), origin at the bottom left.
Sources: glTF 2.0, 3.6 and 4.4; binary STL; PLY 1.0.
"""
from __future__ import annotations

import json
import struct

import numpy as np

from ...bridge.surface import ROUGHNESS

_FLOAT, _UINT = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def stl_bytes(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Triangles only, Z up, units as they are: the format has no place for more."""
    corners = vertices[faces].astype(np.float32)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    rows["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    rows["corners"] = corners
    return b"Slipcast, Z up".ljust(80) + struct.pack("<I", len(faces)) + rows.tobytes()


def ply_bytes(vertices: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray) -> bytes:
    """Shared vertices, Z up, texture coordinates at the corners of the faces ("texcoord")."""
    head = ("ply\nformat binary_little_endian 1.0\ncomment Slipcast, Z up\n"
            f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
            f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
            "property list uchar float texcoord\nend_header\n")
    rows = np.empty(len(faces), [("count", "u1"), ("index", "<i4", 3), ("numbers", "u1"), ("uvs", "<f4", 6)])
    rows["count"], rows["index"], rows["numbers"], rows["uvs"] = 3, faces, 6, corner_uvs.reshape(-1, 6)
    return head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def glb_bytes(name: str, vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray,
              png: bytes, normal_png: bytes = b"") -> bytes:
    """Mesh, normals (V, 3), texture coordinates, the base colour `png` and, if there is one, the tangent space normal
    map `normal_png` (OpenGL) in one file, Y up."""
    source, uvs, index = _split_at_seams(faces, corner_uvs)
    parts = [_y_up(vertices)[source].astype("<f4"), _y_up(normals)[source].astype("<f4"),
             np.stack([uvs[:, 0], 1 - uvs[:, 1]], -1).astype("<f4"), index.astype("<u4")]
    views, data = [], b""
    for part, target in zip(parts, (_VERTEX_BUFFER, _VERTEX_BUFFER, _VERTEX_BUFFER, _INDEX_BUFFER)):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": part.nbytes, "target": target})
        data += part.tobytes()          # of 4 byte items: aligned by itself
    for picture in filter(None, (png, normal_png)):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(picture)})
        data += picture + b"\0" * (-len(picture) % 4)
    text = json.dumps(_description(name, parts, views, len(data)), separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data))
    return (head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data)


def _description(name: str, parts: list[np.ndarray], views: list[dict], length: int) -> dict:
    kinds = ("VEC3", "VEC3", "VEC2", "SCALAR")
    accessors = [{"bufferView": number, "componentType": _UINT if kind == "SCALAR" else _FLOAT, "type": kind,
                  "count": part.size if kind == "SCALAR" else len(part)}
                 for number, (part, kind) in enumerate(zip(parts, kinds))]
    material: dict = {"name": name, "pbrMetallicRoughness": {
        "baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}}
    if len(views) > 5:
        material["normalTexture"] = {"index": 1}
    accessors[0] |= {"min": parts[0].min(0).tolist(), "max": parts[0].max(0).tolist()}
    return {"asset": {"version": "2.0", "generator": "Slipcast"}, "scene": 0, "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": name}], "buffers": [{"byteLength": length}], "bufferViews": views,
            "accessors": accessors,
            "images": [{"bufferView": number, "mimeType": "image/png"} for number in range(4, len(views))],
            "textures": [{"source": number} for number in range(len(views) - 4)], "materials": [material],
            "meshes": [{"name": name, "primitives": [{
                "attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}]}]}


def _split_at_seams(faces: np.ndarray, corner_uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One vertex for each pair of vertex and texture coordinate: (its vertex (N,), its UV (N, 2), faces (F, 3))."""
    uvs = np.ascontiguousarray(corner_uvs.reshape(-1, 2), np.float32)
    keys = np.empty(faces.size, [("vertex", "<i8"), ("uv", "<u8")])
    keys["vertex"], keys["uv"] = faces.ravel(), uvs.view("<u8")[:, 0]
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return faces.ravel()[first], uvs[first], index.reshape(-1, 3)


def smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit, of the faces around each vertex by their areas."""
    corners = vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).repeat(3, axis=0)
    total = np.stack([np.bincount(faces.ravel(), normals[:, axis], len(vertices)) for axis in range(3)], -1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(lengths > 0, total / np.maximum(lengths, 1e-300), (0.0, 0.0, 1.0))


def _y_up(points: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], -1)
