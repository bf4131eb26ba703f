"""Small pieces that a model made apart from the object."""
from __future__ import annotations

import numpy as np

from .finish import part_volumes
from .manifold import compact, components_of_faces
from .types import Mesh

FLOATER = 0.02      # of the largest piece's volume: about a quarter of its size in each direction


def without_floaters(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh without its small pieces, and how many there were. Walls of hollows (they look inward) stay.

    mesh: closed pieces, faces counter-clockwise from outside.
    """
    part = components_of_faces(mesh.faces, len(mesh.vertices))
    volume = part_volumes(mesh, part)
    small = np.abs(volume) < FLOATER * np.abs(volume).max()
    if not small.any():
        return mesh, 0
    return compact(mesh.vertices, mesh.faces[~small[part]]), int((small & (volume > 0)).sum())
