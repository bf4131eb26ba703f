"""The binary form of glTF 2.0: one mesh, one material, one embedded texture."""
from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
FLOAT, UNSIGNED_INT = 5126, 5125
LINEAR, LINEAR_MIPMAP, REPEAT_NOT = 9729, 9987, 33071


def glb_bytes(positions: np.ndarray, normals: np.ndarray, uvs: np.ndarray, faces: np.ndarray, png: bytes, name: str,
              roughness: float) -> bytes:
    """A .glb file. positions, normals: (V, 3), Y up. uvs: (V, 2), v down. faces: (F, 3).

    Source: Khronos glTF 2.0 specification, chapters 3 and 4.
    """
    parts = [positions.astype("<f4").tobytes(), normals.astype("<f4").tobytes(), uvs.astype("<f4").tobytes(),
             faces.astype("<u4").tobytes(), png]
    padded = [part + b"\0" * (-len(part) % 4) for part in parts]
    offsets = np.cumsum([0, *(len(part) for part in padded)]).tolist()
    targets = [ARRAY_BUFFER, ARRAY_BUFFER, ARRAY_BUFFER, ELEMENT_BUFFER, None]
    views = [{"buffer": 0, "byteOffset": offset, "byteLength": len(part)} | ({"target": target} if target else {})
             for offset, part, target in zip(offsets, parts, targets)]
    low, high = positions.astype("<f4").min(0).tolist(), positions.astype("<f4").max(0).tolist()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Slipcast"},
        "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2},
                                                  "indices": 3, "material": 0}]}],
        "materials": [{"name": name, "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": roughness}}],
        "textures": [{"source": 0, "sampler": 0}], "images": [{"bufferView": 4, "mimeType": "image/png", "name": name}],
        "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP, "wrapS": REPEAT_NOT, "wrapT": REPEAT_NOT}],
        "accessors": [
            {"bufferView": 0, "componentType": FLOAT, "count": len(positions), "type": "VEC3", "min": low, "max": high},
            {"bufferView": 1, "componentType": FLOAT, "count": len(positions), "type": "VEC3"},
            {"bufferView": 2, "componentType": FLOAT, "count": len(positions), "type": "VEC2"},
            {"bufferView": 3, "componentType": UNSIGNED_INT, "count": int(faces.size), "type": "SCALAR"}],
        "bufferViews": views, "buffers": [{"byteLength": offsets[-1]}]}
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(padded)
    return (struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(body))
            + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body)
