"""A ball to refine, folders of views of a larger one, and mesh files that cannot be refined (BAD_MESHES)."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scenes import OPENGL, cameras_around, write_table
from skin import ball, joined, one_chart_a_face, paint

from slipcast.engine.pipeline.export import write_mesh
from slipcast.engine.pipeline.types import Mesh, TexturedMesh

RADIUS = 1.1      # of the ball in the views; the one to refine has 1
GREY = np.full((16, 16, 3), 128, np.uint8)


def write_painted_folder(folder: Path, count: int = 10, size: int = 96, truth: Mesh | None = None) -> None:
    """Views of a ball of RADIUS (or `truth`) with a smooth pattern."""
    truth = ball(4, RADIUS) if truth is None else truth
    colours = 128 + 100 * np.sin(3 * truth.vertices + [0, 1, 2])
    cameras = cameras_around(count, size=size, focal=1.5 * size)
    frames = []
    for i, camera in enumerate(cameras):
        view = paint(truth, colours, camera)
        Image.fromarray(np.dstack([view.image, view.alpha])).save(folder / f"{i:02d}.png")
        frames.append({"file_path": f"{i:02d}.png", "transform_matrix": (camera.world_from_camera @ OPENGL).tolist()})
    first = cameras[0]
    write_table(folder, {"fl_x": first.fx, "fl_y": first.fy, "cx": first.cx, "cy": first.cy, "w": size, "h": size,
                         "frames": frames})


def textured(mesh: Mesh) -> TexturedMesh:
    return TexturedMesh(mesh, one_chart_a_face(mesh).corner_uvs, GREY)


def moved(by: tuple[float, float, float], size: float = 1.0) -> Callable[[Path], object]:
    return lambda folder: write_mesh(folder / "mesh.glb", textured(ball(2, size, by)))


def npz(**arrays: np.ndarray) -> Callable[[Path], object]:
    mesh = ball(2)
    return lambda folder: np.savez(folder / "mesh.npz", **{"vertices": mesh.vertices, "faces": mesh.faces, **arrays})


def written(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def three_faces_at_an_edge() -> Mesh:
    mesh = ball(2)
    fin = np.array([[*mesh.faces[0, :2], len(mesh.vertices)]], np.int32)
    return Mesh(np.concatenate([mesh.vertices, 1.2 * mesh.vertices[mesh.faces[0, :1]]]),
                np.concatenate([mesh.faces, fin]))


# name -> (what makes the mesh in an empty folder, more arguments, words of the message)
BAD_MESHES: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "no mesh": (lambda folder: None, (), "mesh.glb does not exist"),
    "a folder": (lambda folder: (folder / "mesh.glb").mkdir(), (), "is a folder"),
    "other suffix": (written("mesh.fbx", "x"), (), "does not read meshes from .fbx"),
    "empty file": (written("mesh.glb", ""), (), "The mesh cannot be read as .glb: it is cut short"),
    "text named .ply": (written("mesh.ply", "hello"), (), "The mesh cannot be read as .ply: it is not a PLY file"),
    "no faces": (written("mesh.obj", "v 0 0 0\n"), (), "The mesh has no faces"),
    "NaN": (npz(vertices=np.full((162, 3), np.nan, np.float32)), (), "162 vertices of the mesh have a position that"),
    "faces without area": (npz(vertices=np.zeros((162, 3), np.float32)), (), "All faces of the mesh have no area."),
    "outside every view": (moved((0, 0, 50)), (), "The mesh lies outside every view."),
    "beside the object": (moved((2.3, 0, 0), 0.5), (), "The mesh is not where the views show the object: "),
    "unknown attribute": (npz(), ("--weights", "hair"), "The mesh has no attribute 'hair' at its vertices"),
    "attribute of an OBJ": (lambda folder: write_mesh(folder / "mesh.obj", textured(ball(2))), ("--weights", "hair"),
                            ".obj files hold no weights"),
    "empty weights": (npz(hair=np.zeros(0, np.float32)), ("--weights", "hair"), "The attribute 'hair' of the mesh is "
                      "empty"),
    "few weights": (npz(hair=np.ones(7, np.float32)), ("--weights", "hair"), "There are 7 weights for 162 vertices"),
    "weights of 0": (npz(hair=np.zeros(162, np.float32)), ("--weights", "hair"), "All weights of the mesh are 0"),
    "weights above 1": (npz(hair=np.full(162, 2.0, np.float32)), ("--weights", "hair"), "not all numbers from 0 to 1"),
    "not symmetric": (lambda folder: write_mesh(folder / "mesh.npz", textured(
        joined(ball(2), ball(1, 0.3, (1, 0.3, 0.2)), ball(3, 0.3, (0.8, 0.8, 0.2))))),
        ("--symmetry", "x", "--keep-topology"), "The mesh is not symmetric: "),
    "weights and symmetry": (npz(weights=np.ones(162, np.float32)), ("--symmetry", "x"), "exclude each other"),
    "weights of 300 letters": (npz(), ("--weights", "x" * 300), "weights has 300 characters"),
    "too much time": (npz(), ("--seconds", "1e9"), "Choose a value from 0"),
    "output is the mesh": (npz(), ("-o", "mesh.npz"), "would overwrite"),
}
