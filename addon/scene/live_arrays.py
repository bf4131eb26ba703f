"""A preview's raw frames -> arrays that Blender takes as they are. No bpy, so that the slow part runs on a thread."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...bridge.errors import BadMesh
from ...bridge.messages import Preview
from .standing import standing

SRGB_STEPS = 256


@dataclass(frozen=True)
class Topology:
    """The faces of a preview, with the edges that Blender would otherwise look for itself (90 ms for 200,000 faces).

    key: names these faces. faces: (F, 3) int32. edges: (E, 2) int32. corner_edges: (F, 3) int32, the edge from each
    corner to the next one. vertices: how many there are.
    """

    key: str
    vertices: int
    faces: np.ndarray
    edges: np.ndarray
    corner_edges: np.ndarray


@dataclass(frozen=True)
class LiveFrame:
    """A preview as it came. positions: (V, 3) float32, the views' world. faces: (F, 3) int32. colours: (V, 3) uint8,
    sRGB, or None. key: names the faces. stage: the engine's word for what it is doing."""

    key: str
    stage: str
    positions: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None


def read_frame(preview: Preview, frames: Sequence[memoryview]) -> LiveFrame:
    """The arrays of a preview, not copied. Raises BadMesh for shapes or numbers that make no mesh."""
    arrays = [np.frombuffer(frame, dtype=f"<{spec.dtype}").reshape(spec.shape)
              for frame, spec in zip(frames, preview.buffers)]
    wanted = ((3, "f"), (3, "i"), (3, "u"))[:3 if preview.has_colors else 2]
    if len(arrays) != len(wanted) or any(array.ndim != 2 or array.shape[1] != width or array.dtype.kind != kind
                                         for array, (width, kind) in zip(arrays, wanted)):
        raise BadMesh("The engine sent a preview that is no mesh.")
    positions, faces = arrays[0], arrays[1]
    colours = arrays[2] if preview.has_colors else None
    if not len(positions) or not len(faces) or not np.isfinite(positions).all():
        raise BadMesh("The engine sent a preview without a surface.")
    if colours is not None and len(colours) != len(positions):
        raise BadMesh("The engine sent a preview with colours that do not fit its vertices.")
    return LiveFrame(f"{preview.buffers[1].sha256}-{len(positions)}", preview.stage, positions, faces, colours)


def find_topology(frame: LiveFrame) -> Topology:
    """Edges of the faces. 0.2 s for 200,000 faces, most of it without Python's lock. Raises BadMesh for indices that
    would make Blender crash."""
    faces, count = frame.faces.astype(np.int64), len(frame.positions)
    if faces.min() < 0 or faces.max() >= count:
        raise BadMesh("The engine sent a preview with corners that do not exist.")
    if (faces == np.roll(faces, -1, axis=1)).any():
        raise BadMesh("The engine sent a preview with faces that use one corner twice.")
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1)
    keys = ends.min(-1) * count + ends.max(-1)
    found, corner_edges = np.unique(keys.ravel(), return_inverse=True)
    edges = np.stack([found // count, found % count], axis=-1)
    return Topology(frame.key, count, np.ascontiguousarray(frame.faces, np.int32), edges.astype(np.int32),
                    corner_edges.reshape(faces.shape).astype(np.int32))


def linear_colours(colours: np.ndarray) -> np.ndarray:
    """(V, 3) uint8 sRGB -> (V, 4) float32 linear, opaque: what a colour attribute holds. Source: IEC 61966-2-1."""
    made = np.ones((len(colours), 4), np.float32)
    made[:, :3] = _LINEAR[colours]
    return made


def place_of(positions: np.ndarray, base: tuple[float, float, float] | None, target_size: float) -> np.ndarray:
    """(4, 4) float64: where results stand (results.prepare_result): bottom on `base`, as large as asked for.

    positions: (V, 3). base: None leaves it where the views have it.
    """
    matrix = np.eye(4)
    if base is None:
        return matrix
    bottom, scale = standing(positions, target_size)
    scale = scale or 1.0
    matrix[:3, :3] *= scale
    matrix[:3, 3] = np.asarray(base) - scale * bottom
    return matrix


def _linear_table() -> np.ndarray:
    value = np.arange(SRGB_STEPS) / (SRGB_STEPS - 1)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055)**2.4).astype(np.float32)


_LINEAR = _linear_table()
