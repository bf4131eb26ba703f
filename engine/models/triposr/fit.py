"""A surface within the memory there is: smaller pieces first, then a coarser lattice, each told to the person."""
from __future__ import annotations

import dataclasses

import torch

from ...pipeline.progress import Stage
from ...pipeline.types import Mesh
from ..memory import is_out_of_memory
from .field import CHUNK, TriplaneField
from .model import TripoSrSettings
from .surface import field_surface

_COARSEST = 64      # the settings' own lower end


def surface_that_fits(field: TriplaneField, settings: TripoSrSettings, stage: Stage) -> tuple[Mesh, TriplaneField]:
    """The closed surface in the model's frame, and the field with the chunk that did fit, for what is asked next.

    Raises BadMasks, Cancelled, and what said that memory ran out when nothing smaller is left to try.
    """
    resolution = settings.resolution
    short = "This computer" if field.code.device.type == "cpu" else "The GPU"
    while True:
        try:
            return field_surface(field, resolution, settings.threshold, stage.check, smooth=settings.smooth_surface,
                                 closed=True), field
        except (MemoryError, RuntimeError) as error:     # torch's own kinds are among the latter
            if not is_out_of_memory(error) or field.chunk <= CHUNK and resolution <= _COARSEST:
                raise
        # outside of the handler: the error holds on to the tensors of the frames it passed
        torch.cuda.empty_cache()
        if field.chunk > CHUNK:
            field = dataclasses.replace(field, chunk=CHUNK)
            stage.warn(f"{short} ran short of memory; the surface was computed in smaller pieces, which takes longer.")
        else:
            resolution = max(_COARSEST, resolution // 2)
            stage.warn(f"{short} ran out of memory; the surface has resolution {resolution} instead of "
                       f"{settings.resolution}.")
