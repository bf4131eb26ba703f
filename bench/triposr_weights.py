"""TripoSR's weights in full size, random but always the same: PCG64 seeded by the crc32 of each tensor's name.

The goldens in tests/data/triposr/full were made with these.
"""
from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import torch

from ..engine.models.triposr.layout import Shape, TripoSrSizes, expected_layout


def random_tensor(name: str, shape: Shape) -> np.ndarray:
    """The tensor of a name: float32."""
    numbers = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, dtype=np.float32)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.1 * numbers
    if len(shape) == 1:
        return 0.05 * numbers
    if name.endswith(("cls_token", "position_embeddings")):
        return 0.5 * numbers
    if name == "tokenizer.embeddings":
        return numbers / math.sqrt(shape[1])
    inputs = shape[0] if "upsample" in name else int(np.prod(shape[1:]))
    gain = 1.5 if name.startswith("decoder") else 1.0
    return numbers * np.float32(gain / math.sqrt(inputs))


def random_weights(sizes: TripoSrSizes) -> dict[str, torch.Tensor]:
    """Name -> float32 tensor, all of the layout."""
    return {name: torch.from_numpy(np.ascontiguousarray(random_tensor(name, shape), dtype=np.float32))
            for name, shape in expected_layout(sizes).items()}


def write_checkpoint(path: Path) -> None:
    """A checkpoint of the official size and layout: 1.7 GB."""
    torch.save(random_weights(TripoSrSizes()), path)
