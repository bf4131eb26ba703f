"""Remeshing beside the libraries it was chosen over: `python -m slipcast.bench.remesh [--skip NAME]`.

pymeshlab and gpytoolbox are no dependencies: install them in an environment of your own; what is missing is left out.
CPU seconds of one thread (set OMP_NUM_THREADS=1), five iterations each. `crossing`: faces that run through another
one; `turned`: faces that look away from the nearest place of the input; `off`: farthest face centre, in edge lengths.
"""
from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence

import numpy as np
import trimesh
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from ..engine.pipeline.crossing import crossing_faces
from ..engine.pipeline.manifold import clean, edge_counts, part_touching
from ..engine.pipeline.normals import face_normals
from ..engine.pipeline.progress import Run, Stage
from ..engine.pipeline.remesh import RemeshSettings, remesh_isotropic
from ..engine.pipeline.types import Mesh

ITERATIONS = 5


def ours(mesh: Mesh, edge: float) -> Mesh:
    run = Run(("remesh",))
    return remesh_isotropic(mesh, edge, RemeshSettings(ITERATIONS), Stage(run, "remesh", 0, 0, "rounds"))


def meshlab(mesh: Mesh, edge: float) -> Mesh:
    import pymeshlab  # pyright: ignore[reportMissingImports]

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(mesh.vertices.astype(np.float64), mesh.faces))
    meshes.meshing_isotropic_explicit_remeshing(iterations=ITERATIONS, targetlen=pymeshlab.PureValue(edge),
                                                featuredeg=60)
    made = meshes.current_mesh()
    return Mesh(made.vertex_matrix().astype(np.float32), made.face_matrix().astype(np.int32))


def botsch(mesh: Mesh, edge: float) -> Mesh:
    import gpytoolbox  # pyright: ignore[reportMissingImports]

    vertices, faces = gpytoolbox.remesh_botsch(mesh.vertices.astype(np.float64), mesh.faces, ITERATIONS, edge,
                                               detect_feature_edges=True, feature_dihedral_threshold=60.0)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32))


WAYS: dict[str, tuple[str, Callable[[Mesh, float], Mesh]]] = {
    "slipcast": ("slipcast", ours), "pymeshlab": ("pymeshlab", meshlab), "gpytoolbox": ("gpytoolbox", botsch)}


def to_mesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def plate() -> Mesh:
    shape = trimesh.creation.box((1, 1, 0.01))
    for _ in range(5):
        shape = shape.subdivide()
    return to_mesh(shape)


def noisy(cells: int = 48) -> Mesh:
    """A surface with thin walls, tunnels and crumbs, as a noisy hull has them."""
    grid = np.mgrid[-1:1:cells * 1j, -1:1:cells * 1j, -1:1:cells * 1j]
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(cells,) * 3), 1.2)
    values = np.pad(0.7 - np.sqrt((grid**2).sum(0)) + 1.5 * noise, 2, constant_values=-1)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    return part_touching(clean(Mesh(vertices.astype(np.float32), faces.astype(np.int32))))


def cases() -> dict[str, tuple[Mesh, float]]:
    """Shapes and the wanted edge in units of the mean edge there."""
    ring = to_mesh(trimesh.creation.torus(1, 0.3, major_sections=200, minor_sections=50))
    return {"ball 20k": (to_mesh(trimesh.creation.icosphere(5)), 1.0), "torus 20k": (ring, 1.0),
            "torus to coarse": (ring, 3.0), "ball to fine": (to_mesh(trimesh.creation.icosphere(2)), 0.1),
            "plate": (plate(), 1.0), "noisy 40k": (noisy(), 1.0), "noisy to coarse": (noisy(), 2.0),
            "ball 80k": (to_mesh(trimesh.creation.icosphere(6)), 1.0), "noisy to 140k": (noisy(), 0.5)}


def lengths(mesh: Mesh) -> np.ndarray:
    edges = edge_counts(mesh.faces)[0]
    return np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)


def row(before: Mesh, after: Mesh, edge: float, seconds: float) -> str:
    given = trimesh.Trimesh(before.vertices, before.faces, process=False)
    made = trimesh.Trimesh(after.vertices, after.faces, process=False)
    _, off, nearest = trimesh.proximity.closest_point(given, made.triangles_center)
    turned = (face_normals(after.vertices, after.faces) * given.face_normals[nearest]).sum(1) < 0
    low, middle, high = np.percentile(lengths(after) / edge, [1, 50, 99])
    kept = made.is_watertight and made.euler_number == given.euler_number and made.body_count == given.body_count
    return (f"{seconds:>8.2f}{len(after.faces):>9}{'yes' if kept else 'NO':>7}{int(crossing_faces(after).sum()):>10}"
            f"{int(turned.sum()):>8}{off.max() / edge:>8.3f}{low:>7.2f}{middle:>6.2f}{high:>6.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m slipcast.bench.remesh", description="Remeshing and its peers.")
    parser.add_argument("--skip", action="append", default=[], choices=list(WAYS), help="leave one out")
    skipped = parser.parse_args(argv).skip
    chosen = {name: call for name, (module, call) in WAYS.items()
              if name not in skipped and (name == "slipcast" or importlib.util.find_spec(module))}
    print(f"{'':<17}{'':<12}{'CPU s':>8}{'faces':>9}{'closed':>7}{'crossing':>10}{'turned':>8}{'off':>8}"
          f"{'1 %':>7}{'50 %':>6}{'99 %':>6}")
    for call in chosen.values():                # the first call loads and compiles
        call(to_mesh(trimesh.creation.icosphere(2)), 0.3)
    for name, (mesh, factor) in cases().items():
        edge = factor * float(lengths(mesh).mean())
        for way, call in chosen.items():
            started = time.process_time()
            made = call(mesh, edge)
            print(f"{name:<17}{way:<12}{row(mesh, made, edge, time.process_time() - started)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
