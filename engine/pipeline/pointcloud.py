"""Read the positions of a PLY file (ASCII or binary): the sparse points that come with some view folders."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ...bridge.errors import BadFolder

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
          "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
          "float32": "f4", "float64": "f8"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


class _Damaged(ValueError):
    """Its text says to the person what is wrong."""


def read_ply_points(path: Path, name: str) -> np.ndarray:
    """Positions of a PLY's vertices: (N, 3) float64, in the file's own world. Points that are not finite are dropped.

    name: how the person knows the file. Raises BadFolder when it is not a PLY, has no x y z, or is cut short.
    Source: the PLY format as described by Greg Turk; vertices must come first, as every exporter writes them.
    """
    data = path.read_bytes()
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise BadFolder(f"{name} is not a PLY point cloud.", "Export it again, or take ply_file_path out.")
    start = data.index(b"\n", end) + 1 if b"\n" in data[end:] else len(data)
    try:
        order, count, fields = _header(data[:end].decode("ascii"))
        layout = np.dtype([(field, ORDERS[order].replace("=", "<") + kind) for field, kind in fields])
        names = [field for field, _ in fields]
        missing = [axis for axis in "xyz" if axis not in names]
        if missing:
            raise _Damaged(f"its points have no {' and no '.join(missing)}")
        if order == "ascii":
            rows = data[start:].decode("ascii").splitlines()[:count]
            columns = [names.index(axis) for axis in "xyz"]
            points = np.array([[row.split()[column] for column in columns] for row in rows], dtype=np.float64)
        else:
            table = np.frombuffer(data, layout, min(count, (len(data) - start) // layout.itemsize), start)
            points = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=-1)
        if len(points) != count:
            raise _Damaged("it has fewer points than its header says")
    except (ValueError, KeyError, IndexError) as error:
        why = f": {error}" if isinstance(error, _Damaged) else ""     # Python's own words help nobody
        raise BadFolder(f"{name} is damaged{why}.", "Export it again, or take ply_file_path out.") from error
    points = points.reshape(-1, 3)
    return points[np.isfinite(points).all(axis=1)]


def _header(text: str) -> tuple[str, int, list[tuple[str, str]]]:
    order, count, fields, element = "", 0, [], ""
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["format"]:
            order = words[1]
        elif words[:1] == ["element"]:
            if not element and words[1] != "vertex":
                raise _Damaged("it does not begin with its vertices")
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        elif words[:1] == ["property"] and element == "vertex":
            if words[1] == "list":
                raise _Damaged("its vertices hold lists")
            fields.append((words[2], TYPES[words[1]]))
    return order, count, fields
