"""Picture to field: tokens, backbone and decoder in a row, on one device."""
from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from .backbone import scene_code, start_tokens, transform_tokens
from .field import CHUNK, TriplaneField
from .layout import TripoSrSizes
from .tokens import image_tokens, normalise, resize_picture
from .weights import Weights, on_device

_CUDA_CHUNK = 1 << 20       # points at a time where launches cost more than memory


class Network:
    """tensors: from read_checkpoint; on the CPU they are used as they are, not copied. device: "cpu" or "cuda:N"."""

    def __init__(self, tensors: Mapping[str, Tensor], sizes: TripoSrSizes, device: str) -> None:
        self._device, self._sizes = torch.device(device), sizes
        self._weights = Weights(on_device(tensors, self._device))

    @property
    def steps(self) -> int:
        """How often `field` says that it has come further."""
        return self._sizes.vit_layers + self._sizes.layers

    @torch.inference_mode()
    def field(self, picture: np.ndarray, half: bool, advance: Callable[[], None]) -> TriplaneField:
        """The field of a conditioned picture: (S, S, 3) uint8, sRGB. advance: called `steps` times; may raise to stop.

        half: the two transformers compute in bfloat16; the field stays in float32.
        """
        image = torch.from_numpy(picture).to(self._device)[None]
        image = normalise(resize_picture(image, self._sizes.image_px))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            context = image_tokens(self._weights, self._sizes, image, lambda number: advance())
            tokens = transform_tokens(self._weights, self._sizes, start_tokens(self._weights), context,
                                      lambda number: advance())
        code = scene_code(self._weights, self._sizes, tokens.to(torch.float32))
        chunk = CHUNK if self._device.type == "cpu" else _CUDA_CHUNK
        return TriplaneField(code[0], self._weights.below("decoder.layers"), self._sizes, chunk)
