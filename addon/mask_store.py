"""The engine's masks of finished jobs, kept in this extension's folder in the user's settings, so that they can be seen
and painted over also after Blender was closed."""
from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import bpy

from ..bridge.errors import BadMasks, BadOutput
from .preferences import user_folder
from .scene.masks import ViewMask, read_archive
from .scene.originals import JOB_KEY, MASKS_KEY, was_made_from

log = logging.getLogger(__name__)
MOST_KEPT = 40
_NAME, _WARNINGS = "masks", "warnings.json"


def keep_masks(job: str, archive: bytes, warnings: Sequence[str]) -> None:
    """Keep a job's artefact "masks" and what it was warned of; the oldest ones go. A full disk is no reason to lose a
    result: it is logged."""
    held = io.BytesIO(archive)
    try:
        with zipfile.ZipFile(held, "a") as both:
            both.writestr(_WARNINGS, json.dumps(list(warnings)))
        folder = user_folder(_NAME, create=True)
        (folder / f"{job}.zip").write_bytes(held.getvalue())
        by_age = sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)
        for old in by_age[:-MOST_KEPT]:
            old.unlink()
    except (OSError, zipfile.BadZipFile, BadOutput) as error:
        log.warning("the masks of job %s are not kept: %s", job, error)


def kept_masks(folder: str, things: Iterable[bpy.types.Object]) -> tuple[tuple[ViewMask, ...], tuple[str, ...]]:
    """(masks, warnings) of the newest job among `things` that was made from the view folder, or the picture; empty
    without one."""
    made = [thing for thing in things if was_made_from(thing, folder)]
    jobs = {str(thing[key]) for thing in made for key in [MASKS_KEY if MASKS_KEY in thing else JOB_KEY] if key in thing}
    stored = user_folder(_NAME) if jobs else None
    if stored is None:
        return (), ()
    there = [path for path in (stored / f"{job}.zip" for job in jobs) if path.is_file()]
    if not there:
        return (), ()
    newest = max(there, key=lambda path: path.stat().st_mtime_ns)
    return _read(newest, newest.stat().st_mtime_ns)


@lru_cache(maxsize=4)     # panels ask whenever they are drawn
def _read(path: Path, changed_ns: int) -> tuple[tuple[ViewMask, ...], tuple[str, ...]]:
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            warnings = tuple(map(str, json.loads(archive.read(_WARNINGS))))
        return read_archive(data), warnings
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, BadMasks) as error:
        log.warning("%s cannot be read: %s", path, error)
        return (), ()
