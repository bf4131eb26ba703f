"""How a picture file says that it is to be turned: Blender shows pictures as they are stored, the engine upright.

Source: Exif 2.32, 4.6.4 (tag 274) inside TIFF 6.0; where each format keeps that block: JPEG APP1, PNG eXIf, WebP EXIF.
"""
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from .images import PNG_SIGNATURE

UPRIGHT = 1
ORIENTATION_TAG = 274
HEAD_BYTES = 256 * 1024     # cameras write it at the beginning
TAIL_BYTES = 256 * 1024     # WebP keeps it at the end


def exif_orientation(path: Path) -> int:
    """1 to 8 as Exif counts; 1 (upright) where the file says nothing, or nothing that can be read."""
    try:
        with path.open("rb") as file:
            data = file.read(HEAD_BYTES)
            if data[:4] == b"RIFF" and len(data) == HEAD_BYTES:
                file.seek(max(HEAD_BYTES, path.stat().st_size - TAIL_BYTES))
                data += file.read()
    except OSError:     # whoever reads the picture itself says so
        return UPRIGHT
    start = _tiff_start(data)
    if start is None:
        return UPRIGHT
    try:
        return _orientation(data[start:])
    except struct.error:    # cut short
        return UPRIGHT


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C), row 0 at the BOTTOM, as it is stored -> as it is to be seen. orientation: as Exif counts."""
    stored = pixels[::-1]
    turned = {2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
              5: lambda p: p.swapaxes(0, 1), 6: lambda p: p.swapaxes(0, 1)[:, ::-1],
              7: lambda p: p.swapaxes(0, 1)[::-1, ::-1], 8: lambda p: p.swapaxes(0, 1)[::-1]}
    return np.ascontiguousarray(turned[orientation](stored)[::-1]) if orientation in turned else pixels


def _tiff_start(data: bytes) -> int | None:
    if data[:2] == b"\xff\xd8":
        found = data.find(b"Exif\0\0")
        return None if found < 0 else found + 6
    if data.startswith(PNG_SIGNATURE):
        found = data.find(b"eXIf")
        return None if found < 0 else found + 4
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = data.find(b"EXIF")
        if found < 0:
            return None
        return found + (14 if data[found + 8:found + 14] == b"Exif\0\0" else 8)
    return None


def _orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    place = struct.unpack_from(f"{order}I", tiff, 4)[0]
    for index in range(struct.unpack_from(f"{order}H", tiff, place)[0]):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, place + 2 + 12 * index)
        if tag == ORIENTATION_TAG and kind == 3 and count == 1:
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
