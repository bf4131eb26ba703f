"""The mask of a job with one picture, kept as those of jobs with views are. No bpy."""
from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

PICTURE_VIEW = "image"      # what the one view of such a job is called, as its camera is


def archive_of_mask(mask: bytes, summary: Mapping[str, Any]) -> bytes:
    """The artefact "mask" (a PNG) and what the summary tells of it, as the artefact "masks" of jobs with views
    (docs/protocol.md)."""
    held = io.BytesIO()
    row = {"view": PICTURE_VIEW, "source": str(summary.get("mask_source", "")),
           "confidence": float(summary.get("mask_confidence", 1.0)), "file": "0000.png"}
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(row["file"], mask)
        archive.writestr("masks.json", json.dumps([row]))
    return held.getvalue()
