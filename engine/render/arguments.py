"""What all operations ask of their arguments, and how they say that it is not so."""
from __future__ import annotations

import math
from typing import Literal

import torch

from ...bridge.errors import BadSettings

Backend = Literal["warp", "nvdiffrast"]
MOST_FACES = 2**24 - 2          # triangle ids travel as float32, whole numbers up to 2**24


class ShapeError(ValueError):
    """An argument has another shape or dtype than the operation needs."""


def need(name: str, value: torch.Tensor, expected: str, good: bool) -> None:
    if not good:
        raise ShapeError(f"Expected {name} {expected}, got {tuple(value.shape)} {value.dtype}.")


def check_faces(faces: torch.Tensor, vertices: int) -> None:
    """Kernels read without looking: an index out of range would end the process."""
    need("faces", faces, "(F, 3) int32", faces.ndim == 2 and faces.shape[1] == 3 and faces.dtype == torch.int32)
    need("faces", faces, f"with at most {MOST_FACES} rows", len(faces) <= MOST_FACES)
    if len(faces):
        low, high = faces.aminmax()
        if int(low) < 0 or int(high) >= vertices:
            raise ShapeError(f"Expected faces with indices in [0, {vertices}), got [{int(low)}, {int(high)}].")


def check_positions(positions: torch.Tensor, views: int | None = None) -> torch.Tensor:
    """(1 or N, V, 4) contiguous. Raises ShapeError for NaN and infinity too."""
    positions = per_view("positions", positions, views, 4)
    # the extremes tell of NaN and infinity, in a tenth of isfinite's time
    if positions.numel() and not all(math.isfinite(each) for each in torch.aminmax(positions.detach())):
        raise ShapeError("Expected finite positions, got NaN or infinity.")
    return positions


def check_rast(rast: torch.Tensor) -> None:
    need("rast", rast, "(N, H, W, 4) float32", rast.ndim == 4 and rast.shape[3] == 4 and rast.dtype == torch.float32)


_TRIANGLES = "slipcast_triangles"      # attribute of what `rasterize` returned: how many there were, and its version


def mark_triangle_ids(rast: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """The same tensor; as long as nothing writes into it nobody needs to look through it again for these faces."""
    if not rast.is_inference():     # those count no versions
        setattr(rast, _TRIANGLES, (len(faces), rast._version))
    return rast


def check_triangle_ids(rast: torch.Tensor, faces: torch.Tensor) -> None:
    """rast is of these faces, or of as many."""
    if hasattr(rast, _TRIANGLES) and getattr(rast, _TRIANGLES) == (len(faces), rast._version):
        return
    highest = int(rast.detach()[..., 3].max()) if rast.numel() else 0      # max is 5 times as fast as amax on a stride
    if highest > len(faces):
        raise ShapeError(f"Expected triangles of rast among {len(faces)} faces, got {highest}.")


def per_view(name: str, value: torch.Tensor, views: int | None, width: int | None = None) -> torch.Tensor:
    """(V, C) or (N, V, C) float32 -> (1 or N, V, C) contiguous; one item is shared by all views."""
    wide = f"{width}" if width else "C"
    good = value.ndim in (2, 3) and value.dtype == torch.float32 and (width is None or value.shape[-1] == width)
    need(name, value, f"(V, {wide}) or (N, V, {wide}) float32", good)
    value = value if value.ndim == 3 else value[None]
    if views is not None:
        need(name, value, f"with 1 or {views} items", value.shape[0] in (1, views))
    return value.contiguous()


def check_backend(backend: str) -> None:
    if backend not in ("warp", "nvdiffrast"):
        raise BadSettings(f"There is no rasteriser called {backend!r}; choose 'warp' or 'nvdiffrast'.")
