"""A view into a flat table of weights: the tensors below one name, and the layers that are made of them."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


class Weights:
    """Tensors by name, relative to a prefix. Nothing is copied; the arithmetic follows the input's type and device."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self._tensors, self._prefix = tensors, prefix

    def below(self, name: str) -> Weights:
        """The same table seen from `name`."""
        return Weights(self._tensors, f"{self._prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]

    def linear(self, name: str, values: Tensor) -> Tensor:
        """values (..., in) -> (..., out), with the bias if there is one."""
        bias = self._tensors.get(f"{self._prefix}{name}.bias")
        return functional.linear(values, self[f"{name}.weight"], bias)

    def layer_norm(self, name: str, values: Tensor, eps: float) -> Tensor:
        """Over the last axis."""
        return functional.layer_norm(values, values.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention of several heads side by side. query: (B, N, C), key and value: (B, M, C). Returns (B, N, C)."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def on_device(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The same table on `device`; on the CPU the very same tensors."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}
