"""Data that is needed for a moment, and work that is done in full or not at all: what is added to the file goes again.

Whoever looks at what was added cannot tell it from what somebody else adds meanwhile. So while a block is open nothing
else may add to the file: see busy.py, and ask it before anything is written from a timer.
"""
from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import bpy

# in this order: what uses comes before what is used
KINDS = ("scenes", "objects", "collections", "cameras", "curves", "meshes", "materials", "node_groups", "images",
         "worlds")

_open_blocks = 0    # also those that the steps of an operator leave open from one tick to the next


def is_file_held() -> bool:
    """Whether a block is open at whose end something of what was added to the file goes."""
    return _open_blocks > 0


@contextmanager
def scratch_data(data: bpy.types.BlendData, kinds: Sequence[str] = KINDS) -> Iterator[list[bpy.types.ID]]:
    """Remove what is added to these `kinds` of `data` inside the block, but for what is in the list it hands out. An
    error removes that, too, and so does giving up the work (closing a generator)."""
    kept: list[bpy.types.ID] = []
    done = False
    with _held_file():
        before = _session_uids(data, kinds)
        try:
            yield kept
            done = True
        finally:
            _remove_others(data, before, {block.session_uid for block in kept} if done else ())


@contextmanager
def all_or_nothing(data: bpy.types.BlendData) -> Iterator[None]:
    """Remove what was added to `data` inside the block when the block raises."""
    done = False
    with _held_file():
        before = _session_uids(data, KINDS)
        try:
            yield
            done = True
        finally:
            if not done:
                _remove_others(data, before)


@contextmanager
def _held_file() -> Iterator[None]:
    global _open_blocks
    _open_blocks += 1
    try:
        yield
    finally:
        _open_blocks -= 1


def _session_uids(data: bpy.types.BlendData, kinds: Sequence[str]) -> dict[str, set[int]]:
    return {kind: {block.session_uid for block in getattr(data, kind)} for kind in kinds}


def _remove_others(data: bpy.types.BlendData, known: dict[str, set[int]], spared: Collection[int] = ()) -> None:
    if not any(scene.session_uid in known["scenes"] for scene in data.scenes):
        return      # another file was loaded meanwhile: what was added has gone with the old one
    for kind, uids in known.items():
        blocks = getattr(data, kind)
        for block in [each for each in blocks if each.session_uid not in uids and each.session_uid not in spared]:
            blocks.remove(block)
