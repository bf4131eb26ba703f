"""The four operations by nvdiffrast, where someone has installed it and the device is CUDA.

It is never chosen unasked: its licence allows research and evaluation only. Written from its public documentation.
"""
from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import torch

from ...bridge.errors import BadSettings

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        import nvdiffrast.torch as library  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadSettings("The rasteriser 'nvdiffrast' is chosen, but it is not installed here.",
                          "Install it into the engine's Python environment, or choose 'warp'.") from error
    log.info("Rasterising with nvdiffrast, as chosen in the settings.")
    return library


@lru_cache(maxsize=8)
def _context(device: torch.device) -> Any:
    """One a device: making it takes seconds, and the library says to keep it."""
    return _library().RasterizeCudaContext(device=device)


def require(device: torch.device) -> Any:
    """The library. Raises BadSettings where it is missing or the device is not a CUDA device."""
    library = _library()
    if device.type != "cuda":
        raise BadSettings(f"The rasteriser 'nvdiffrast' needs an NVIDIA GPU, and this job runs on {device}.",
                          "Choose 'warp', or a CUDA device.")
    return library


def rasterize(positions: torch.Tensor, faces: torch.Tensor, resolution: tuple[int, int]) -> torch.Tensor:
    library = require(positions.device)
    rast, _ = library.rasterize(_context(positions.device), positions, faces, list(resolution))
    return rast


def interpolate(attributes: torch.Tensor, rast: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    result, _ = require(rast.device).interpolate(attributes, rast, faces)
    return result


def texture(tex: torch.Tensor, uv: torch.Tensor, uv_da: torch.Tensor | None, filter_mode: str, boundary: str,
            max_level: int | None) -> torch.Tensor:
    library = require(uv.device)
    if filter_mode == "linear":
        return library.texture(tex.contiguous(), uv, filter_mode=filter_mode, boundary_mode=boundary)
    return library.texture(tex.contiguous(), uv, uv_da, filter_mode=filter_mode, boundary_mode=boundary,
                           max_mip_level=max_level)


def antialias(color: torch.Tensor, rast: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    library = require(color.device)
    positions = positions.expand(len(rast), -1, -1).contiguous()
    return library.antialias(color.contiguous(), rast.contiguous(), positions, faces)
