"""Pictures of objects that we draw: outlines with one part, with holes, with several parts, with thin parts."""
from __future__ import annotations

import cv2
import numpy as np

SIZE = 240


def _outline(name: str) -> np.ndarray:
    """(SIZE, SIZE) uint8, soft edge."""
    big = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    white, s = (255,), 4

    def disc(x: float, y: float, r: float, value: int = 255) -> None:
        cv2.circle(big, (round(s * x), round(s * y)), round(s * r), (value,), -1)

    if name == "disc":
        disc(120, 120, 80)
    elif name == "ring":
        disc(120, 120, 90), disc(120, 120, 45, 0)
    elif name == "parts":
        disc(70, 90, 40), disc(165, 90, 45), disc(110, 190, 25)
    elif name == "figure":
        disc(120, 50, 26)
        for start, end, width in (((120, 70), (120, 150), 44), ((120, 90), (60, 140), 12), ((120, 90), (190, 100), 12),
                                  ((112, 150), (90, 225), 16), ((128, 150), (150, 225), 16)):
            cv2.line(big, tuple(s * v for v in start), tuple(s * v for v in end), white, s * width)
    elif name == "block":
        cv2.rectangle(big, (s * 50, s * 60), (s * 190, s * 210), white, -1)
    return cv2.resize(big, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


OUTLINES = ("disc", "ring", "parts", "figure", "block")


def picture_of(name: str) -> np.ndarray:
    """(SIZE, SIZE, 4) uint8: red grows to the right, green downwards; what is cut out is loud magenta."""
    alpha = _outline(name)
    ramp = np.linspace(40, 220, SIZE).astype(np.uint8)
    image = np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.full((SIZE, SIZE), 60, np.uint8)],
                     axis=2)
    image[alpha == 0] = (255, 0, 255)
    return np.dstack([image, alpha])


def on_backdrop(name: str, grey: int = 235) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8: the same, photographed in front of a plain backdrop."""
    picture = picture_of(name).astype(np.float32)
    alpha = picture[:, :, 3:] / 255
    return (picture[:, :, :3] * alpha + grey * (1 - alpha) + 0.5).astype(np.uint8)
