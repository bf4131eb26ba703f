"""Meshes of artists are read as they are: faces, corners, texture coordinates and weights, in Blender's world."""
from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh
from skin import ball, one_chart_a_face, textured_box

from slipcast.bridge.errors import BadMesh
from slipcast.engine.pipeline.export import write_mesh
from slipcast.engine.pipeline.mesh_files import MESH_SUFFIXES, read_mesh
from slipcast.engine.pipeline.mesh_tables import fans
from slipcast.engine.pipeline.types import TexturedMesh

SQUARE_PLY = """ply
format ascii 1.0
comment a square and a triangle on it, its weights beside its places
element vertex 5
property float x
property double y
property float z
property uchar Weight
property float pull
element face 2
property list uchar int vertex_indices
property uchar part
end_header
0 0 0 0 0.5
1 0 0 255 0.5
1 1 0 51 1
0 1 0 255 1
0.5 0.5 1 255 0
4 0 1 2 3 7
3 0 1 4 8
"""
SEAMED_OBJ = """# one place, several texture coordinates
v 0 0 0
v 1 0 0
v 0 2 0
v 0 0 3
vt 0 0
vt 1 0
vt 0 1
vt .5 .5
f 1/1 2/2 3/3
f -4/4/1 -2/-3/1 \\
 -1/-2/1
"""


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_what_was_written_is_read_with_the_same_faces_corners_and_coordinates(suffix, tmp_path):
    given = textured_box()
    write_mesh(tmp_path / f"box{suffix}", given)
    read = read_mesh(tmp_path / f"box{suffix}", suffix)
    corners = read.mesh.vertices[read.mesh.faces]
    assert (corners == given.mesh.vertices[given.mesh.faces]).all() and len(read.mesh.vertices) == 8
    assert suffix in (".glb", ".stl") or (read.mesh.faces == given.mesh.faces).all()
    if suffix in (".ply", ".stl"):
        assert read.corner_uvs is None
    else:
        assert read.corner_uvs is not None and read.corner_uvs.dtype == np.float32
        assert np.abs(read.corner_uvs - given.corner_uvs).max() < 1e-6     # text of 7 digits, or 1 - (1 - v)
    assert read.weights is None and read.warnings == ()
    assert read.mesh.vertices.dtype == np.float32 and read.mesh.faces.dtype == np.int32


def test_an_npz_is_read_bit_by_bit_with_its_weights_and_origin(tmp_path):
    mesh = ball(1)
    uvs, weights = one_chart_a_face(mesh).corner_uvs, np.linspace(0, 1, len(mesh.vertices), dtype=np.float32)
    np.savez(tmp_path / "m", vertices=mesh.vertices, faces=mesh.faces, corner_uvs=uvs, weights=weights,
             origin=np.array([1.0, 2, 3]))
    read = read_mesh(tmp_path / "m.npz", ".npz")
    assert read.corner_uvs is not None and read.weights is not None
    assert (read.mesh.vertices == mesh.vertices).all() and (read.mesh.faces == mesh.faces).all()
    assert (read.corner_uvs == uvs).all() and (read.weights == weights).all() and read.origin.tolist() == [1, 2, 3]


def test_weights_are_found_whatever_the_case_and_bytes_are_parts_of_255(tmp_path):
    (tmp_path / "m.ply").write_text(SQUARE_PLY)
    read = read_mesh(tmp_path / "m.ply", ".ply", "weight")
    assert read.weights is not None and read.weights.tolist() == [0, 1, 0.2, 1, 1]
    pull = read_mesh(tmp_path / "m.ply", ".ply", "_pull").weights
    assert pull is not None and pull.tolist() == [0.5, 0.5, 1, 1, 0]
    assert read.mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert read.warnings == ("1 faces of the mesh have more than three corners and were split into triangles.",)


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_ply_of_mixed_faces_and_coordinates_at_the_corners(order, tmp_path):
    name = "little" if order == "<" else "big"
    header = (f"ply\nformat binary_{name}_endian 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
              "property float z\nelement face 2\nproperty list uchar uint vertex_index\n"
              "property list uchar float texcoord\nend_header\n")
    places = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], order + "f4").tobytes()
    quad = struct.pack(order + "B4I", 4, 0, 1, 2, 3) + struct.pack(order + "B8f", 8, 0, 0, 1, 0, 1, 1, 0, 1)
    triangle = struct.pack(order + "B3I", 3, 3, 2, 1) + struct.pack(order + "B6f", 6, .5, 0, 1, .5, 0, 0)
    (tmp_path / "m.ply").write_bytes(header.encode() + places + quad + triangle)
    read = read_mesh(tmp_path / "m.ply", ".ply")
    assert read.mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 1]] and read.corner_uvs is not None
    assert read.corner_uvs[1].tolist() == [[0, 0], [1, 1], [0, 1]] and read.corner_uvs[2, 0].tolist() == [.5, 0]


def test_a_ply_that_is_split_at_seams_for_its_coordinates_is_joined_again(tmp_path):
    rows = ["0 0 0 0 0", "1 0 0 1 0", "0 1 0 0 1", "1 0 0 0 0", "0 1 0 1 0", "1 1 0 1 1"]
    head = "\n".join(["ply", "format ascii 1.0", "element vertex 6", *(f"property float {n}" for n in "xyzst"),
                      "element face 2", "property list uchar int vertex_indices", "end_header"])
    (tmp_path / "m.ply").write_text("\n".join([head, *rows, "3 0 1 2", "3 3 5 4", ""]))
    read = read_mesh(tmp_path / "m.ply", ".ply")
    assert read.mesh.faces.tolist() == [[0, 1, 2], [1, 3, 2]] and read.corner_uvs is not None
    assert read.corner_uvs[1].tolist() == [[0, 0], [1, 1], [1, 0]]


def test_an_obj_keeps_its_vertices_and_each_corners_coordinate_and_turns_to_z_up(tmp_path):
    (tmp_path / "m.obj").write_text(SEAMED_OBJ)
    read = read_mesh(tmp_path / "m.obj", ".obj")
    assert read.mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 2], [0, -3, 0]]
    assert read.mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]] and read.corner_uvs is not None
    assert read.corner_uvs.tolist() == [[[0, 0], [1, 0], [0, 1]], [[.5, .5], [1, 0], [0, 1]]]
    (tmp_path / "half.obj").write_text(SEAMED_OBJ + "f 1 2 4\n")
    half = read_mesh(tmp_path / "half.obj", ".obj")
    assert half.corner_uvs is None and "1 faces of the mesh have no texture coordinates" in half.warnings[0]


def glb(change=lambda document: None, shape=None) -> bytes:
    """A ball written by trimesh with an attribute `_GIVE` at its vertices, its JSON changed."""
    shape = trimesh.creation.icosphere(1) if shape is None else shape
    shape.vertex_attributes["_GIVE"] = np.linspace(0, 1, len(shape.vertices)).astype(np.float32)
    data = trimesh.Scene(shape).export(file_type="glb")
    assert isinstance(data, bytes)
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20:20 + size])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size:]
    return (struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest)) + struct.pack("<I4s", len(text), b"JSON")
            + text + rest)


def test_a_glb_is_placed_by_its_nodes_and_gives_its_attributes(tmp_path):
    def place(document: dict) -> None:
        number = next(k for k, node in enumerate(document["nodes"]) if "mesh" in node)
        document["nodes"] = [{"children": [1], "translation": [0, 5, 0]},
                             {"mesh": document["nodes"][number]["mesh"], "scale": [2, 2, 2],
                              "rotation": [0, 0, 2**-0.5, 2**-0.5]}]
        document["scenes"], document["scene"] = [{"nodes": [0]}], 0

    (tmp_path / "m.glb").write_bytes(glb(place))
    read = read_mesh(tmp_path / "m.glb", ".glb", "give")
    shape = trimesh.creation.icosphere(1)
    x, y, z = shape.vertices.T
    # a quarter turn about the file's z takes x to y and y to -x; its y is Blender's z, its z Blender's -y
    assert np.abs(read.mesh.vertices - np.stack([-2 * y, -2 * z, 5 + 2 * x], -1)).max() < 1e-6
    assert (read.mesh.faces == shape.faces).all() and read.origin.tolist() == [0, 0, 5]
    assert read.weights is not None and np.allclose(read.weights, np.linspace(0, 1, 42))


def test_a_glb_of_ours_has_its_seams_joined(tmp_path):
    mesh = ball(2)
    write_mesh(tmp_path / "m.glb", TexturedMesh(mesh, one_chart_a_face(mesh).corner_uvs, np.zeros((8, 8, 3), np.uint8)))
    read = read_mesh(tmp_path / "m.glb", ".glb")
    assert len(read.mesh.vertices) == len(mesh.vertices)
    assert (read.mesh.vertices[read.mesh.faces] == mesh.vertices[mesh.faces]).all()


def test_polygons_become_fans_in_their_order():
    triangles, told = fans([4, 2, 3, 5])
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [6, 7, 8], [9, 10, 11], [9, 11, 12], [9, 12, 13]]
    assert told == ("2 faces of the mesh have more than three corners and were split into triangles; "
                    "1 faces with fewer than three corners were left out.")
    assert fans([3, 3])[1] == ""


def npz(path, **arrays) -> None:
    mesh = ball(1)
    np.savez(path, **{"vertices": mesh.vertices, "faces": mesh.faces, **arrays})


def drop(name: str):
    def change(document: dict) -> None:
        del document[name]
    return change


BAD = {
    "no such file": ("m.ply", lambda path: None, "", "cannot be read: No such file"),
    "suffix": ("m.fbx", lambda path: path.write_text("x"), "", "does not read meshes from .fbx"),
    "PLY that is none": ("m.ply", lambda path: path.write_text("x"), "", "it is not a PLY file"),
    "PLY cut short": ("m.ply", lambda path: path.write_text(SQUARE_PLY[:-12]), "", "fewer rows of face"),
    "PLY of points": ("m.ply", lambda path: path.write_text(
        SQUARE_PLY.split("element face")[0] + "end_header\n" + "0 0 0 0 0\n" * 5), "", "The mesh has no faces"),
    "PLY face beyond": ("m.ply", lambda path: path.write_text(SQUARE_PLY.replace("3 0 1 4 8", "3 0 1 5 8")), "",
                        "name vertices that are not there"),
    "OBJ of words": ("m.obj", lambda path: path.write_text("v a b c\n"), "", "a line makes no sense"),
    "OBJ with one short vertex": ("m.obj", lambda path: path.write_text("v 0 0\nv 0 0 0\nf 1 2 2\n"), "",
                                  "a line makes no sense"),
    "OBJ coordinate beyond": ("m.obj", lambda path: path.write_text(SEAMED_OBJ.replace("2/2", "2/9")), "",
                              "texture coordinates that are not there"),
    "empty OBJ": ("m.obj", lambda path: path.write_text(""), "", "The mesh has no faces"),
    "STL cut short": ("m.stl", lambda path: path.write_bytes(b"\0" * 80 + struct.pack("<I", 9)), "", "is cut short"),
    "GLB cut short": ("m.glb", lambda path: path.write_bytes(glb()[:900]), "", "it is cut short"),
    "GLB without accessors": ("m.glb", lambda path: path.write_bytes(glb(drop("accessors"))), "", "makes no sense"),
    "GLB without meshes": ("m.glb", lambda path: path.write_bytes(glb(drop("nodes"))), "", "makes no sense"),
    "GLB compressed": ("m.glb", lambda path: path.write_bytes(glb(lambda document: document.update(
        extensionsRequired=["KHR_draco_mesh_compression"]))), "", "export it without compression"),
    "GLB whose nodes are a ring": ("m.glb", lambda path: path.write_bytes(glb(lambda document: document.update(
        nodes=[{"children": [0]}], scenes=[{"nodes": [0]}]))), "", "nodes hold each other"),
    "NPZ that is none": ("m.npz", lambda path: path.write_text("PK x"), "", "is damaged"),
    "NPZ without faces": ("m.npz", lambda path: np.savez(path, vertices=np.zeros((3, 3))), "", "no vertices and faces"),
    "NPZ of pickles": ("m.npz", lambda path: npz(path, vertices=np.array([{}])), "", "is damaged"),
    "NPZ of flat vertices": ("m.npz", lambda path: npz(path, vertices=np.zeros((3, 2))), "", "not (V, 3) numbers"),
    "NPZ of few coordinates": ("m.npz", lambda path: npz(path, corner_uvs=np.zeros((2, 3, 2))), "", "not (F, 3, 2)"),
    "NaN": ("m.npz", lambda path: npz(path, vertices=np.full((42, 3), np.nan)), "", "42 vertices of the mesh have a"),
    "too large": ("m.npz", lambda path: npz(path, vertices=np.full((42, 3), 1e200)), "", "a number (NaN) or too large"),
    "NaN coordinates": ("m.npz", lambda path: npz(path, corner_uvs=np.full((80, 3, 2), np.nan)), "", "Unwrap the mesh"),
    "unknown attribute": ("m.ply", lambda path: path.write_text(SQUARE_PLY), "hair",
                          "no attribute 'hair' at its vertices; there are: Weight, pull"),
    "empty attribute": ("m.npz", lambda path: npz(path, hair=np.zeros(0)), "hair", "The attribute 'hair' of the mesh "
                        "is empty"),
    "attribute of an OBJ": ("m.obj", lambda path: path.write_text(SEAMED_OBJ), "hair", ".obj files hold no weights"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mesh_that_cannot_be_used_is_refused_in_words(name, tmp_path):
    file, make, weights, words = BAD[name]
    make(tmp_path / file)
    with pytest.raises(BadMesh) as caught:
        read_mesh(tmp_path / file, "." + file.split(".")[1], weights)
    assert words in str(caught.value) and caught.value.hint
