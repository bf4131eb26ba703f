"""Data that is needed for a moment: what a block adds to the file is gone again afterwards, but for what it keeps."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import bpy

# in this order: what uses comes before what is used
_KINDS = ("scenes", "objects", "meshes", "materials", "node_groups", "images", "worlds")


@contextmanager
def scratch_data(data: bpy.types.BlendData) -> Iterator[list[bpy.types.ID]]:
    """Remove the scenes, objects, meshes, materials, node groups, images and worlds that are added to `data` inside the
    block, but for those in the list it hands out. An error removes these, too."""
    before = {kind: {block.session_uid for block in getattr(data, kind)} for kind in _KINDS}
    kept: list[bpy.types.ID] = []
    try:
        yield kept
    except BaseException:   # GeneratorExit, too: a work that is given up leaves nothing
        kept.clear()
        raise
    finally:
        spared = {block.session_uid for block in kept}
        for kind in _KINDS:
            blocks = getattr(data, kind)
            for block in [each for each in blocks if each.session_uid not in before[kind] | spared]:
                blocks.remove(block)
