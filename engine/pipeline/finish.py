"""Finish: from the raw surface to a mesh for an artist: no crumbs or hidden shells, within the face budget, closed."""
from __future__ import annotations

import logging

import fast_simplification
import numpy as np

from ...bridge.errors import BadMesh
from .manifold import clean, compact, components_of_faces, is_closed, part_touching
from .progress import Stage
from .types import Mesh

log = logging.getLogger(__name__)
CRUMB = 1e-3                     # parts below this share of the largest part's volume go (a tenth of its size)
CAREFULNESS = (3.0, 5.0, 7.0, 7.0, 9.0)   # fast-simplification's `agg`: low keeps shape, high reaches the count
STUBBORN = 1.1                   # a result above this times the budget is told to the person


def finish_mesh(mesh: Mesh, face_budget: int, stage: Stage) -> Mesh:
    """Clean, drop crumbs and inner shells, simplify to at most `face_budget` faces, orient outward.

    Parts larger than a thousandth of the largest part's volume stay. A closed mesh stays closed (every edge between two
    faces). Progress counts steps. Raises BadMesh when nothing is left, Cancelled.
    """
    stage.total = stage.done + 4
    whole = outward(part_touching(_checked(clean(mesh))))
    was_closed = is_closed(whole)
    stage.advance()
    whole = _without_crumbs(whole)
    stage.advance()
    small = _simplified(whole, face_budget, stage)
    stage.advance()
    small = outward(_without_crumbs(small))
    if was_closed and not is_closed(small):
        log.warning("simplified mesh is not closed: %d faces", len(small.faces))
        stage.warn("The mesh could not be kept closed while it was simplified; it may have small holes.")
    stage.advance()
    return small


def reduce_faces(mesh: Mesh, face_budget: int, stage: Stage) -> Mesh:
    """At most `face_budget` faces; a mesh within it comes back as it is. Closed stays closed. Raises Cancelled."""
    if len(mesh.faces) <= face_budget:
        return mesh
    return outward(_simplified(mesh, face_budget, stage))


def _checked(mesh: Mesh) -> Mesh:
    if not len(mesh.faces):
        raise BadMesh("The surface is empty: nothing solid was found.", "Check the masks and the working volume.")
    return mesh


def part_volumes(mesh: Mesh, part: np.ndarray) -> np.ndarray:
    """Signed volume of each part: (parts,). Positive: faces look outward. part: (F,) number of each face's part."""
    corners = mesh.vertices[mesh.faces].astype(np.float64) - mesh.vertices.mean(0, dtype=np.float64)
    return np.bincount(part, np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def outward(mesh: Mesh) -> Mesh:
    """Turn all faces over if the mesh as a whole looks inward."""
    if part_volumes(mesh, np.zeros(len(mesh.faces), np.int64))[0] >= 0:
        return mesh
    return Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def _without_crumbs(mesh: Mesh) -> Mesh:
    """Drop small parts, and parts that look inward (walls of closed hollows, which nobody can see)."""
    part = components_of_faces(mesh.faces, len(mesh.vertices))
    volume = part_volumes(mesh, part)
    if len(volume) == 1:
        return mesh
    keep = volume >= CRUMB * volume.max()
    if not keep.any():
        keep = np.arange(len(volume)) == np.bincount(part).argmax()
    log.info("kept %d of %d parts", int(keep.sum()), len(keep))
    return compact(mesh.vertices, mesh.faces[keep[part]])


def _simplified(mesh: Mesh, face_budget: int, stage: Stage) -> Mesh:
    """At most face_budget faces where that can be reached, closed where the given mesh is."""
    target = face_budget
    for carefulness in CAREFULNESS:
        if len(mesh.faces) <= face_budget:
            break
        stage.check()
        vertices, faces = fast_simplification.simplify(mesh.vertices.astype(np.float64), mesh.faces.astype(np.int32),
                                                       target_count=min(target, len(mesh.faces)), agg=carefulness)[:2]
        mesh = part_touching(_checked(clean(Mesh(vertices.astype(np.float32), faces.astype(np.int32)))))
        # parting adds a few faces: aim as much lower next time
        target = max(4, face_budget - 2 * max(0, len(mesh.faces) - len(faces)))
    if len(mesh.faces) > face_budget * STUBBORN:
        stage.warn(f"The mesh could be simplified to {len(mesh.faces):,} faces only, not to {face_budget:,}: "
                   "it has many separate or very thin parts.")
    return mesh
