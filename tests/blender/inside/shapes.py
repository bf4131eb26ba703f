"""Small meshes, pictures and results to put into scenes."""
from __future__ import annotations

import json
import struct
import zlib

import numpy as np
from bl_ext.user_default.slipcast.bridge.events import Result
from bl_ext.user_default.slipcast.bridge.messages import Artefact, JobInfo


def grid(n: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bumpy sheet: vertices (n*n, 3) f4, faces (2(n-1)^2, 3) i4, corner_uvs (F, 3, 2) f4, all different."""
    side = np.linspace(0.05, 0.95, n, dtype=np.float32)
    x, y = np.meshgrid(side, side, indexing="ij")
    vertices = np.stack([x * 3 - 7, y * 2 + 1, 0.2 * np.sin(9 * x + 4 * y) + 5], axis=-1).reshape(-1, 3)
    index = np.arange(n * n, dtype=np.int32).reshape(n, n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    uvs = np.stack([x, y], -1).reshape(-1, 2)[faces]
    return vertices.astype(np.float32), faces, np.ascontiguousarray(uvs + np.float32(0.01) * np.arange(3)[:, None])\
        .astype(np.float32)


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3 or 4) uint8, row 0 on top -> PNG bytes. Source: PNG specification, filter 0."""
    height, width = pixels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[pixels.shape[2]], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(width: int = 16, height: int = 8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cameras() -> list[dict]:
    """Two, one with a principal point off centre and oblong pixels; OpenCV axes, world of the mesh."""
    first = np.eye(4)
    first[:3, 3] = (-5.5, 2.0, -4.0)
    turn = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    second = np.eye(4)
    second[:3, :3], second[:3, 3] = turn, (3.0, 2.0, 5.0)
    return [{"name": "views/a.png", "width": 640, "height": 480, "fx": 700.0, "fy": 700.0, "cx": 320.0, "cy": 240.0,
             "world_from_camera": first.tolist()},
            {"name": "b", "width": 500, "height": 700, "fx": 610.0, "fy": 590.0, "cx": 241.5, "cy": 366.25,
             "world_from_camera": second.tolist()}]


def result(job: str = "0" * 32, n: int = 12, texture: bytes | None = None, normal_map: bytes | None = None) -> Result:
    """A finished job as the client hands it out."""
    vertices, faces, uvs = grid(n)
    data = {"vertices": vertices.tobytes(), "faces": faces.tobytes(), "corner_uvs": uvs.tobytes(),
            "base_color": texture if texture is not None else png(picture()), "cameras": json.dumps(cameras()).encode()}
    if normal_map is not None:
        data["normal_map"] = normal_map
    shapes = {"vertices": ("f4", vertices.shape), "faces": ("i4", faces.shape), "corner_uvs": ("f4", uvs.shape)}
    artefacts = {name: Artefact(name, "array" if name in shapes else "application/octet-stream", len(held), "0" * 64,
                                *shapes.get(name, ("", ()))) for name, held in data.items()}
    info = JobInfo(job, "views", "done", 5, 1, 0.0, settings={"quality": "draft", "seed": 7},
                   artefacts=tuple(artefacts.values()),
                   summary={"device": "cpu", "seconds": 1.5, "stages": [["hull", 1.0]], "warnings": ["look at view 3"]})
    return Result(info, artefacts, {name: memoryview(held) for name, held in data.items()})
