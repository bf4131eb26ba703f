"""The binary form of glTF 2.0: one mesh, one material, embedded textures."""
from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
FLOAT, UNSIGNED_INT = 5126, 5125
LINEAR, LINEAR_MIPMAP, REPEAT_NOT = 9729, 9987, 33071
WIDTHS = {2: "VEC2", 3: "VEC3", 4: "VEC4"}


def glb_bytes(columns: Mapping[str, np.ndarray], faces: np.ndarray, base_color: bytes, normal_map: bytes | None,
              name: str, roughness: float) -> bytes:
    """A .glb file. columns: POSITION, NORMAL (V, 3), Y up; TEXCOORD_0 (V, 2), v down; if wanted TANGENT (V, 4), last
    the handedness. faces: (F, 3). base_color, normal_map: PNG files.

    Source: Khronos glTF 2.0 specification, chapters 3 and 4.
    """
    tables = {key: np.ascontiguousarray(column, "<f4") for key, column in columns.items()}
    pictures = [base_color] if normal_map is None else [base_color, normal_map]
    parts = [*(table.tobytes() for table in tables.values()), faces.astype("<u4").tobytes(), *pictures]
    padded = [part + b"\0" * (-len(part) % 4) for part in parts]
    offsets = np.cumsum([0, *(len(part) for part in padded)]).tolist()
    targets = [*[ARRAY_BUFFER] * len(tables), ELEMENT_BUFFER, *[None] * len(pictures)]
    views = [{"buffer": 0, "byteOffset": offset, "byteLength": len(part)} | ({"target": target} if target else {})
             for offset, part, target in zip(offsets, parts, targets)]
    material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": {
        "baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": roughness}}
    if normal_map is not None:
        material["normalTexture"] = {"index": 1}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Slipcast"},
        "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [{"attributes": {key: number for number, key in enumerate(tables)},
                                                  "indices": len(tables), "material": 0}]}],
        "materials": [material],
        "textures": [{"source": number, "sampler": 0} for number in range(len(pictures))],
        "images": [{"bufferView": len(tables) + 1 + number, "mimeType": "image/png", "name": label}
                   for number, label in zip(range(len(pictures)), (name, f"{name} normal"))],
        "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP, "wrapS": REPEAT_NOT, "wrapT": REPEAT_NOT}],
        "accessors": [*_accessors(tables), {"bufferView": len(tables), "componentType": UNSIGNED_INT,
                                            "count": int(faces.size), "type": "SCALAR"}],
        "bufferViews": views, "buffers": [{"byteLength": offsets[-1]}]}
    return _file(document, b"".join(padded))


def _accessors(tables: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    rows = []
    for number, (key, table) in enumerate(tables.items()):
        row: dict[str, Any] = {"bufferView": number, "componentType": FLOAT, "count": len(table),
                               "type": WIDTHS[table.shape[1]]}
        if key == "POSITION":      # the only one whose range must be told
            row |= {"min": table.min(0).tolist(), "max": table.max(0).tolist()}
        rows.append(row)
    return rows


def _file(document: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return (struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(body))
            + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body)
