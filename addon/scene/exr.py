"""OpenEXR files, as little as is needed to take Blender's render passes apart. No bpy.

Blender gives a script no pixels of a pass; it only writes them, all passes of a view into one file. Here that file is
read and each pass written into one of its own, which every program opens.
Source: OpenEXR file layout, scan line images: https://openexr.com/en/latest/OpenEXRFileLayout.html
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...bridge.errors import BadImage

_MAGIC = b"\x76\x2f\x31\x01"
_TILED_DEEP_OR_PARTS = 0x200 | 0x800 | 0x1000
_NONE, _ZIP = 0, 3
_ROWS_PER_ZIP_BLOCK = 16
_DTYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_KINDS = {dtype: kind for kind, dtype in _DTYPES.items()}


def read_exr(path: Path) -> dict[str, np.ndarray]:
    """Channel name -> (H, W) array, row 0 on top, of an uncompressed scan line file with one part.

    Raises BadImage for any other file, or one that ends early.
    """
    data = path.read_bytes()
    try:
        return _read(data)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise BadImage(f"The passes that Blender rendered into {path.name} cannot be read ({error}).") from error


def _read(data: bytes) -> dict[str, np.ndarray]:
    if data[:4] != _MAGIC or struct.unpack_from("<I", data, 4)[0] & _TILED_DEEP_OR_PARTS:
        raise ValueError("not a scan line file with one part")
    header, place = _header(data)
    if header["compression"] != bytes([_NONE]):
        raise ValueError("compressed")
    x0, y0, x1, y1 = struct.unpack("<4i", header["dataWindow"])
    width, height = x1 - x0 + 1, y1 - y0 + 1
    row = np.dtype([("y", "<i4"), ("size", "<i4")] + [(name, dtype, (width,)) for name, dtype in
                                                      _channels(header["channels"])])
    # Blender writes the rows one after another, from the top or from the bottom
    rows = np.frombuffer(data, row, height, place + 8 * height)
    order = np.argsort(rows["y"], kind="stable")
    if not np.array_equal(rows["y"][order], np.arange(y0, y1 + 1)):
        raise ValueError("rows are missing")
    return {name: rows[name][order] for name in row.names[2:]}  # type: ignore[index]


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    """(attribute name -> its bytes, where the header ends)."""
    found, place = {}, 8
    while data[place]:
        name_end = data.index(b"\0", place)
        type_end = data.index(b"\0", name_end + 1)
        size, = struct.unpack_from("<i", data, type_end + 1)
        found[data[place:name_end].decode()] = data[type_end + 5:type_end + 5 + size]
        place = type_end + 5 + size
    return found, place + 1


def _channels(listed: bytes) -> list[tuple[str, np.dtype]]:
    found, place = [], 0
    while listed[place]:
        end = listed.index(b"\0", place)
        kind, _, sampling_x, sampling_y = struct.unpack_from("<4i", listed, end + 1)
        if (sampling_x, sampling_y) != (1, 1):
            raise ValueError("channels of several sizes")
        found.append((listed[place:end].decode(), _DTYPES[kind]))
        place = end + 17
    return found


def exr_bytes(channels: Mapping[str, np.ndarray]) -> bytes:
    """An OpenEXR file, ZIP compressed, of channels of one size.

    channels: name -> (H, W) float16, float32 or uint32, row 0 on top.
    """
    names = sorted(channels)   # the format wants them sorted
    height, width = channels[names[0]].shape
    kinds = [_KINDS[channels[name].dtype.newbyteorder("<")] for name in names]
    listed = b"".join(name.encode() + b"\0" + struct.pack("<i4x2i", kind, 1, 1)
                      for name, kind in zip(names, kinds)) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    attributes = (("channels", "chlist", listed), ("compression", "compression", bytes([_ZIP])),
                  ("dataWindow", "box2i", window), ("displayWindow", "box2i", window),
                  ("lineOrder", "lineOrder", b"\0"), ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
                  ("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
                  ("screenWindowWidth", "float", struct.pack("<f", 1.0)))
    header = _MAGIC + struct.pack("<I", 2) + b"".join(
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in attributes) + b"\0"
    blocks = [_zip_block(channels, names, first, min(first + _ROWS_PER_ZIP_BLOCK, height))
              for first in range(0, height, _ROWS_PER_ZIP_BLOCK)]
    starts = np.cumsum([len(header) + 8 * len(blocks), *(len(block) for block in blocks[:-1])])
    return header + starts.astype("<u8").tobytes() + b"".join(blocks)


def _zip_block(channels: Mapping[str, np.ndarray], names: list[str], first: int, last: int) -> bytes:
    raw = b"".join(np.ascontiguousarray(channels[name][row]).tobytes() for row in range(first, last) for name in names)
    given = np.frombuffer(raw, np.uint8)
    # low bytes first, then high bytes, each as the difference to the one before
    turned = np.concatenate([given[0::2], given[1::2]])
    turned[1:] = turned[1:] - turned[:-1] + np.uint8(128)
    packed = zlib.compress(turned.tobytes(), 4)
    body = packed if len(packed) < len(raw) else raw
    return struct.pack("<2i", first, len(body)) + body
