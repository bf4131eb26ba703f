"""Read an artist's mesh: .glb, .obj, .ply, .stl or .npz, with its texture coordinates and the weights of its vertices.

| suffix | axes of the file | texture coordinates | weights |
|---|---|---|---|
| .glb | Y up | TEXCOORD_0 | an attribute of the vertices; custom ones begin with _ |
| .obj | Y up | vt | none |
| .ply | Blender's world | s t or u v of the vertices, texcoord of the faces | a property of the vertices |
| .stl | Blender's world | none | none |
| .npz | Blender's world | corner_uvs | an array; "weights" is taken without being asked for |

Faces keep their order and corners; faces with more corners become fans of triangles. Formats that split a vertex at
seams (.glb, .stl, .ply with texture coordinates at its vertices) have their vertices of one place joined again.
"""
from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...bridge.errors import BadMesh
from .mesh_glb import read_glb
from .mesh_ply import read_ply
from .mesh_tables import Damaged, MeshTable, fans
from .normals import face_normals
from .types import Mesh

MAX_FACES = 5_000_000
MAX_BYTES = 2 * 1024**3
MESH_SUFFIXES = (".glb", ".obj", ".ply", ".stl", ".npz")
_ASSOCIATED = "Save the mesh as .ply or .glb with the weights as an attribute of its vertices."


@dataclass(frozen=True)
class MeshFile:
    """What a file says. mesh: world (docs/conventions.md), not repaired. corner_uvs: (F, 3, 2) float32 or None.

    weights: (V,) float64 as they are in the file, or None: none were asked for. origin: (3,) float64, world, of the
    object. warnings: for a person. axes: (3, 3) float64, rows are unit normals of the object's own planes (where its
    x, y, z are 0) in the world; None: the world's axes.
    """

    mesh: Mesh
    corner_uvs: np.ndarray | None
    weights: np.ndarray | None
    origin: np.ndarray
    warnings: tuple[str, ...] = field(default=())
    axes: np.ndarray | None = None


def read_mesh(path: Path, suffix: str, weights: str = "") -> MeshFile:
    """Read a mesh. suffix: one of MESH_SUFFIXES, whatever the file is called. weights: name of an attribute, or "".

    Raises BadMesh: not readable, damaged, no faces, numbers that are none, an attribute that is not there.
    """
    _check_suffix(suffix)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadMesh("The mesh file is larger than 2 GB.", "Decimate the mesh first.")
        table = _READERS[suffix.lower()](path.read_bytes())
    except OSError as error:
        raise BadMesh(f"The mesh cannot be read: {error.strerror}.", "Check that it is there.") from error
    except Damaged as error:
        raise BadMesh(f"The mesh cannot be read as {suffix.lower()}: {error}.", "Export it again.") from error
    _check(table)
    found = _weights(table, suffix.lower(), weights)
    mesh = Mesh(np.ascontiguousarray(table.vertices, np.float32), np.ascontiguousarray(table.faces, np.int32))
    result = MeshFile(mesh, table.corner_uvs, found, table.origin, table.warnings, table.axes)
    return _joined(result) if table.split else result


def check_mesh_file(path: Path) -> None:
    """Raises BadMesh when there is no such file, or its suffix is none that is read. Nothing is opened."""
    _check_suffix(path.suffix)
    if path.is_dir():
        raise BadMesh(f"{path} is a folder.", "Name a mesh in it.")
    if not path.is_file():
        raise BadMesh(f"{path} does not exist.", "Name the mesh that is to be refined.")


def _check_suffix(suffix: str) -> None:
    if suffix.lower() not in _READERS:
        raise BadMesh(f"Slipcast does not read meshes from {suffix or 'files without a suffix'}.",
                      f"Use one of {', '.join(MESH_SUFFIXES)}.")


def _check(table: MeshTable) -> None:
    if not len(table.faces):
        raise BadMesh("The mesh has no faces.", "Give a mesh with a surface, not a cloud of points.")
    if len(table.faces) > MAX_FACES:
        raise BadMesh(f"The mesh has {len(table.faces):,} faces; at most {MAX_FACES:,} are read.", "Decimate it first.")
    if table.faces.min() < 0 or table.faces.max() >= len(table.vertices):
        raise BadMesh("Faces of the mesh name vertices that are not there.", "Export the mesh again.")
    with np.errstate(over="ignore"):
        usable = np.isfinite(table.vertices.astype(np.float32)).all(1)
    bad = int((~usable).sum())
    if bad:
        raise BadMesh(f"{bad} vertices of the mesh have a position that is not a number (NaN) or too large.",
                      "Remove them, or export the mesh again.")
    if not (face_normals(table.vertices, table.faces) != 0).any():
        raise BadMesh("All faces of the mesh have no area.", "Give a mesh with a surface.")
    if table.corner_uvs is not None and not np.isfinite(table.corner_uvs).all():
        raise BadMesh("Texture coordinates of the mesh are not all numbers (NaN).", "Unwrap the mesh again.")


def _weights(table: MeshTable, suffix: str, name: str) -> np.ndarray | None:
    known = {key.lower().lstrip("_"): key for key in table.attributes}
    if not name and suffix == ".npz" and "weights" in known:
        name = "weights"
    if not name:
        return None
    if suffix in (".obj", ".stl"):
        raise BadMesh(f"{suffix} files hold no weights, so there is no attribute {name!r}.", _ASSOCIATED)
    key = known.get(name.lower().lstrip("_"))
    if key is None:
        there = ", ".join(sorted(table.attributes)) or "none"
        raise BadMesh(f"The mesh has no attribute {name!r} at its vertices; there are: {there}.",
                      "Give one of these, or export the attribute with the mesh.")
    values = table.attributes[key]
    if values.ndim > 1:
        values = values[:, 0]    # a colour: painted in grey, so its red will do
    if not len(values):
        raise BadMesh(f"The attribute {name!r} of the mesh is empty.", "Paint the weights, then export the mesh again.")
    if np.issubdtype(values.dtype, np.integer):
        values = values / float(np.iinfo(values.dtype).max)
    return values.astype(np.float64)


def _joined(read: MeshFile) -> MeshFile:
    """Vertices of one place as one, in the order of their first. The least weight holds."""
    _, first, group = np.unique(read.mesh.vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    group = rank[group.ravel()]
    weights = read.weights
    if weights is not None and weights.shape == group.shape:
        least = np.full(len(order), np.inf)
        np.minimum.at(least, group, weights)
        weights = least
    return replace(read, mesh=Mesh(read.mesh.vertices[first[order]], group[read.mesh.faces].astype(np.int32)),
                   weights=weights)


# ---------------------------------------------------------------- OBJ, STL, NPZ

def z_up(points: np.ndarray) -> np.ndarray:
    """(N, 3) of a world with Y up (x, y, z) to Blender's (x, -z, y): what export.y_up did, undone."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], -1)


def _read_obj(data: bytes) -> MeshTable:
    places, textures = [], []
    corners: list[list[tuple[int, int]]] = []
    try:
        for line in data.decode("utf-8", "replace").replace("\\\n", " ").splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] == "v":
                places.append([float(word) for word in words[1:4]])
            elif words[0] == "vt":
                textures.append([float(word) for word in (words[1:3] + ["0"])[:2]])
            elif words[0] == "f":
                corners.append([_obj_corner(word, len(places), len(textures)) for word in words[1:]])
        vertices = np.array(places, np.float64).reshape(-1, 3)
        uvs = np.array(textures, np.float32).reshape(-1, 2)
    except (ValueError, IndexError) as error:
        raise Damaged(f"a line makes no sense ({error})") from error
    triangles, turned = fans([len(face) for face in corners])
    flat = np.array([corner for face in corners for corner in face], np.int64).reshape(-1, 2)[triangles.ravel()]
    index = flat[:, 1].reshape(-1, 3)
    warnings = (turned,) if turned else ()
    if len(uvs) and len(index) and index.max() >= len(uvs):
        raise Damaged("faces name texture coordinates that are not there")
    whole = len(uvs) > 0 and len(index) > 0 and index.min() >= 0
    if not whole and (index >= 0).any():
        warnings += (f"{int((index < 0).any(1).sum())} faces of the mesh have no texture coordinates, so none are "
                     "used.",)
    return MeshTable(z_up(vertices), flat[:, 0].reshape(-1, 3), uvs[index] if whole else None, {}, warnings)


def _obj_corner(word: str, vertices: int, textures: int) -> tuple[int, int]:
    """(vertex, texture coordinate or -1), from 0. A file counts from 1, or backwards from the last one so far."""
    parts = word.split("/")
    vertex = int(parts[0])
    texture = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    return (vertex - 1 if vertex > 0 else vertices + vertex,
            texture - 1 if texture > 0 else textures + texture if texture < 0 else -1)


def _read_stl(data: bytes) -> MeshTable:
    layout = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    count = int(np.frombuffer(data, "<u4", 1, 80)[0]) if len(data) >= 84 else -1
    if count >= 0 and len(data) >= 84 + count * layout.itemsize and not _is_text(data):
        soup = np.frombuffer(data, layout, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
    elif data.lstrip()[:5].lower() == b"solid":
        try:
            soup = np.array([words[1:4] for words in map(bytes.split, data.splitlines()) if words[:1] == [b"vertex"]],
                            np.float64).reshape(-1, 3)
        except ValueError as error:
            raise Damaged(f"a line makes no sense ({error})") from error
    else:
        raise Damaged("it is cut short, or no STL")
    if len(soup) % 3:
        raise Damaged("it is cut short")
    return MeshTable(soup, np.arange(len(soup)).reshape(-1, 3), None, {}, split=True)


def _is_text(data: bytes) -> bool:
    return data.lstrip()[:5].lower() == b"solid" and b"facet" in data[:1024]


def _read_npz(data: bytes) -> MeshTable:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        vertices, faces = arrays.pop("vertices"), arrays.pop("faces")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(f"it is damaged, or has no vertices and faces ({error})") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or any(
            not np.issubdtype(array.dtype, kind) for array, kind in ((vertices, np.floating), (faces, np.integer))):
        raise Damaged(f"vertices are {vertices.dtype} {vertices.shape} and faces {faces.dtype} {faces.shape}, not "
                      "(V, 3) numbers and (F, 3) indices")
    uvs, origin, axes = (arrays.pop(name, None) for name in ("corner_uvs", "origin", "axes"))
    if uvs is not None and not (uvs.shape == (*faces.shape, 2) and np.issubdtype(uvs.dtype, np.floating)):
        raise Damaged(f"corner_uvs are {uvs.dtype} {uvs.shape}, not (F, 3, 2) numbers")
    if origin is not None and not (origin.shape == (3,) and np.issubdtype(origin.dtype, np.floating)):
        raise Damaged(f"origin is {origin.dtype} {origin.shape}, not (3,) numbers")
    if axes is not None and not (axes.shape == (3, 3) and np.issubdtype(axes.dtype, np.floating)
                                 and np.allclose(np.linalg.norm(axes, axis=1), 1, atol=1e-4)):
        raise Damaged(f"axes are {axes.dtype} {axes.shape}, not three unit vectors")
    attributes = {name: array for name, array in arrays.items()
                  if name != "base_color" and array.ndim == 1 and np.issubdtype(array.dtype, np.number)}
    return MeshTable(vertices.astype(np.float64), faces, None if uvs is None else uvs.astype(np.float32), attributes,
                     origin=np.zeros(3) if origin is None else origin.astype(np.float64),
                     axes=None if axes is None else axes.astype(np.float64))


def _read_glb_upright(data: bytes) -> MeshTable:
    table = read_glb(data)
    return replace(table, vertices=z_up(table.vertices), origin=z_up(table.origin[None])[0])


_READERS: dict[str, Callable[[bytes], MeshTable]] = {
    ".glb": _read_glb_upright, ".obj": _read_obj, ".ply": read_ply, ".stl": _read_stl, ".npz": _read_npz}
