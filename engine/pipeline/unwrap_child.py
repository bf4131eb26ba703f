"""Runs xatlas in a process of its own, so that it can be killed. Started by its file path (see unwrap.py), from a
checkout or an unpacked extension alike; imports nothing of the package.

xatlas cuts a rough surface into hundreds of one-triangle charts. So it is given a smoothed copy of the mesh, the same
faces with calmer vertices, and a smoother one again while crumbs of charts remain and time allows.

usage: unwrap_child.py MESH.npz UVS.npy PACK_PX PADDING_PX CHART_ITERATIONS BRUTE_FORCE LIMIT_S
"""
from __future__ import annotations

import signal
import sys
import time

import numpy as np
import xatlas
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import connected_components

SMOOTHING = (3, 8, 20)     # rounds of averaging with the neighbours, one try each
CRUMB_FACES = 8            # a chart of fewer faces is a crumb
CRUMBS = 0.01              # share of the faces in crumbs that is good enough
TRY_AGAIN = 0.25           # of the time limit: later than this, what there is has to do


def main(given: str, made: str, pack_px: int, padding_px: int, iterations: int, brute_force: int, limit_s: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(limit_s)   # should the parent be gone: the default action of SIGALRM ends us even inside xatlas
    started = time.monotonic()
    mesh = np.load(given)
    vertices, faces = mesh["vertices"], mesh["faces"]
    best: tuple[float, np.ndarray] | None = None
    for rounds in SMOOTHING:
        calm = _smooth(vertices, faces, rounds)
        corner_uvs, split = _unwrap(calm, faces, pack_px, padding_px, iterations, brute_force)
        crumbs = _share_in_crumbs(split)
        if best is None or crumbs < best[0]:
            best = crumbs, corner_uvs
        if crumbs <= CRUMBS or time.monotonic() - started > TRY_AGAIN * limit_s:
            break
    assert best is not None, "SMOOTHING is not empty"
    np.save(made, best[1])


def _smooth(vertices: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    count = len(vertices)
    graph = coo_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(count, count)).tocsr()
    average = diags(1 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1)) @ graph
    for _ in range(rounds):
        vertices = (vertices + average @ vertices) / 2
    return np.ascontiguousarray(vertices, np.float32)


def _unwrap(vertices: np.ndarray, faces: np.ndarray, pack_px: int, padding_px: int, iterations: int,
            brute_force: int) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3, 2) texture coordinates and the (F, 3) split vertices they belong to."""
    chart_options, pack_options = xatlas.ChartOptions(), xatlas.PackOptions()
    chart_options.max_iterations = iterations
    pack_options.resolution, pack_options.padding = pack_px, padding_px
    pack_options.bilinear, pack_options.bruteForce = True, bool(brute_force)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    atlas.generate(chart_options, pack_options)
    source, indices, uvs = atlas[0]
    if atlas.atlas_count != 1 or not np.array_equal(source[indices], faces):
        sys.exit("xatlas changed the faces or needed more than one page")
    # xatlas divides u and v by width and height; one divisor keeps the charts undistorted
    scale = np.array([atlas.width, atlas.height], np.float32) / max(atlas.width, atlas.height)
    return np.clip(uvs[indices] * scale, 0, 1).astype(np.float32), indices.astype(np.int64)


def _share_in_crumbs(split: np.ndarray) -> float:
    a, b = np.r_[split[:, 0], split[:, 1]], np.r_[split[:, 1], split[:, 2]]
    count = int(split.max()) + 1
    _, label = connected_components(coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    faces_of = np.bincount(label[split[:, 0]])
    return float(faces_of[faces_of < CRUMB_FACES].sum() / len(split))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(number) for number in sys.argv[3:8]))
