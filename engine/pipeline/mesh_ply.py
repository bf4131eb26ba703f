"""Read a PLY mesh, text or binary: positions, faces, texture coordinates, every number at the vertices.

Source: the PLY format as described by Greg Turk; names of properties as Blender, MeshLab and Open3D write them.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mesh_tables import Damaged, MeshTable, fans
from .pointcloud import ORDERS, TYPES

_UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_INDEX_NAMES = ("vertex_indices", "vertex_index")
Column = np.ndarray | tuple[np.ndarray, np.ndarray]      # numbers, or (lengths, all values in a row) of lists


@dataclass(frozen=True)
class _Element:
    """properties: (name, type, type of the count or None for a single number)."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


def read_ply(data: bytes) -> MeshTable:
    """The mesh of a PLY file's bytes, in its own axes. Raises Damaged."""
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise Damaged("it is not a PLY file")
    try:
        order, elements = _header(data[:end].decode("ascii", "replace"))
        start = data.index(b"\n", end) + 1
        columns = _text(data[start:], elements) if order == "ascii" else _binary(data, start, ORDERS[order], elements)
        vertex = columns["vertex"]
        places = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], -1)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise Damaged(f"it is cut short, or misses something ({error})") from error
    return _table(places, vertex, columns.get("face", {}))


def _header(text: str) -> tuple[str, list[_Element]]:
    order, elements = "", []
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["format"]:
            order = words[1]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[:1] == ["property"] and words[1] == "list":
            elements[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((words[2], TYPES[words[1]], None))
    return order, elements


def _text(body: bytes, elements: list[_Element]) -> dict[str, dict[str, Column]]:
    lines = [line.split() for line in body.splitlines() if line.strip()]
    found: dict[str, dict[str, Column]] = {}
    at = 0
    for element in elements:
        rows = lines[at:at + element.count]
        if len(rows) < element.count:
            raise ValueError(f"fewer rows of {element.name} than its header says")
        at += element.count
        cursor = [0] * len(rows)
        columns: dict[str, Column] = {}
        for name, kind, counted in element.properties:
            if counted is None:
                columns[name] = np.array([row[k] for row, k in zip(rows, cursor)], np.float64).astype(kind)
                cursor = [k + 1 for k in cursor]
                continue
            lengths = [int(row[k]) for row, k in zip(rows, cursor)]
            values = [value for row, k, n in zip(rows, cursor, lengths) for value in row[k + 1:k + 1 + n]]
            if len(values) != sum(lengths):
                raise ValueError(f"a row of {element.name} ends early")
            columns[name] = np.array(lengths, np.int64), np.array(values, np.float64).astype(kind)
            cursor = [k + 1 + n for k, n in zip(cursor, lengths)]
        found[element.name] = columns
    return found


def _binary(data: bytes, at: int, order: str, elements: list[_Element]) -> dict[str, dict[str, Column]]:
    found: dict[str, dict[str, Column]] = {}
    for element in elements:
        found[element.name], at = _rows(data, at, order, element)
    return found


def _rows(data: bytes, at: int, order: str, element: _Element) -> tuple[dict[str, Column], int]:
    """All rows at once when the lists of all of them are as long as those of the first, else one by one."""
    lengths = _lengths_of_row(data, at, order, element) if element.count else {}
    fields = []
    for number, (_, kind, counted) in enumerate(element.properties):
        if counted is not None:
            fields.append((f"n{number}", order + counted))
        fields.append((f"p{number}", order + kind, (lengths.get(number, 0),)) if counted is not None
                      else (f"p{number}", order + kind))
    layout = np.dtype(fields)
    if element.count and at + layout.itemsize * element.count <= len(data):
        table = np.frombuffer(data, layout, element.count, at)
        if all((table[f"n{number}"] == length).all() for number, length in lengths.items()):
            columns: dict[str, Column] = {}
            for number, (name, _, counted) in enumerate(element.properties):
                values = table[f"p{number}"]
                columns[name] = values if counted is None else (table[f"n{number}"].astype(np.int64), values.ravel())
            return columns, at + layout.itemsize * element.count
    return _rows_one_by_one(data, at, order, element)


def _lengths_of_row(data: bytes, at: int, order: str, element: _Element) -> dict[int, int]:
    lengths = {}
    for number, (_, kind, counted) in enumerate(element.properties):
        if counted is None:
            at += np.dtype(kind).itemsize
            continue
        lengths[number] = int(np.frombuffer(data, order + counted, 1, at)[0])
        at += np.dtype(counted).itemsize + lengths[number] * np.dtype(kind).itemsize
    if any(length < 0 for length in lengths.values()):
        raise ValueError(f"a list of {element.name} has less than no values")
    return lengths


def _rows_one_by_one(data: bytes, at: int, order: str, element: _Element) -> tuple[dict[str, Column], int]:
    parts: dict[str, list[np.ndarray]] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, kind, counted in element.properties:
            count = 1
            if counted is not None:
                count = int(np.frombuffer(data, order + counted, 1, at)[0])
                at += np.dtype(counted).itemsize
            if count < 0:
                raise ValueError(f"a list of {element.name} has less than no values")
            parts[name].append(np.frombuffer(data, order + kind, count, at))
            at += count * np.dtype(kind).itemsize
    columns: dict[str, Column] = {}
    for name, kind, counted in element.properties:
        values = np.concatenate(parts[name]) if parts[name] else np.zeros(0, kind)
        columns[name] = values if counted is None else (np.array([len(each) for each in parts[name]], np.int64), values)
    return columns, at


def _table(places: np.ndarray, vertex: dict[str, Column], face: dict[str, Column]) -> MeshTable:
    index = next((face[name] for name in _INDEX_NAMES if name in face), None)
    if not isinstance(index, tuple):
        return MeshTable(places, np.zeros((0, 3), np.int64), None, {})
    lengths, values = index
    triangles, turned = fans(lengths)
    faces = values.astype(np.int64)[triangles]
    numbers = {name: column for name, column in vertex.items() if isinstance(column, np.ndarray)}
    uvs, split = None, False
    texture = face.get("texcoord")
    pair = next((pair for pair in _UV_NAMES if all(name in numbers for name in pair)), None)
    if isinstance(texture, tuple) and len(texture[1]) == 2 * len(values):
        uvs = texture[1].reshape(-1, 2)[triangles].astype(np.float32)
    elif pair is not None and len(faces) and faces.min() >= 0 and faces.max() < len(places):
        uvs = np.stack([numbers[name] for name in pair], -1)[faces].astype(np.float32)
        split = True
    attributes = {name: column for name, column in numbers.items() if name not in "xyz" and name not in (pair or ())}
    return MeshTable(places, faces, uvs, attributes, (turned,) if turned else (), split)
