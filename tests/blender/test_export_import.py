"""Files that the engine writes, read by Blender's own importers with their default settings."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
for _needed in ("scipy", "PIL"):      # what the engine writes files with; Blender's own Python need not have it
    pytest.importorskip(_needed)
pytest.importorskip("slipcast")

from slipcast.engine.pipeline.export import write_mesh  # noqa: E402  after the checks above
from slipcast.engine.pipeline.types import Mesh, TexturedMesh  # noqa: E402

READ = """
import json, sys
import bpy
import numpy as np
path = sys.argv[1]
bpy.ops.wm.read_factory_settings(use_empty=True)
read = {".glb": lambda: bpy.ops.import_scene.gltf(filepath=path), ".obj": lambda: bpy.ops.wm.obj_import(filepath=path),
        ".ply": lambda: bpy.ops.wm.ply_import(filepath=path), ".stl": lambda: bpy.ops.wm.stl_import(filepath=path)}
read[path[-4:]]()
ob = next(ob for ob in bpy.data.objects if ob.type == "MESH")
mesh = ob.data
world = np.array([ob.matrix_world @ vertex.co for vertex in mesh.vertices])
told = {"faces": [list(face.vertices) for face in mesh.polygons], "vertices": world.tolist(),
        "normals": [list(ob.matrix_world.to_3x3() @ face.normal) for face in mesh.polygons]}
if mesh.uv_layers:
    told["uvs"] = [[list(mesh.uv_layers[0].data[i].uv) for i in face.loop_indices] for face in mesh.polygons]
if mesh.color_attributes:
    told["colors"] = len(mesh.color_attributes[0].data)
if mesh.materials:
    nodes = mesh.materials[0].node_tree.nodes
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    source = shader.inputs["Base Color"].links[0].from_node
    told["base"] = source.image.colorspace_settings.name
    width, height = source.image.size
    told["pixels"] = (np.array(source.image.pixels).reshape(height, width, 4)[::-1, :, :3] * 255).round().tolist()
    told["roughness"] = shader.inputs["Roughness"].default_value
    told["metallic"] = shader.inputs["Metallic"].default_value
print("TOLD" + json.dumps(told))
"""
LOW, HIGH = np.array([1.0, 2.0, 3.0]), np.array([3.0, 6.0, 9.0])


def box() -> TexturedMesh:
    corner = np.stack(np.meshgrid(*zip(LOW, HIGH), indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([(q[0], *q[i:i + 2]) for q in quads for i in (1, 2)], np.int32)
    cell = np.stack(np.divmod(np.arange(12), 4), -1)[:, None]
    uvs = ((cell + np.array([[0.1, 0.2], [0.9, 0.1], [0.3, 0.8]])) / 4).astype(np.float32)
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    return TexturedMesh(Mesh(corner, faces), uvs, np.stack([rows * 8, columns * 8, 99 + 0 * rows], -1).astype(np.uint8))


def read_in_blender(path: Path) -> dict:
    done = subprocess.run([sys.executable, "-P", "-c", READ, str(path)], capture_output=True, text=True, timeout=120,
                          check=False)
    line = [line for line in done.stdout.splitlines() if line.startswith("TOLD")]
    assert line, done.stdout + done.stderr
    return json.loads(line[0][4:])


def rounded(numbers) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(numbers, np.float64), 3) + 0.0)


def by_place(corners, values) -> set:
    """Values at the corners of each face, by the places of the corners, whatever their order in the file."""
    return {frozenset((rounded(place), rounded(value)) for place, value in zip(face, of_face))
            for face, of_face in zip(corners, values)}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("files")
    return {suffix: read_in_blender(write_mesh(folder / f"box{suffix}", box())[0])
            for suffix in (".glb", ".obj", ".ply", ".stl")}


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".stl"])
def test_every_format_lands_where_it_was_with_faces_outward(told, suffix):
    vertices = np.array(told[suffix]["vertices"])
    assert vertices.min(0) == pytest.approx(LOW, abs=1e-5) and vertices.max(0) == pytest.approx(HIGH, abs=1e-5)
    assert len(told[suffix]["faces"]) == 12
    middle = np.array([vertices[face].mean(0) for face in told[suffix]["faces"]]) - (LOW + HIGH) / 2
    assert ((np.array(told[suffix]["normals"]) * middle).sum(1) > 0).all()


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_textured_formats_keep_uvs_texture_and_material(told, suffix):
    read, textured = told[suffix], box()
    corners = [np.array(read["vertices"])[face] for face in read["faces"]]
    assert by_place(corners, read["uvs"]) == by_place(textured.mesh.vertices[textured.mesh.faces], textured.corner_uvs)
    assert (np.array(read["pixels"]) == textured.base_color).all()
    assert read["base"] == "sRGB"
    assert read["roughness"] == pytest.approx(0.8, abs=1e-3)
    assert read["metallic"] == 0.0


def test_ply_brings_a_colour_for_every_vertex(told):
    assert told[".ply"]["colors"] == 8
