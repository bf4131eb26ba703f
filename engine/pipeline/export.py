"""Write a textured mesh to a file, in the axes and colours its format asks for.

| suffix | axes | what it holds |
|---|---|---|
| .glb | Y up: (x, y, z) -> (x, z, -y) | mesh, normals, UVs (v down), PNG as base colour, metallic 0, roughness 0.8 |
| .obj | Y up, as importers expect | mesh, normals, UVs (v up); NAME.mtl and NAME.png beside it |
| .ply | Blender's world (Z up) | mesh with shared vertices, colour per vertex |
| .stl | Blender's world (Z up), scene units as they are (STL has no unit) | triangles only |
| .npz | Blender's world (Z up) | vertices, faces, corner_uvs, base_color, normal_map: exact |
| .mp4 | - | a film: one turn around the object (turntable.py) |

Where there is a normal map, .glb holds it and the tangents it was made with, .obj has NAME_normal.png beside it.
Normals are those that a normal map was made for (normals.shading_normals: Blender's). Blender's .obj importer takes
every picture for colour: set the normal map's colour space to Non-Color there; .glb needs nothing.
A file appears complete or not at all: everything is written under another name first.
"""
from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...bridge.errors import BadOutput, NoSpace
from ...bridge.surface import ROUGHNESS
from . import glb
from .atlas import merged_corners
from .normals import face_normals, shading_normals
from .png import png_bytes
from .tangents import corner_tangents
from .types import TexturedMesh

PNG_LEVEL = 6


def check_output(path: Path) -> None:
    """Raises BadOutput when `path` has a suffix we do not write, or its folder is missing or cannot be written to."""
    if path.suffix.lower() not in WRITERS:
        raise BadOutput(f"{path.name}: Slipcast does not write {path.suffix or 'files without a suffix'}.",
                        f"Use one of {', '.join(WRITERS)}.")
    if path.parent.exists() and not path.parent.is_dir():
        raise BadOutput(f"{path.parent} is a file, so nothing can be written into it.", "Choose another place.")
    if not path.parent.is_dir():
        raise BadOutput(f"The folder {path.parent} does not exist.", "Make it first, or choose another place.")
    try:
        if path.is_dir():
            raise BadOutput(f"{path} is a folder.", "Name a file in it.")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadOutput(f"Cannot write {path.name:.80} to {path.parent}: {error.strerror}.",
                        "Choose another place or name.") from error


def files_beside(path: Path) -> tuple[Path, ...]:
    """What write_mesh may write beside `path`: of an .obj its material, texture and normal map, in this order."""
    if path.suffix.lower() != ".obj":
        return ()
    return path.with_suffix(".mtl"), path.with_suffix(".png"), path.with_name(f"{path.stem}_normal.png")


def write_mesh(path: Path, textured: TexturedMesh) -> tuple[Path, ...]:
    """Write `textured` in the format of the suffix. Returns all files written, the one asked for first.

    Raises BadOutput as check_output does, or when writing fails; NoSpace when the disk is full.
    """
    check_output(path)
    files = WRITERS[path.suffix.lower()](path, textured)
    write_all(files)
    return tuple(files)


def write_all(files: dict[Path, bytes]) -> None:
    """All files or none of the new ones: the one that names the others comes last."""
    waiting: list[tuple[str, Path]] = []
    try:
        for path, content in files.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".slipcast-", suffix=".part")
            waiting.append((name, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, path in reversed(waiting):
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoSpace(f"The disk is full: {path.name} was not written.", "Make room or choose another.") from error
        raise BadOutput(f"Cannot write {path}: {error.strerror}.", "Choose another place.") from error
    finally:
        for name, _ in waiting:
            Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def y_up(points: np.ndarray) -> np.ndarray:
    """Blender's world (x, y, z) to (x, z, -y). (N, 3), same dtype."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], -1)


def _glb(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    mesh, relief = textured.mesh, textured.normal_map
    normals = shading_normals(mesh.vertices, mesh.faces)
    columns = {"POSITION": mesh.vertices, "NORMAL": normals}
    faces = mesh.faces
    if relief is not None:
        tangents, vertex, faces = _tangent_rows(textured, normals)
        columns = {name: column[vertex] for name, column in columns.items()} | {"TANGENT": tangents}
    source, uvs, split = merged_corners(faces, textured.corner_uvs)
    tables = {name: np.concatenate([y_up(column[:, :3]), column[:, 3:]], 1)[source] for name, column in columns.items()}
    tables["TEXCOORD_0"] = np.stack([uvs[:, 0], 1 - uvs[:, 1]], -1).astype(np.float32)
    return {path: glb.glb_bytes(tables, split, png_bytes(textured.base_color, PNG_LEVEL),
                                None if relief is None else png_bytes(relief, PNG_LEVEL), path.stem, ROUGHNESS)}


def _tangent_rows(textured: TexturedMesh, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices split where tangents differ: tangents (S, 4) float32 with handedness, the vertex of each (S,), and faces
    (F, 3) of them."""
    known = corner_tangents(textured.mesh, textured.corner_uvs, normals)
    signs = np.repeat(known.signs, 3)[:, None]
    rows, which = np.unique(np.concatenate([known.tangents.reshape(-1, 3), signs], 1), axis=0, return_inverse=True)
    pairs, index = np.unique(np.stack([textured.mesh.faces.ravel(), which.ravel()], -1), axis=0, return_inverse=True)
    return rows[pairs[:, 1]], pairs[:, 0], index.reshape(-1, 3)


def _obj(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    mesh = textured.mesh
    uvs, index = np.unique(textured.corner_uvs.reshape(-1, 2), axis=0, return_inverse=True)
    lines = io.StringIO()
    material, texture, relief = files_beside(path)
    lines.write(f"# Slipcast, Y up\nmtllib {material.name}\no {path.stem}\n")
    np.savetxt(lines, y_up(mesh.vertices), "v %.7g %.7g %.7g")
    np.savetxt(lines, uvs, "vt %.7g %.7g")
    np.savetxt(lines, y_up(shading_normals(mesh.vertices, mesh.faces)), "vn %.5f %.5f %.5f")
    lines.write("usemtl surface\ns 1\n")
    corners = np.stack([mesh.faces + 1, index.reshape(-1, 3) + 1, mesh.faces + 1], -1).reshape(-1, 9)
    np.savetxt(lines, corners, "f %d/%d/%d %d/%d/%d %d/%d/%d")
    description = f"newmtl surface\nKd 1 1 1\nKs 0 0 0\nPr {ROUGHNESS}\nPm 0\nillum 1\nmap_Kd {texture.name}\n"
    files = {path: lines.getvalue().encode(), material: description.encode(),
             texture: png_bytes(textured.base_color, PNG_LEVEL)}
    if textured.normal_map is not None:
        # Readers that know `norm` take it; the others, Blender among them, know only the older name.
        files[material] += f"norm {relief.name}\nmap_Bump -bm 1.0 {relief.name}\n".encode()
        files[relief] = png_bytes(textured.normal_map, PNG_LEVEL)
    return files


def vertex_colors_of(textured: TexturedMesh) -> np.ndarray:
    """Texture colour at every vertex: mean over its corners, (V, 3) uint8 sRGB."""
    height, width = textured.base_color.shape[:2]
    uv = textured.corner_uvs.reshape(-1, 2)
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    color = textured.base_color[row, column].astype(np.float64)
    index, count = textured.mesh.faces.ravel(), len(textured.mesh.vertices)
    total = np.stack([np.bincount(index, color[:, channel], minlength=count) for channel in range(3)], -1)
    return (total / np.maximum(np.bincount(index, minlength=count), 1)[:, None] + 0.5).astype(np.uint8)


def _ply(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    mesh = textured.mesh
    rows = np.empty(len(mesh.vertices), [("xyz", "<f4", 3), ("normal", "<f4", 3), ("color", "u1", 3)])
    rows["xyz"], rows["normal"] = mesh.vertices, shading_normals(mesh.vertices, mesh.faces)
    rows["color"] = vertex_colors_of(textured)
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, mesh.faces
    numbers = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    colors = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    header = ("ply\nformat binary_little_endian 1.0\ncomment Slipcast, Z up\n"
              f"element vertex {len(rows)}\n{numbers}{colors}element face {len(faces)}\n"
              "property list uchar int vertex_indices\nend_header\n")
    return {path: header.encode() + rows.tobytes() + faces.tobytes()}


def _stl(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    mesh = textured.mesh
    normal = face_normals(mesh.vertices, mesh.faces)
    rows = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    rows["normal"] = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    rows["corners"] = mesh.vertices[mesh.faces]
    return {path: b"Slipcast, Z up".ljust(80) + np.uint32(len(rows)).tobytes() + rows.tobytes()}


def _npz(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    buffer = io.BytesIO()
    relief = {} if textured.normal_map is None else {"normal_map": textured.normal_map}
    np.savez_compressed(buffer, vertices=textured.mesh.vertices, faces=textured.mesh.faces,
                        corner_uvs=textured.corner_uvs, base_color=textured.base_color, **relief)
    return {path: buffer.getvalue()}


def _mp4(path: Path, textured: TexturedMesh) -> dict[Path, bytes]:
    # Late: it brings the rasteriser and the film encoder.
    import torch

    from .progress import Run
    from .turntable import TURN_FRAMES, TURN_PX, film_bytes, render_turntable

    with Run(("turntable",)).stage("turntable", unit="pictures") as stage:
        return {path: film_bytes(render_turntable(textured, TURN_FRAMES, TURN_PX, torch.device("cpu"), stage))}


WRITERS: dict[str, Callable[[Path, TexturedMesh], dict[Path, bytes]]] = {
    ".glb": _glb, ".obj": _obj, ".ply": _ply, ".stl": _stl, ".npz": _npz, ".mp4": _mp4}
