"""How long Blender is busy when a result arrives, against its own importer of the same mesh as GLB.

    python -m slipcast.bench.scene_import [--triangles 200000] [--texture-px 2048] [--repeats 7]

Both in one process, turn about, each into an empty file; both end with the object in the scene and its texture packed
(Blender decodes it when it is first shown, in either way). The table has medians; the last line ends with the ratio.
Needs bpy.
"""
from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import bpy
import numpy as np

from ..addon.scene.results import Placement, place_result, prepare_result
from ..bridge.events import Result
from ..bridge.messages import Artefact, JobInfo

NAME = "torus"


def torus(triangles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A closed mesh of about `triangles` faces with UV seams.

    Returns vertices (V, 3) float32, faces (F, 3) int32, corner_uvs (F, 3, 2) float32.
    """
    n = round(math.sqrt(triangles / 2))
    turn = np.arange(n) / n
    u, v = np.meshgrid(turn, turn, indexing="ij")
    ring = 1 + 0.4 * np.cos(2 * np.pi * v)
    vertices = np.stack([ring * np.cos(2 * np.pi * u), ring * np.sin(2 * np.pi * u), 0.4 * np.sin(2 * np.pi * v)], -1)
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    corners = [np.stack([i, j], -1), np.stack([i + 1, j], -1), np.stack([i + 1, j + 1], -1), np.stack([i, j + 1], -1)]
    halves = [np.stack([corners[k] for k in order], 2).reshape(-1, 3, 2) for order in ((0, 1, 2), (0, 2, 3))]
    cells = np.concatenate(halves)
    faces = (cells[..., 0] % n) * n + cells[..., 1] % n
    return vertices.reshape(-1, 3).astype(np.float32), faces.astype(np.int32), (cells / n).astype(np.float32)


def png_of(edge_px: int) -> bytes:
    """A picture with about as much detail as a baked texture, as Blender writes it."""
    smooth = np.random.default_rng(0).random((edge_px // 16, edge_px // 16, 4), dtype=np.float32)
    pixels = smooth.repeat(16, 0).repeat(16, 1)
    pixels[..., :3] += 0.05 * np.random.default_rng(1).random((edge_px, edge_px, 3), dtype=np.float32)
    pixels[..., 3] = 1
    image = bpy.data.images.new("texture", edge_px, edge_px)
    image.pixels.foreach_set(pixels.ravel())
    with tempfile.TemporaryDirectory() as folder:
        image.filepath_raw, image.file_format = str(Path(folder) / "texture.png"), "PNG"
        image.save()
        return (Path(folder) / "texture.png").read_bytes()


def finished_job(vertices: np.ndarray, faces: np.ndarray, uvs: np.ndarray, png: bytes) -> Result:
    """As the client hands it out."""
    arrays = {"vertices": ("f4", vertices), "faces": ("i4", faces), "corner_uvs": ("f4", uvs)}
    data = {name: array.tobytes() for name, (_, array) in arrays.items()}
    data |= {"base_color": png, "cameras": json.dumps([]).encode()}
    artefacts = {name: Artefact(name, "array", len(data[name]), "", dtype, array.shape)
                 for name, (dtype, array) in arrays.items()}
    artefacts |= {name: Artefact(name, "", len(data[name]), "") for name in ("base_color", "cameras")}
    return Result(JobInfo("0" * 32, "views", "done", 1, 1, 0.0), artefacts,
                  {name: memoryview(held) for name, held in data.items()})


def empty_file() -> None:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def import_result(result: Result) -> None:
    place_result(prepare_result(result, Placement(NAME)), bpy.data, bpy.context.scene, bpy.context.view_layer)


def import_glb(path: Path) -> None:
    with redirect_stdout(io.StringIO()):
        bpy.ops.import_scene.gltf(filepath=str(path), loglevel=50)


def seconds_of(call: Callable[[], None], triangles: int) -> float:
    """One import into an empty file. Checks that all triangles and the texture have arrived."""
    empty_file()
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    size = tuple(next(image for image in bpy.data.images if image.packed_file).size)
    made = [mesh for mesh in bpy.data.meshes if len(mesh.polygons) == triangles]
    assert len(made) == 1 and len(made[0].uv_layers) == 1 and min(size) > 1, "the import is not complete"
    return seconds


def export_glb(result: Result, path: Path) -> None:
    """The same object, written by Blender's own exporter."""
    empty_file()
    import_result(result)
    with redirect_stdout(io.StringIO()):
        bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB", export_apply=False)


def compare(triangles: int, texture_px: int, repeats: int) -> tuple[list[float], list[float], int]:
    """Seconds of each repeat: ours, GLB; and the number of triangles that it was."""
    empty_file()
    vertices, faces, uvs = torus(triangles)
    result = finished_job(vertices, faces, uvs, png_of(texture_px))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "same.glb"
        export_glb(result, path)
        ways = (lambda: import_result(result), lambda: import_glb(path))
        for way in ways:  # the first one loads modules
            seconds_of(way, len(faces))
        taken = [[seconds_of(way, len(faces)) for way in ways] for _ in range(repeats)]
    return [pair[0] for pair in taken], [pair[1] for pair in taken], len(faces)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m slipcast.bench.scene_import", description=__doc__.split("\n")[0])
    parser.add_argument("--triangles", type=int, default=200_000)
    parser.add_argument("--texture-px", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args(argv)
    ours, glb, triangles = compare(given.triangles, given.texture_px, given.repeats)
    print(f"Blender {bpy.app.version_string}, {triangles} triangles, {given.texture_px} px texture, "
          f"{given.repeats} repeats, milliseconds")
    print(f"{'':<14}{'median':>9}{'least':>9}{'most':>9}")
    for name, taken in (("slipcast", ours), ("GLB import", glb)):
        print(f"{name:<14}{statistics.median(taken) * 1e3:>9.1f}{min(taken) * 1e3:>9.1f}{max(taken) * 1e3:>9.1f}")
    print(f"{statistics.median(ours) / statistics.median(glb):.2f}x of GLB import")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
