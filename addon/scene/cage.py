"""How far apart two surfaces are that show the same thing, so that a bake's rays reach from one to the other."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from mathutils import Matrix
from mathutils.bvhtree import BVHTree

from ...bridge.errors import BadMesh
from .meshes import positions_of, triangles_of

if TYPE_CHECKING:
    from bpy.types import Object, Scene

SAMPLES = 4000
SURE = 0.995                # share of the samples that must lie within the distance
ROOM = 1.5                  # of the distance found: samples are not all points
LEAST, MOST = 0.002, 0.08   # of the diagonal of the object's box
ELSEWHERE = 0.1             # of the diagonal: where half the samples are farther off, the source is another thing


def cage_distance(low: Object, highs: Sequence[Object], stage: Scene) -> float:
    """Scene units. All evaluated, in their own places, in `stage`.

    Raises BadMesh when the two are not in the same place. Source: own.
    """
    stage.view_layers[0].update()
    graph = stage.view_layers[0].depsgraph
    places = place_points(low)
    diagonal = float(np.linalg.norm(np.ptp(places, axis=0)))
    triangles = triangles_of(low.data)  # type: ignore[arg-type]
    there = _distances(_spread(np.concatenate([places, places[triangles].mean(axis=1)])),
                       [(BVHTree.FromObject(high, graph), high.matrix_world) for high in highs])
    if float(np.median(there)) > ELSEWHERE * diagonal:
        raise BadMesh("The source lies elsewhere: hardly any of it is where the mesh is.",
                      "Move them over each other, as large and turned the same way.")
    tree = BVHTree.FromPolygons(places.tolist(), triangles.tolist(), all_triangles=True)
    back = _distances(_spread(np.concatenate([place_points(high) for high in highs])), [(tree, Matrix.Identity(4))])
    # what belongs to the source alone (a pedestal) must not blow the cage up
    back = back[back < ELSEWHERE * diagonal]
    apart = max(float(np.quantile(part, SURE)) if len(part) else 0.0 for part in (there, back))
    return float(np.clip(ROOM * apart, LEAST * diagonal, MOST * diagonal))


def place_points(thing: Object) -> np.ndarray:
    """(V, 3) float64, world: vertices of the object's mesh."""
    mesh, matrix = thing.data, np.array(thing.matrix_world, dtype=np.float64)
    return positions_of(mesh) @ matrix[:3, :3].T + matrix[:3, 3]  # type: ignore[arg-type]


def _spread(points: np.ndarray) -> np.ndarray:
    """At most SAMPLES of them, always the same."""
    if len(points) <= SAMPLES:
        return points
    return points[np.random.default_rng(0).choice(len(points), SAMPLES, replace=False)]


def _distances(points: np.ndarray, trees: Sequence[tuple[BVHTree, Matrix]]) -> np.ndarray:
    """(N,) from (N, 3) points of the world to the nearest of the surfaces, each in a space of its own."""
    least = np.full(len(points), np.inf)
    for tree, matrix in trees:
        world = np.array(matrix, dtype=np.float64)
        local = (points - world[:3, 3]) @ np.linalg.inv(world[:3, :3]).T
        nearest = np.array([tree.find_nearest(point)[0] for point in local.tolist()], dtype=np.float64)
        apart = np.linalg.norm(nearest @ world[:3, :3].T + world[:3, 3] - points, axis=1)
        least = np.minimum(least, apart)
    return least
