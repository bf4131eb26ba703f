"""Pictures as PNG files, in memory."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ...bridge.errors import InternalError

if TYPE_CHECKING:
    import numpy as np

QUICK = 3           # of 9: half the time of 6 for a few percent more bytes


def png_bytes(image: np.ndarray, level: int = QUICK) -> bytes:
    """PNG of (H, W), (H, W, 3) or (H, W, 4) uint8, row 0 on top. level: of 9, how hard it is packed."""
    import cv2

    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not done:
        raise InternalError(f"A picture of shape {image.shape} could not be written as PNG.")
    return data.tobytes()
