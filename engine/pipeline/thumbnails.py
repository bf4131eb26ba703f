"""Small pictures of a job for the history: of its result and of its input."""
from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ...bridge.folders import PICTURE_SUFFIXES
from .png import png_bytes
from .turntable import render_portrait
from .types import Mesh, TexturedMesh

log = logging.getLogger(__name__)
THUMBNAIL_PX = 256


def textured_from_artefacts(data: Mapping[str, bytes | memoryview]) -> TexturedMesh | None:
    """The mesh of a result, from the bytes of `vertices`, `faces`, `corner_uvs`, `base_color` and, where there is one,
    `normal_map` (docs/protocol.md).

    None when one of them is missing, or is no array or picture: a result without a textured mesh.
    """
    if not {"vertices", "faces", "corner_uvs", "base_color"} <= data.keys():
        return None
    try:
        vertices = np.frombuffer(data["vertices"], "<f4").reshape(-1, 3).copy()
        faces = np.frombuffer(data["faces"], "<i4").reshape(-1, 3).copy()
        uvs = np.frombuffer(data["corner_uvs"], "<f4").reshape(-1, 3, 2).copy()
        color, relief = (_picture(data[name]) if name in data else None for name in ("base_color", "normal_map"))
    except (OSError, ValueError) as error:
        log.warning("a result cannot be read: %s", error)
        return None
    if not len(faces) or len(uvs) != len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        return None
    assert color is not None
    return TexturedMesh(Mesh(vertices, faces), uvs, color, relief)


def _picture(data: bytes | memoryview) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def result_thumbnail(textured: TexturedMesh, device: torch.device) -> bytes:
    """PNG of the result, THUMBNAIL_PX a side."""
    return png_bytes(render_portrait(textured, THUMBNAIL_PX, device))


def input_thumbnail(files: Mapping[str, Path]) -> bytes | None:
    """PNG of the picture, or of the first view by name, upright, at most THUMBNAIL_PX a side, alpha kept.

    files: label -> file. None when no input is a picture that can be read in small (EXR, a mesh alone).
    """
    named = sorted(label for label in files if label.lower().endswith(PICTURE_SUFFIXES) and "mask" not in label.lower())
    for label in ("image", *named):
        if label not in files:
            continue
        try:
            with Image.open(files[label]) as picture:
                picture.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
                small = ImageOps.exif_transpose(picture)
                small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
                buffer = io.BytesIO()
                small.convert("RGBA" if "A" in small.getbands() or "transparency" in small.info else "RGB").save(
                    buffer, "PNG")
                return buffer.getvalue()
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            log.info("no thumbnail of %s: %s", label, error)
    return None
