"""Texture fit: the base colour, optimised in texture space until the mesh, drawn with it, looks like its views.

The projection (bake.py) takes each texel from the few views that see it best. Here all views have their say through the
renderer, each at its own sharpness (mipmaps): what a pixel shows is the mean of the texels under it, in linear light,
times the light of its view. Pixels that are brighter than the surface can be (highlights) count little.
"""
from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..render import clip_from_camera, find_fragments, interpolate_at, texture
from ..render.colour import linear_from_srgb_table, srgb_slope
from ..render.observe import ViewStack
from .delight import ViewLight
from .fill import pad_with_nearest
from .normals import face_normals
from .presets import preset_of
from .progress import Stage
from .refine_clock import Watch
from .texels import Texels
from .texture_losses import trust_of
from .types import Camera, UvMesh

log = logging.getLogger(__name__)
ROW = 1024                  # pixels are packed into rows of so many, as `texture` wants an image
PIXELS_A_TEXEL = 8          # of all views together; of more, evenly spread ones are taken
MAX_PIXELS = 8_000_000
PREFERENCE = 1.5            # exponent of a view's favour beside the most favoured one's at the same place
FAITH = 0.05                # of the median texel's weight: pull to the projection
SHARPER = 0.5               # of a pixel's width: mipmaps and bilinear reading already blur by as much
MIN_COSINE = 0.1            # of the angle at which a pixel sees its surface: a flatter one counts as this
COARSEST = 6                # mip level
TRIAL_ROUNDS = 2
LAST_STEP = 0.3             # share of a full step that is left in the last round
HELD_OUT = 8                # every how many views one judges the fit before it joins
LEAST_VIEWS = 16            # with fewer none is held out
CLEARLY_WORSE = 1.1         # times the error of the projection: told to the person


@dataclass(frozen=True)
class TextureSettings:
    """How a texture is fitted to its views.

    rounds: times that every view is looked at. views_per_step: between two updates. seconds: after which no new round
    begins; processor seconds of one thread on a CPU. moving_light: take out a light that moves with the camera.
    """

    rounds: int = 4
    views_per_step: int = 7
    seconds: float = 40.0
    moving_light: bool = True


TEXTURE_PRESETS: dict[str, TextureSettings] = {
    "draft": TextureSettings(rounds=2, seconds=12.0),
    "normal": TextureSettings(),
    "high": TextureSettings(rounds=8, seconds=120.0),
}


def texture_preset(quality: str, moving_light: bool = True) -> TextureSettings:
    """The row of a quality name. Raises BadSettings for a name that is not in the table."""
    return dataclasses.replace(preset_of(quality, TEXTURE_PRESETS), moving_light=moving_light)


def judges_among(views: int) -> tuple[int, ...]:
    """Numbers of the views that judge the fit: every 8th; none where there are fewer than 16."""
    return tuple(range(views))[HELD_OUT - 1::HELD_OUT] if views >= LEAST_VIEWS else ()


def rounds_of(settings: TextureSettings, views: int) -> int:
    """How many rounds a fit takes at most, with those of its trial."""
    return settings.rounds + (TRIAL_ROUNDS if judges_among(views) else 0)


@dataclass(frozen=True)
class Projected:
    """What the fit begins with. image: (H, W, 3) float32 linear. blind: the same without the judges' views, or None:
    there are none."""

    image: np.ndarray
    blind: np.ndarray | None


def fit_texture(projected: Projected, texels: Texels, cameras: Sequence[Camera], stack: ViewStack,
                favour: torch.Tensor, moving: torch.Tensor, light: ViewLight, settings: TextureSettings,
                stage: Stage) -> np.ndarray:
    """The projected texture, (H, W, 3) float32 linear, brought closer to its views; itself where that fails.

    cameras: of the views in `stack`. favour: (V, views), of view_favour. moving: (V, views), log of the light
    that moves, at the vertices. light: what the projection was freed from.
    Progress counts rounds; the loss is that of the last one. Raises Cancelled.
    First a short fit to all but the judges must show them more than their projection from the same views does; of
    fewer than 16 views, all of them judge. Where no view looks, nothing pulls and the projection's fill stays.
    Source: steps after SIRT (Gregor and Benson 2008): each texel's pull is divided by all that pulls on it, so there is
    no rate to choose.
    """
    if stage.ends_early():
        stage.total -= rounds_of(settings, len(cameras))
        return projected.image
    device = stack.pose.device
    watch = Watch(settings.seconds, device)
    views = _Views(texels, cameras, stack, favour, moving, light, stage)
    everyone, judges = tuple(range(len(cameras))), judges_among(len(cameras))
    fitted = tuple(each for each in everyone if each not in judges)
    first = projected.image if projected.blind is None else projected.blind

    def begin(image: np.ndarray) -> _Fit:
        return _Fit(torch.from_numpy(pad_with_nearest(image, texels.covered)).to(device), views, settings, stage)

    planned, fit = stage.done + rounds_of(settings, len(cameras)), begin(first)
    before = fit.error(judges or everyone)
    fit.run(fitted, TRIAL_ROUNDS if judges else settings.rounds, watch)
    after = fit.error(judges or everyone)
    log.info("texture: what judges leave unexplained went from %.6f to %.6f", before, after)
    if after > before or not bool(fit.texels.isfinite().all()):
        if after > CLEARLY_WORSE * before:
            stage.warn("The photos contradict each other about the colours, so each place was coloured from the photos "
                       "that show it best, not from all. Check that the cameras belong to these photos.")
        fit = begin(projected.image)
    elif judges:
        fit = begin(projected.image)
        fit.run(everyone, settings.rounds, watch)
    stage.total -= planned - stage.done     # rounds that were not needed, or for which there was no time
    return fit.texels.cpu().numpy()


@dataclass(frozen=True)
class _Pixels:
    """What a view shows of the surface, M pixels. uv: (M, 2), v down. footprint: (M,), longer side of a pixel on the
    surface, in UV units. wanted: (M, 3) uint8 sRGB. weight: (M,). moving: (M,) log of the light that moves."""

    uv: torch.Tensor
    footprint: torch.Tensor
    wanted: torch.Tensor
    weight: torch.Tensor
    moving: torch.Tensor


class _Views:
    """All views, pixel by pixel, ready to be compared with a texture."""

    def __init__(self, texels: Texels, cameras: Sequence[Camera], stack: ViewStack, favour: torch.Tensor,
                 moving: torch.Tensor, light: ViewLight, stage: Stage) -> None:
        device = stack.pose.device
        self._linear = torch.from_numpy(linear_from_srgb_table()).to(device)
        self._gain = light.gain.exp()
        self._texels = texels
        self._uvs = torch.stack([texels.uvs[:, 0], 1 - texels.uvs[:, 1]], -1)
        self._density = torch.from_numpy(_uv_per_length(texels.uv_mesh)).to(device)
        # of each view at the vertices: how much it is preferred, and the log of its moving light
        self._seen_so = torch.stack([(favour / favour.amax(1, keepdim=True)) ** PREFERENCE, moving], 2)
        every = max(1, math.ceil(int((stack.trust > 0).sum()) / min(MAX_PIXELS, PIXELS_A_TEXEL * max(1, texels.count))))
        self._pixels = []
        for number, camera in enumerate(cameras):
            self._pixels.append(self._look(number, camera, stack, every))
            stage.check()

    def _look(self, number: int, camera: Camera, stack: ViewStack, every: int) -> _Pixels:
        texels, faces = self._texels, self._texels.faces
        clip = torch.from_numpy(clip_from_camera(camera, texels.mesh.vertices)).to(stack.pose.device)[None]
        found = find_fragments(clip, faces, camera.height, camera.width)
        first = int(stack.start[number])
        trust = stack.trust[first:first + camera.height * camera.width]
        face = found.face[0].reshape(-1)
        at = torch.nonzero((trust > 0) & (face >= 0))[number % every::every, 0]
        face, weights = face[at], found.weights[0].reshape(-1, 2)[at]
        normals = torch.nn.functional.normalize(interpolate_at(face, weights, faces, texels.normals), dim=1)
        row, column = at // camera.width, at % camera.width
        ray = torch.stack([(column + 0.5 - camera.cx) / camera.fx, (row + 0.5 - camera.cy) / camera.fy,
                           torch.ones_like(row)], 1).to(torch.float32)
        seen = normals @ stack.pose[number, :3, :3].T
        cosine = -(seen * torch.nn.functional.normalize(ray, dim=1)).sum(1).clamp(max=-MIN_COSINE)
        pixel = found.depth[0].reshape(-1)[at] / camera.fx
        preferred, moving = interpolate_at(face, weights, faces, self._seen_so[:, number]).unbind(1)
        return _Pixels(interpolate_at(face, weights, texels.split, self._uvs),
                       SHARPER * self._density[face.long()] * pixel / cosine.sqrt(),
                       stack.pixels[first:first + len(trust)][at],
                       cosine.square() * preferred * trust[at] / 255, moving)

    def of(self, numbers: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """uv (1, R, ROW, 2), its derivatives (1, R, ROW, 4), and of the pixels: wanted (M, 3) linear, weight (M,) and
        light (M, 3)."""
        chosen = [self._pixels[each] for each in numbers]
        uv = torch.cat([each.uv for each in chosen])
        footprint = torch.cat([each.footprint for each in chosen])
        room = -len(uv) % ROW
        uv = torch.nn.functional.pad(uv, (0, 0, 0, room)).view(1, -1, ROW, 2)
        round_ = torch.nn.functional.pad(footprint, (0, room)).view(1, -1, ROW)
        nothing = torch.zeros_like(round_)
        light = torch.cat([each.moving.exp()[:, None] * self._gain[number] for number, each in zip(numbers, chosen)])
        wanted = self._linear[torch.cat([each.wanted for each in chosen]).long()]
        return (uv, torch.stack([round_, nothing, nothing, round_], -1), wanted,
                torch.cat([each.weight for each in chosen]), light)


class _Fit:
    """A texture under way. texels: (H, W, 3) linear."""

    def __init__(self, start: torch.Tensor, views: _Views, settings: TextureSettings, stage: Stage) -> None:
        self.texels, self._start, self._views = start, start, views
        self._settings, self._stage, self._loss = settings, stage, 0.0

    def run(self, numbers: Sequence[int], rounds: int, watch: Watch) -> None:
        """Look at some of the views `rounds` times, in an order that is the same in every run."""
        count = max(1, -(-len(numbers) // self._settings.views_per_step))
        steps = [numbers[each::count] for each in range(count)]
        own = [self._weights(chosen) for chosen in steps]
        mean = torch.stack(own).mean(0)
        faith = FAITH * (mean[mean > 0].median() if bool((mean > 0).any()) else mean.new_tensor(1.0))
        for round_ in range(rounds):
            if watch.over or self._stage.ends_early():
                return
            rate = LAST_STEP ** (round_ / max(1, rounds - 1))
            for chosen, weights in zip(steps, own):
                pull = self._pull(chosen) + faith * (self.texels - self._start)
                # a step that alone sees a texel must not take it further than all of them would
                self.texels = (self.texels - rate * pull / (torch.maximum(weights, mean) + faith)).clamp_(0, 1)
                self._stage.check()
            self._stage.loss = self._loss
            self._stage.advance()

    def error(self, numbers: Sequence[int]) -> float:
        """Mean loss over the pixels of some views, by their weight."""
        total = weights = 0.0
        for number in numbers:
            uv, change, wanted, weight, light = self._views.of([number])
            shown = self._shown(self.texels, uv, change, len(wanted)) * light
            total += float((trust_of(shown, wanted)[1] * weight).sum())
            weights += float(weight.sum())
            self._stage.check()
        return total / max(weights, 1e-30)

    def _pull(self, numbers: Sequence[int]) -> torch.Tensor:
        """(H, W, 3): where texels would go to make some views look right, times what pulls on them."""
        uv, change, wanted, weight, light = self._views.of(numbers)
        texels = self.texels.clone().requires_grad_()
        seen = self._shown(texels, uv, change, len(wanted))
        shown = seen.detach() * light
        trust, loss = trust_of(shown, wanted)
        self._loss = float((loss * weight).sum() / weight.sum().clamp(min=1e-30))
        seen.backward((shown - wanted) * trust * weight[:, None] * light * srgb_slope(wanted).square())
        assert texels.grad is not None
        return texels.grad

    def _weights(self, numbers: Sequence[int]) -> torch.Tensor:
        """(H, W, 1): what pulls on each texel at most."""
        uv, change, wanted, weight, light = self._views.of(numbers)
        ones = torch.ones_like(self.texels[..., :1]).requires_grad_()
        most = (light * srgb_slope(wanted)).square().amax(1, keepdim=True)
        self._shown(ones, uv, change, len(wanted)).backward(most * weight[:, None])
        assert ones.grad is not None
        return ones.grad

    @staticmethod
    def _shown(texels: torch.Tensor, uv: torch.Tensor, change: torch.Tensor, count: int) -> torch.Tensor:
        return texture(texels, uv, change, "linear-mipmap-linear", "clamp", COARSEST).flatten(0, 2)[:count]


def _uv_per_length(uv_mesh: UvMesh) -> np.ndarray:
    """(F,) float32: UV units on a world unit of each face; 0 for a face without area in either."""
    area = np.linalg.norm(face_normals(uv_mesh.mesh.vertices, uv_mesh.mesh.faces), axis=1)
    sides = uv_mesh.corner_uvs[:, 1:].astype(np.float64) - uv_mesh.corner_uvs[:, :1]
    return np.sqrt(np.abs(np.linalg.det(sides)) / np.where(area > 0, area, np.inf)).astype(np.float32)
