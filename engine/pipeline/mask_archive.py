"""What the engine took for the object in each view, packed for a person to look at and to paint over.

A zip with `masks.json`, a list of {"view", "source", "confidence", "cover", "file"}: view as the view folder calls its
picture, source and confidence as in types.Mask, cover = share of the picture. `file` names a PNG in the zip, grey, with
white for the object, at the proportions of the picture as it is stored (lens distortion put back); null where the mask
came with the picture, so that nothing was drawn.
"""
from __future__ import annotations

import io
import json
import zipfile

import cv2
import numpy as np

from .lens import Lens, distort
from .matting import mask_views
from .png import png_bytes
from .progress import Run
from .types import Camera, Mask, ViewSet

GIVEN = "alpha"       # the source of masks that nobody drew
TABLE = "masks.json"
ROUNDS = 12           # of the fixed point that undoes a lens; real ones settle to 1e-3 pixels in half of them


def find_masks(views: ViewSet, cutout_px: int, run: Run) -> tuple[Mask, ...]:
    """The stage "masks" of a run; the zip goes beside its result. cutout_px: of mask_views.

    Raises BadMasks, Cancelled.
    """
    with run.stage("masks", total=len(views.views), unit="views") as stage:
        masks = mask_views(views, stage, cutout_px)
        run.attach("masks", "application/zip", pack_masks(views, masks))
    return masks


def pack_masks(views: ViewSet, masks: tuple[Mask, ...]) -> bytes:
    """The zip. masks: one per view."""
    rows, held = [], io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for number, (view, mask) in enumerate(zip(views.views, masks, strict=True)):
            file = None if mask.source == GIVEN else f"{number:04}.png"
            rows.append({"view": view.name, "source": mask.source, "confidence": round(mask.confidence, 3),
                         "cover": round(float((mask.values > 0.5).mean()), 5), "file": file})
            if file is not None:
                values = as_photographed(mask.values, view.camera, view.lens)
                archive.writestr(_entry(file), png_bytes((values * 255 + 0.5).astype(np.uint8)))
        archive.writestr(_entry(TABLE), json.dumps(rows, allow_nan=False))
    return held.getvalue()


def as_photographed(values: np.ndarray, camera: Camera, lens: Lens) -> np.ndarray:
    """(H, W) float32 of an undistorted view -> the same through its lens, as the photo is stored. 0 outside."""
    if lens.is_pinhole:
        return values
    across = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    down = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    wanted = np.stack(np.meshgrid(across, down), axis=-1)
    ideal = wanted.copy()
    for _ in range(ROUNDS):
        moved, meant = distort(ideal, lens)
        ideal = np.where(meant[..., None], ideal + (wanted - moved), wanted)
    # cv2.remap counts from pixel centres, Slipcast from the corner: hence the half pixels
    at_x = (ideal[..., 0] * camera.fx + camera.cx - 0.5).astype(np.float32)
    at_y = (ideal[..., 1] * camera.fy + camera.cy - 0.5).astype(np.float32)
    return cv2.remap(values.astype(np.float32), at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))    # the same bytes whenever it is made
