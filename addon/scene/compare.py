"""Two results beside each other, with what they are made with below them."""
from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from .results import PreparedResult, place_result, slipcast_collection
from .scratch import all_or_nothing

if TYPE_CHECKING:
    import bpy

GAP = 0.25             # between the two, in sizes of the larger one
CAPTION_SIZE = 0.06    # of the letters, likewise


def place_side_by_side(pair: tuple[PreparedResult, PreparedResult], captions: tuple[str, str],
                       data: bpy.types.BlendData, scene: bpy.types.Scene,
                       view_layer: bpy.types.ViewLayer) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Put both into `scene` as one: the first at its placement's base, the other to its right (+X), captions in front.

    Both are scaled to the same longest side, since worlds of different views have different scales: compare shapes.
    Either all of it is there afterwards, or nothing. Raises as place_result.
    """
    first, second = pair
    size = max(float(np.ptp(first.vertices, axis=0).max()), float(np.ptp(second.vertices, axis=0).max()))
    first, second = _scaled(first, size), _scaled(second, size)
    (_, right), (left, _) = _extent_x(first), _extent_x(second)
    base = first.placement.base
    second = _moved(second, (base[0] + right + GAP * size - left, base[1], base[2]))
    with all_or_nothing(data):
        made = []
        for prepared, caption in zip((first, second), captions):
            thing = place_result(prepared, data, scene, view_layer)
            _add_caption(data, scene, thing, caption, CAPTION_SIZE * size, float(prepared.vertices[:, 1].min()))
            made.append(thing)
    return made[0], made[1]


def _scaled(prepared: PreparedResult, size: float) -> PreparedResult:
    """Longest side `size`, about its base."""
    factor = size / float(np.ptp(prepared.vertices, axis=0).max())
    matrix = prepared.world_from_views.copy()
    matrix[:3] *= factor
    matrix[:3, 3] += np.asarray(prepared.placement.base) * (1 - factor)
    return dataclasses.replace(prepared, vertices=prepared.vertices * np.float32(factor), world_from_views=matrix)


def _moved(prepared: PreparedResult, base: tuple[float, float, float]) -> PreparedResult:
    matrix = prepared.world_from_views.copy()
    matrix[:3, 3] += np.subtract(base, prepared.placement.base)
    placement = dataclasses.replace(prepared.placement, base=base)
    return dataclasses.replace(prepared, placement=placement, world_from_views=matrix)


def _extent_x(prepared: PreparedResult) -> tuple[float, float]:
    return float(prepared.vertices[:, 0].min()), float(prepared.vertices[:, 0].max())


def _add_caption(data: bpy.types.BlendData, scene: bpy.types.Scene, thing: bpy.types.Object, text: str, size: float,
                 front: float) -> None:
    """Standing text in front of the object's base, centred below it; hangs on the object."""
    curve = data.curves.new(f"{thing.name} Caption", "FONT")
    curve.body = text  # type: ignore[attr-defined]
    curve.align_x, curve.align_y = "CENTER", "TOP"  # type: ignore[attr-defined]
    curve.size = size  # type: ignore[attr-defined]
    caption = data.objects.new(curve.name, curve)
    slipcast_collection(data, scene).objects.link(caption)
    caption.parent = thing
    caption.location = (0.0, front, -size)
    caption.rotation_euler = (math.pi / 2, 0.0, 0.0)
