"""An object as it is seen, its modifiers included, wherever it is: hidden, excluded or in another scene, too.

Blender evaluates what its open view layer shows. Of anything else its dependency graph hands out the mesh without its
modifiers, and without a word: that is evaluated as a copy in a scene of its own.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bpy
import numpy as np

from .originals import BEFORE_KEY, ORIGINAL_KEY
from .scratch import scratch_data

if TYPE_CHECKING:
    from bpy.types import ID, Depsgraph, Mesh, Object, Scene


@contextmanager
def seen_mesh(thing: Object) -> Iterator[tuple[Mesh, np.ndarray]]:
    """(the mesh with all of its layers, (4, 4) float64 matrix_world); gone after the block. Main thread only."""
    with _evaluated(thing) as (seen, graph, _):
        mesh = seen.to_mesh(preserve_all_data_layers=True, depsgraph=graph)
        try:
            yield mesh, np.array(seen.matrix_world, dtype=np.float64)
        finally:
            seen.to_mesh_clear()


def applied_mesh(thing: Object) -> Mesh:
    """A new mesh of the file: what `thing` is seen as. Main thread only."""
    with _evaluated(thing) as (seen, graph, kept):
        kept.append(_new_mesh(seen, graph))
    return kept[0]  # type: ignore[return-value]


@contextmanager
def _evaluated(thing: Object) -> Iterator[tuple[Object, Depsgraph, list[ID]]]:
    if thing.visible_get():
        graph = bpy.context.evaluated_depsgraph_get()
        yield thing.evaluated_get(graph), graph, []
        return
    home = next((scene for scene in bpy.data.scenes if scene.objects.get(thing.name) == thing), bpy.context.scene)
    with scratch_data(bpy.data) as kept:
        stage = bpy.data.scenes.new("slipcast solid")
        stage.frame_current = home.frame_current
        copy = linked(thing.copy(), stage)
        graph = stage.view_layers[0].depsgraph
        yield copy.evaluated_get(graph), graph, kept


# --- in a scene of one's own ----------------------------------------------------------------------------------------
def linked(copy: Object, stage: Scene) -> Object:
    """Show `copy`, which is scratch, in `stage`, whatever its original is hidden by."""
    copy.hide_viewport = copy.hide_render = False
    for key in (ORIGINAL_KEY, BEFORE_KEY):
        if key in copy:
            del copy[key]
    stage.collection.objects.link(copy)
    stage.view_layers[0].update()       # it gets its place
    return copy


def mesh_in_stage(thing: Object, stage: Scene) -> Mesh:
    """A new mesh: what `thing` of `stage` is seen as there."""
    layer = stage.view_layers[0]
    layer.update()
    return _new_mesh(thing.evaluated_get(layer.depsgraph), layer.depsgraph)


def _new_mesh(seen: Object, graph: Depsgraph) -> Mesh:
    return bpy.data.meshes.new_from_object(seen, preserve_all_data_layers=True, depsgraph=graph)
