"""Bake: the base colour texture of an unwrapped mesh from the views.

For every texel: where it lies on the surface, which views see it (depth map, away from outlines), how well (angle,
pixels per surface, trust), then one colour in linear light out of the best of them. Exposure differences are evened out
before, highlights are held back by a robust mean, unseen texels take on their surroundings on the surface.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ...bridge.settings import BakeSettings, RefineMeshSettings, ViewsSettings
from ..render.colour import linear_from_srgb_table, srgb_bytes
from ..render.observe import ViewStack, blend_observations, observe
from .delight import ViewLight, find_view_light, fit_view_light
from .favour import view_favour
from .fill import pad_with_nearest, vertex_colors
from .normal_map import bake_normal_map, worth_a_normal_map
from .progress import Stage
from .texels import Texels
from .texture_fit import Projected, TextureSettings, fit_texture, judges_among, rounds_of, texture_preset
from .trust import stack_views
from .types import Mask, Mesh, TexturedMesh, UvMesh, ViewSet

SHARPNESS = 3.0              # exponent on weights: 1 = mean of the views, large = only the best view
BRIGHTER, DARKER = 0.12, 0.3  # log luminance off the median at which a view counts half: highlights are brighter
OBSERVATIONS_AT_ONCE = 4_000_000
LIGHT_SAMPLES = 10_000
FAINT = 0.01                 # of the median confidence: below, the fill shines through


@dataclass(frozen=True)
class Baked:
    """base_color: (H, W, 3) uint8 sRGB, row 0 = highest v; every texel is filled. light: what was divided out of it."""

    base_color: np.ndarray
    light: ViewLight

    @property
    def facts(self) -> dict[str, bool]:
        """For the summary of a job: whether a light that moved with the camera is out of the texture."""
        return {"light_evened": self.light.moves}


def bake_maps(uv_mesh: UvMesh, fine: Mesh | None, views: ViewSet, masks: tuple[Mask, ...], device: torch.device,
              stage: Stage, settings: ViewsSettings | RefineMeshSettings | BakeSettings) -> tuple[TexturedMesh, Baked]:
    """The mesh with all that a job writes into its texture space: colours, and what `fine` has of relief beyond it
    where that is worth a map (None: no map is wanted). Raises Cancelled."""
    texels = Texels(uv_mesh, settings.texture_px, device)
    baked = bake_texture(texels, views, masks, stage, texture_preset(settings.quality, settings.even_light))
    relief = None
    if fine is not None and worth_a_normal_map(fine, uv_mesh.mesh):
        relief = bake_normal_map(texels, fine, stage)
    return TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, baked.base_color, relief), baked


def bake_texture(texels: Texels, views: ViewSet, masks: tuple[Mask, ...], stage: Stage,
                 fit: TextureSettings | None = None) -> Baked:
    """The texture of a mesh, from the best views of each texel; with `fit` it is then optimised until the mesh looks
    like all its views, and a light that moves with the camera is taken out of it (texture_fit.py, delight.py).

    masks: one per view; a view whose mask has confidence 0 is left out. Progress counts views (their depth maps), then
    blocks of texels, then rounds of the fit. Raises Cancelled.
    """
    used = [(view, mask) for view, mask in zip(views.views, masks) if mask.confidence > 0]
    if not used:
        used = list(zip(views.views, masks))
    device = texels.device
    block = max(1, OBSERVATIONS_AT_ONCE // len(used))
    stage.total = stage.done + len(used) + math.ceil(texels.count / block)
    stage.total += 0 if fit is None else rounds_of(fit, len(used))
    stack = stack_views(texels.mesh, [view for view, _ in used], [mask for _, mask in used], device, stage)
    linear = torch.from_numpy(linear_from_srgb_table()).to(device)
    light = _light(texels, stack, linear, fit is not None and fit.moving_light)
    moving = light.moving_in_all(texels.normals)
    favour = view_favour(texels, stack, linear) * light.calm_in_all(texels.normals)
    judges = judges_among(len(used)) if fit is not None else ()
    full, blind = _Blended(texels.count), _Blended(texels.count) if judges else None
    for start in range(0, texels.count, block):
        part = slice(start, start + block)
        seen, weight = observe(*texels.surface(part), stack, linear)
        seen /= light.gain.exp()
        if light.moves:
            seen /= texels.at(part, moving).exp()[..., None]
        weight = torch.sqrt(weight * texels.at(part, favour))   # 0 stays 0: hidden is hidden
        full.blend(part, seen, weight)
        if blind is not None:
            weight[:, list(judges)] = 0
            blind.blend(part, seen, weight)
        stage.advance()
    stage.check()
    image = _filled(texels, full)
    if fit is not None:
        projected = Projected(image, None if blind is None else _filled(texels, blind))
        cameras = [view.camera for view, _ in used]
        image = fit_texture(projected, texels, cameras, stack, favour, moving, light, fit, stage)
    return Baked(pad_with_nearest(srgb_bytes(image), texels.covered), light)


class _Blended:
    """Colour (N, 3) linear and confidence (N,) of the texels, float32."""

    def __init__(self, count: int) -> None:
        self.color, self.confidence = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)

    def blend(self, part: slice, seen: torch.Tensor, weight: torch.Tensor) -> None:
        mixed, sure = blend_observations(seen, weight, SHARPNESS, BRIGHTER, DARKER)
        self.color[part], self.confidence[part] = mixed.cpu().numpy(), sure.cpu().numpy()


def _light(texels: Texels, stack: ViewStack, linear: torch.Tensor, moving: bool) -> ViewLight:
    """What makes the views differ, from evenly spread texels: exposures, and, if asked for, a light that moves."""
    points, normals = texels.surface(slice(0, None, max(1, texels.count // LIGHT_SAMPLES)))
    seen, weight = observe(points, normals, stack, linear)
    turn = stack.pose[:, :3, :3]
    if moving:
        return find_view_light(seen, weight, normals, turn)
    return fit_view_light(seen, weight, normals, turn, moving=False)


def _filled(texels: Texels, blended: _Blended) -> np.ndarray:
    """(H, W, 3) float32 linear: what is unseen or only faintly seen takes on its surroundings; 0 between the charts."""
    mesh, color, confidence = texels.mesh, blended.color, blended.confidence
    seen = confidence[confidence > 0]
    sure = np.clip(confidence / (FAINT * float(np.median(seen))), 0, 1) if len(seen) else confidence
    corners, weights = texels.corners()
    smooth = vertex_colors(len(mesh.vertices), mesh.faces, corners, weights, color, sure)
    faint = np.flatnonzero(sure < 1)
    under = (smooth[corners[faint]] * weights[faint][..., None]).sum(1)
    color[faint] += (1 - sure[faint])[:, None] * (under - color[faint])
    image = np.zeros((*texels.covered.shape, 3), np.float32)
    image[texels.covered] = color
    return image
