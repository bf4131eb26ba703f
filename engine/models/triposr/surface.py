"""The surface of the field, in the model's own frame. Source: spec triposr, section 6."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from skimage.measure import marching_cubes

from ....bridge.errors import BadMasks
from ...pipeline.types import Mesh
from .density import density_near
from .field import TriplaneField
from .lattice import Lattice

_RAW_MAX = 60.0         # exp(59) is a number, exp(100) is not; far above any threshold
_OUTSIDE = -4.0         # raw density below the level of what lies beyond the box, when it is closed there


@torch.inference_mode()
def field_surface(field: TriplaneField, resolution: int, threshold: float, check: Callable[[], None] = lambda: None, *,
                  smooth: bool, closed: bool) -> Mesh:
    """The surface where the density is `threshold`: faces counter-clockwise from outside, in the model's frame.

    resolution: lattice points along an axis of the box. check: called often; may raise to stop.
    smooth: interpolate the raw density, which is close to linear between points; otherwise the density, which grows
    exponentially and draws vertices outwards (what the published code does: same triangles, other places).
    closed: where the field is dense up to the border of the box, close the surface just outside of it.
    Raises BadMasks when there is no surface.
    """
    level = math.log(threshold) - field.sizes.density_bias
    raw = density_near(Lattice(field, resolution, check), level).raw
    return surface_of_raw(raw, field, threshold, smooth=smooth, closed=closed)


def surface_of_raw(raw: torch.Tensor, field: TriplaneField, threshold: float, *, smooth: bool, closed: bool) -> Mesh:
    """As field_surface, from raw densities (R, R, R) on the lattice. Raises BadMasks."""
    level = math.log(threshold) - field.sizes.density_bias
    if smooth:
        values, outside = raw - level, _OUTSIDE
    else:
        values, outside = field.density(raw.clamp(max=_RAW_MAX)) - threshold, -threshold
    if not (values > 0).any() or not (values < 0).any():
        raise BadMasks("The model sees no object in this picture.",
                       "Check that the mask is white on the object and nowhere else, or change the density threshold.")
    samples = values.cpu().numpy()
    if closed:
        samples = np.pad(samples, 1, constant_values=outside)
    vertices, faces, _, _ = marching_cubes(samples, 0.0, gradient_direction="ascent")
    step, radius = 2 * field.sizes.radius / (raw.shape[0] - 1), field.sizes.radius
    places = (vertices.astype(np.float64) - int(closed)) * step - radius
    return Mesh(places.astype(np.float32), faces.astype(np.int32))
