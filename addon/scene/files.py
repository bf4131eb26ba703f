"""A finished job -> files in a folder, for other programs: mesh, material, textures, and what made them. No bpy."""
from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...bridge.errors import BadOutput
from ...bridge.events import Result
from ...bridge.filenames import file_name, result_folder_name
from ...bridge.surface import ROUGHNESS
from .file_formats import glb_bytes, ply_bytes, smooth_normals, stl_bytes
from .results import Placement, prepare_result

SUFFIXES = {"image/png": ".png", "application/json": ".json", "video/mp4": ".mp4"}
IN_THE_MESH = ("vertices", "faces", "corner_uvs")


def write_result(folder: Path, result: Result) -> Path:
    """Write all there is of a result into a folder of its own below `folder`; that folder.

    NAME.glb, and NAME.obj with NAME.mtl and NAME.png, upright for programs in which Y is up (Blender's own importers
    turn them back); NAME.stl and NAME.ply with Z up, as they are printed and measured; the other artefacts under their
    names (a turntable is 30 pictures and a film); and job.json with settings, seed and licence.
    Raises BadOutput when it cannot be written, BadFrame or BadMesh for a result that cannot be used.
    """
    info = result.info
    name = file_name(info.label or info.method)
    place = folder / result_folder_name(info.label or info.method, info.job)
    prepared = prepare_result(result, Placement(name))
    vertices = prepared.views_vertices
    normals = smooth_normals(vertices, prepared.faces)
    files: dict[str, bytes] = {f"{name}.obj": _obj_text(name, vertices, normals, prepared.faces, prepared.corner_uvs),
                               f"{name}.png": prepared.base_color_png,
                               f"{name}.glb": glb_bytes(name, vertices, normals, prepared.faces,
                                                        prepared.corner_uvs, prepared.base_color_png,
                                                        bytes(result.data.get("normal_map", b""))),
                               f"{name}.stl": stl_bytes(vertices, prepared.faces),
                               f"{name}.ply": ply_bytes(vertices, prepared.faces, prepared.corner_uvs)}
    files[f"{name}.mtl"] = _mtl_text(name, "normal_map" in result.data)
    for artefact in result.artefacts.values():
        suffix = SUFFIXES.get(artefact.media_type)
        if suffix and artefact.name not in (*IN_THE_MESH, "base_color"):
            files[file_name(artefact.name.removesuffix("_mp4")) + suffix] = bytes(result.data[artefact.name])
    told = {"job": info.job, "label": info.label, "method": info.method, "settings": dict(info.settings),
            "seed": info.seed, "licence": info.licence, "summary": dict(info.summary)}
    files["job.json"] = json.dumps(told, indent=2).encode()
    _write(place, files)
    return place


def _obj_text(name: str, vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray,
              corner_uvs: np.ndarray) -> bytes:
    """Wavefront OBJ; arrays as in file_formats.py."""
    out = io.BytesIO()
    out.write(f"mtllib {name}.mtl\no {name}\n".encode())
    np.savetxt(out, vertices[:, [0, 2, 1]] * [1.0, 1.0, -1.0], fmt="v %.7g %.7g %.7g")
    np.savetxt(out, corner_uvs.reshape(-1, 2), fmt="vt %.7g %.7g")
    np.savetxt(out, normals[:, [0, 2, 1]] * [1.0, 1.0, -1.0], fmt="vn %.5f %.5f %.5f")
    out.write(f"usemtl {name}\ns 1\n".encode())
    corners = np.arange(1, 3 * len(faces) + 1).reshape(-1, 3)
    np.savetxt(out, np.stack([faces + 1, corners, faces + 1], -1).reshape(-1, 9), fmt="f %d/%d/%d %d/%d/%d %d/%d/%d")
    return out.getvalue()


def _mtl_text(name: str, has_normal_map: bool) -> bytes:
    lines = [f"newmtl {name}", "Kd 1 1 1", "Ks 0 0 0", f"Pr {ROUGHNESS}", "Pm 0", "illum 1", f"map_Kd {name}.png"]
    return "\n".join([*lines, *(["norm normal_map.png"] if has_normal_map else []), ""]).encode()


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (place / name).write_bytes(data)
    except OSError as error:
        raise BadOutput(f"{error.filename or place} cannot be written ({error.strerror}).",
                        "Choose another folder.") from error
