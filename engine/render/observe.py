"""What a set of views sees at surface points, and one robust colour out of it. Choices live in pipeline/bake.py."""
from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp

from .backend import launch_rows, wrap
from .observe_kernels import blend, look, vec3b


@dataclass(frozen=True)
class ViewStack:
    """Views packed end to end for the kernels; P = all pixels of all views. Tensors on one device.

    pose: (V, 4, 4) float32, camera_from_world. lens: (V, 4) float32 fx fy cx cy, pixels. size: (V, 2) int32 width,
    height. start: (V,) int64, first pixel of a view. pixels: (P, 3) uint8 sRGB. depth: (P,) float32, world units, inf =
    nothing. trust: (P,) uint8, 0 = not to be used, 255 = fully.
    """

    pose: torch.Tensor
    lens: torch.Tensor
    size: torch.Tensor
    start: torch.Tensor
    pixels: torch.Tensor
    depth: torch.Tensor
    trust: torch.Tensor


def observe(points: torch.Tensor, normals: torch.Tensor, views: ViewStack,
            linear: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and weight with which each view sees each surface point.

    points, normals: (N, 3) float32, world. linear: (256,) float32, linear light of each sRGB byte.
    Returns color (N, V, 3) float32 linear (0 where unseen) and weight (N, V) float32 >= 0: cosine squared, times pixels
    per squared world unit, times trust; 0 = hidden, outside the frame, seen from behind or not trusted.
    Hidden: further than the depth map by more than 1.5 pixels on a surface of that slope. Source: own.
    """
    count, views_count = len(points), len(views.start)
    color = torch.zeros((count, views_count, 3), dtype=torch.float32, device=points.device)
    weight = torch.zeros((count, views_count), dtype=torch.float32, device=points.device)
    arguments = [wrap(points, wp.vec3), wrap(normals, wp.vec3), wrap(views.pose, wp.mat44), wrap(views.lens, wp.vec4),
                 wrap(views.size), wrap(views.start), wrap(views.pixels, vec3b), wrap(views.depth), wrap(views.trust),
                 wrap(linear), wrap(color, wp.vec3), wrap(weight)]
    if count and views_count:
        launch_rows(look, count, lambda first, end: (end - first, views_count), arguments, points.device)
    return color, weight


def blend_observations(color: torch.Tensor, weight: torch.Tensor, sharpness: float, brighter: float,
                       darker: float) -> tuple[torch.Tensor, torch.Tensor]:
    """One colour a point: the views of highest weight, mixed by weight ** sharpness, outliers in brightness held back.

    color: (N, V, 3) float32 linear. weight: (N, V) float32. brighter, darker: log-luminance units at which a view that
    is brighter (a highlight) or darker than the weighted median counts half. Only the 8 best views take part.
    Returns color (N, 3) and confidence (N,) float32: the weight of the leading view, 0 = unseen.
    Source: own. Slow twin: reference.blend_observations_ref.
    """
    result = torch.zeros((len(color), 3), dtype=torch.float32, device=color.device)
    confidence = torch.zeros(len(color), dtype=torch.float32, device=color.device)
    if len(color):
        arguments = [wrap(color, wp.vec3), wrap(weight), sharpness, brighter, darker, wrap(result, wp.vec3),
                     wrap(confidence)]
        launch_rows(blend, len(color), lambda first, end: end - first, arguments, color.device)
    return result, confidence
