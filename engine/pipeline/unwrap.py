"""Unwrap: texture coordinates for a mesh, in bounded time.

xatlas cannot be interrupted, and on dense or noisy meshes it may run for minutes (users.md: "xatlas hangs"). It runs in
a child process of ours that is killed on cancel or at the time limit; then the charts of atlas.py are used, and the
person is told.
"""
from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import projection_charts
from .atlas import charts_of_corners, overlap_fraction
from .progress import Stage
from .types import Mesh, UvMesh

log = logging.getLogger(__name__)
CHILD = Path(__file__).with_name("unwrap_child.py")
POLL_S, HEARTBEAT_S = 0.05, 0.5


@dataclass(frozen=True)
class UnwrapSettings:
    texture_px: int = 2048          # side of the texture that will be baked
    time_limit_s: float = 60.0      # for xatlas; after that the quick charts are used
    pack_px: int = 1024             # side of the grid on which xatlas places charts
    chart_iterations: int = 2       # more: fewer charts, slower
    overlap: float = 0.001          # of the covered texels; xatlas may leave more where a chart folds
    brute_force_faces: int = 60_000  # up to here xatlas tries every place for a chart: 8 % better use of the texture

    @property
    def padding(self) -> float:
        """Border around a chart, fraction of the texture's side: 4 texels at 2048, never less than 2 texels."""
        return max(1 / 512, 2 / self.texture_px)


def unwrap_mesh(mesh: Mesh, settings: UnwrapSettings, stage: Stage) -> UvMesh:
    """Cut a mesh into charts and place them in the unit square without overlap.

    Raises Cancelled. A time limit that is reached, or a failure of xatlas, becomes a warning and the quick charts.
    """
    with tempfile.TemporaryDirectory(prefix="slipcast-unwrap-") as folder:
        corner_uvs = _run_xatlas(mesh, settings, stage, Path(folder))
    if corner_uvs is not None:
        found = UvMesh(mesh, corner_uvs, charts_of_corners(mesh.faces, corner_uvs))
        if overlap_fraction(corner_uvs) < settings.overlap:
            return found
        parted = projection_charts.part_overlaps(found, settings.padding, settings.texture_px, stage)
        own = projection_charts.unwrap_by_projection(mesh, settings.padding, settings.texture_px, stage)
        return max((parted, own), key=_used)
    return projection_charts.unwrap_by_projection(mesh, settings.padding, settings.texture_px, stage)


def _used(uv_mesh: UvMesh) -> float:
    """Share of the square that faces cover."""
    sides = uv_mesh.corner_uvs[:, 1:].astype(np.float64) - uv_mesh.corner_uvs[:, :1]
    return float(np.abs(np.linalg.det(sides)).sum() / 2)


def _run_xatlas(mesh: Mesh, settings: UnwrapSettings, stage: Stage, folder: Path) -> np.ndarray | None:
    """Corner UVs (F, 3, 2) float32, or None after a warning."""
    given, made = folder / "mesh.npz", folder / "uvs.npy"
    np.savez(given, vertices=mesh.vertices.astype(np.float32), faces=mesh.faces.astype(np.uint32))
    padding_px = int(np.ceil(settings.padding * settings.pack_px * 1.25))   # atlases come out up to a quarter larger
    command = [sys.executable, "-P", str(CHILD), str(given), str(made), str(settings.pack_px), str(padding_px),
               str(settings.chart_iterations), str(int(len(mesh.faces) <= settings.brute_force_faces)),
               str(int(settings.time_limit_s) + 5)]
    with (folder / "stderr").open("w+b") as errors, subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                                                    stdout=errors, stderr=errors) as child:
        try:
            code = _watch(child, settings.time_limit_s, stage)
        finally:
            child.kill()
        errors.seek(0)
        told = errors.read()[-2000:].decode(errors="replace").strip()
    if code is None:
        stage.warn(f"Unwrapping took longer than {settings.time_limit_s:g} s and was stopped; simpler texture charts "
                   "with more seams are used. A smaller face budget unwraps faster.")
        return None
    if code != 0 or not made.exists():
        log.error("xatlas ended with code %s: %s", code, told)
        stage.warn("The unwrapper failed on this mesh; simpler texture charts with more seams are used.")
        return None
    return np.load(made)


def _watch(child: subprocess.Popen[bytes], limit_s: float, stage: Stage) -> int | None:
    """Exit code of the child, or None at the time limit. Raises Cancelled."""
    end, beat = time.monotonic() + limit_s, 0.0
    while True:
        stage.check()
        now = time.monotonic()
        if now >= beat:
            stage.report()
            beat = now + HEARTBEAT_S
        try:
            return child.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            if now >= end:
                return None
