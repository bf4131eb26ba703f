"""Runs xatlas in a process of its own, so that it can be killed. Started by its file path (see unwrap.py), from a
checkout or an unpacked extension alike; imports nothing of the package.

usage: unwrap_child.py MESH.npz UVS.npy PACK_PX PADDING_PX CHART_ITERATIONS BRUTE_FORCE LIMIT_S
"""
from __future__ import annotations

import signal
import sys

import numpy as np
import xatlas


def main(given: str, made: str, pack_px: int, padding_px: int, iterations: int, brute_force: int, limit_s: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(limit_s)   # should the parent be gone: the default action of SIGALRM ends us even inside xatlas
    mesh = np.load(given)
    chart_options, pack_options = xatlas.ChartOptions(), xatlas.PackOptions()
    chart_options.max_iterations = iterations
    pack_options.resolution, pack_options.padding = pack_px, padding_px
    pack_options.bilinear, pack_options.bruteForce = True, bool(brute_force)
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh["vertices"], mesh["faces"])
    atlas.generate(chart_options, pack_options)
    source, indices, uvs = atlas[0]
    if atlas.atlas_count != 1 or not np.array_equal(source[indices], mesh["faces"]):
        sys.exit("xatlas changed the faces or needed more than one page")
    # xatlas divides u and v by width and height; one divisor keeps the charts undistorted
    scale = np.array([atlas.width, atlas.height], np.float32) / max(atlas.width, atlas.height)
    np.save(made, np.clip(uvs[indices] * scale, 0, 1).astype(np.float32))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(number) for number in sys.argv[3:8]))
