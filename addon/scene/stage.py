"""A copy of a scene that shows only one part of it, for renders that leave the scene itself alone."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...bridge.errors import BadSettings
from .materials import node_tree_of
from .meshes import positions_of
from .orbit import Sphere, bounding_sphere, orbit_directions
from .scratch import scratch_data

if TYPE_CHECKING:
    from bpy.types import Collection, Object, Scene, ViewLayer

NAME = "slipcast stage"
_HULL_DIRECTIONS = 256
_SOLID_TYPES = ("MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME")


@contextmanager
def stage_scene(scene: Scene, view_layer: ViewLayer, subject: Object | Collection, lighting: str) -> Iterator[Scene]:
    """A copy of `scene` with `subject` (an object and what is parented to it, or a collection), the scene's lights
    unless `lighting` is EVEN, and what is a holdout in `view_layer`; gone again afterwards, with what was added to it.

    Raises BadSettings when nothing of `subject` may be seen by renders.
    """
    with copied_scene(scene) as stage:
        _empty(stage)
        shown = _shown(subject)
        if not shown:
            raise BadSettings(f"Nothing of {subject.name} is seen by renders.",
                              "Switch on the camera symbol of its objects in the Outliner.")
        holdouts = {thing for thing in view_layer.objects if thing.holdout_get(view_layer=view_layer)} - shown
        lights = {thing for thing in view_layer.objects if thing.type in ("LIGHT", "LIGHT_PROBE")} \
            if lighting == "SCENE" else set()
        for thing in sorted(shown | holdouts | lights, key=lambda thing: thing.name):
            stage.collection.objects.link(thing)
        for thing in shown:     # hidden by its eye symbol, out of the way of what is fitted to it: renders see it
            thing.hide_set(False, view_layer=stage.view_layers[0])
        if lighting == "EVEN":
            stage.world = _even_world()
        yield stage


@contextmanager
def copied_scene(scene: Scene) -> Iterator[Scene]:
    """A copy that shares objects and world; gone again afterwards, with the objects, cameras and worlds that were added
    meanwhile."""
    with scratch_data(bpy.data, ("scenes", "objects", "cameras", "worlds")):    # not images: the Render Result stays
        stage = scene.copy()
        stage.name = NAME
        stage.timeline_markers.clear()    # a camera bound to a marker would take the place of ours
        stage.animation_data_clear()
        yield stage


def _empty(stage: Scene) -> None:
    for child in list(stage.collection.children):
        stage.collection.children.unlink(child)
    for thing in list(stage.collection.objects):
        stage.collection.objects.unlink(thing)
    for layer in list(stage.view_layers)[1:]:
        stage.view_layers.remove(layer)
    stage.view_layers[0].use = True


def _shown(subject: Object | Collection) -> set[Object]:
    """What renders see of it: collections that are switched off for renders count, as in Blender's own renders."""
    if isinstance(subject, bpy.types.Object):
        found = {subject, *subject.children_recursive}
    else:
        found = _objects_of(subject)
    return {thing for thing in found if not thing.hide_render and thing.type != "CAMERA"}


def _objects_of(collection: Collection) -> set[Object]:
    if collection.hide_render:
        return set()
    return set(collection.objects).union(*(_objects_of(child) for child in collection.children))


def _even_world() -> bpy.types.World:
    world = bpy.data.worlds.new(NAME)
    background = node_tree_of(world).nodes.get("Background")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    background.inputs["Strength"].default_value = 1.0
    return world


# --- where it is ----------------------------------------------------------------------------------------------------
def evaluated_sphere(stage: Scene, subject: Object | Collection) -> Sphere:
    """Bounding sphere of `subject` as it is rendered: modifiers, nodes and instances included.

    Raises BadSettings when it has no geometry.
    """
    names = {thing.name for thing in _shown(subject)}
    stage.view_layers[0].update()
    clouds: list[np.ndarray] = []
    hulls: dict[int, np.ndarray] = {}   # by address: the evaluated data lives as long as the loop
    for instance in stage.view_layers[0].depsgraph.object_instances:
        owner = instance.parent if instance.is_instance else instance.object
        thing = instance.object
        if owner is None or owner.original.name not in names or thing.type not in _SOLID_TYPES or thing.data is None:
            continue
        key = thing.data.as_pointer()
        if key not in hulls:
            hulls[key] = _hull(_local_points(thing))
        matrix = np.array(instance.matrix_world)
        clouds.append(hulls[key] @ matrix[:3, :3].T + matrix[:3, 3])
    return bounding_sphere(clouds)


def _local_points(thing: Object) -> np.ndarray:
    """(N, 3) float64: all vertices of an evaluated mesh, the corners of the box of anything else."""
    if not isinstance(thing.data, bpy.types.Mesh):
        return np.array(thing.bound_box, dtype=np.float64)
    return positions_of(thing.data).astype(np.float64)


def _hull(points: np.ndarray) -> np.ndarray:
    """The farthest point in each of many directions: what a thousand instances are measured by."""
    if len(points) <= _HULL_DIRECTIONS:
        return points
    around = orbit_directions(_HULL_DIRECTIONS, -89.9, 89.9)
    farthest = {int(np.argmax(points @ direction)) for direction in (*around, *np.eye(3), *-np.eye(3))}
    return points[sorted(farthest)]
