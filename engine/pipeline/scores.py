"""How well a mesh explains views that it was not fitted to: outlines, and colours as the other views give them.

Colours are found for every pixel of a view that was left out, as the bake finds them for every texel. So a mesh can be
judged before it has texture coordinates, and two meshes are compared by their shape alone.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from ..render import clip_from_camera, find_fragments, interpolate_at
from ..render.colour import linear_from_srgb, linear_from_srgb_table, srgb_bytes, srgb_from_linear
from ..render.observe import ViewStack, blend_observations, observe
from .atlas import merged_corners
from .bake import BRIGHTER, DARKER, SHARPNESS
from .cameras import resize_camera
from .delight import ViewLight
from .lookup import read_pixels
from .normals import vertex_normals
from .progress import Stage
from .trust import stack_views
from .types import Camera, Mask, Mesh, Score, TexturedMesh, View, ViewSet

EVERY = 8              # every how many views one is left out
SCORE_PX = 400         # longer side at which views are compared
BEST_DB = 99.0         # of colours that do not differ at all


def leave_out(masks: Sequence[Mask]) -> tuple[int, ...]:
    """Numbers of the views to leave out: every 8th of those whose mask can be used; () where there are too few."""
    used = [number for number, mask in enumerate(masks) if mask.confidence > 0]
    return tuple(used[EVERY - 1::EVERY])


@dataclass(frozen=True)
class Judges:
    """Views that were left out, and those that were not; all at SCORE_PX."""

    left_out: tuple[View, ...]
    their_masks: tuple[Mask, ...]
    seen: tuple[View, ...]
    seen_masks: tuple[Mask, ...]


def judges_of(views: ViewSet, masks: Sequence[Mask], left_out: Sequence[int]) -> Judges:
    """Part the views. left_out: of leave_out(). Views whose mask has confidence 0 are in neither part."""
    small = {number: _small(view, mask) for number, (view, mask) in enumerate(zip(views.views, masks))
             if mask.confidence > 0}
    others = [number for number in small if number not in left_out]
    return Judges(tuple(small[each][0] for each in left_out), tuple(small[each][1] for each in left_out),
                  tuple(small[each][0] for each in others), tuple(small[each][1] for each in others))


def _small(view: View, mask: Mask) -> tuple[View, Mask]:
    camera = view.camera
    scale = min(1.0, SCORE_PX / max(camera.width, camera.height))
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    if (width, height) == (camera.width, camera.height):
        return view, mask
    size = (width, height)
    valid = None if view.valid is None else cv2.resize(view.valid.astype(np.uint8), size,
                                                       interpolation=cv2.INTER_NEAREST_EXACT) > 0
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    values = cv2.resize(mask.values.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return (View(view.name, resize_camera(camera, width, height), image, None, valid),
            replace(mask, values=values))


def score_mesh(mesh: Mesh, judges: Judges, device: torch.device, stage: Stage) -> Score:
    """Judge a mesh (world) by the views that were left out. Progress counts views. Raises Cancelled."""
    stack = stack_views(mesh, list(judges.seen), list(judges.seen_masks), device, stage)
    linear = torch.from_numpy(linear_from_srgb_table()).to(device)
    rows = []
    for view, mask in zip(judges.left_out, judges.their_masks):
        covered, face, weights = _fragments(mesh, view.camera, device)
        drawn = np.zeros((*covered.shape, 3), np.float32)
        drawn[covered] = _seen_from_others(mesh, face, weights, stack, linear)
        rows.append(_differences(drawn, covered, view, mask))
        stage.advance()
    return _mean(rows)


def score_texture(textured: TexturedMesh, judges: Judges, device: torch.device, stage: Stage,
                  light: ViewLight | None = None) -> float:
    """PSNR in decibels of a textured mesh over the object's pixels of the views that were left out.

    light: of bake_texture, found in the other views; None: there is none. What of it moves with the camera is put back
    on the surface as that view's camera would have it. Of the view itself nothing is used but its exposure
    (exposed_like).
    """
    _, uvs, split = merged_corners(textured.mesh.faces, textured.corner_uvs)
    height, width = textured.base_color.shape[:2]
    normals, rows = _normals(textured.mesh, device), []
    for view, mask in zip(judges.left_out, judges.their_masks):
        covered, face, weights = _fragments(textured.mesh, view.camera, device)
        uv = interpolate_at(face, weights, torch.from_numpy(split).to(device), torch.from_numpy(uvs).to(device))
        u, v = uv.cpu().numpy().T
        drawn = np.zeros((*covered.shape, 3), np.float32)
        drawn[covered] = read_pixels(textured.base_color, u * width, (1 - v) * height) / 255
        if light is not None and light.moves:
            drawn = _lit(drawn, covered, interpolate_at(face, weights, *normals), light, view.camera)
        photo = view.image.astype(np.float32) / 255
        drawn = exposed_like(drawn, photo, covered & (mask.values > 0.5))
        rows.append(_differences(drawn, covered, view, mask))
        stage.advance()
    return _mean(rows).psnr_db


def in_moving_light(drawn: np.ndarray, mesh: Mesh, light: ViewLight | None, camera: Camera,
                    device: torch.device) -> np.ndarray:
    """A picture of a mesh, (H, W, 3) float32 sRGB in [0, 1], as the light that moves with the camera makes it."""
    if light is None or not light.moves:
        return drawn
    covered, face, weights = _fragments(mesh, camera, device)
    return _lit(drawn, covered, interpolate_at(face, weights, *_normals(mesh, device)), light, camera)


def _normals(mesh: Mesh, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """What interpolate_at makes normals of: faces (F, 3) int32, and normals (V, 3)."""
    return (torch.from_numpy(np.ascontiguousarray(mesh.faces, np.int32)).to(device),
            torch.from_numpy(vertex_normals(mesh.vertices, mesh.faces)).to(device))


def _lit(drawn: np.ndarray, covered: np.ndarray, normals: torch.Tensor, light: ViewLight, camera: Camera) -> np.ndarray:
    """covered: (H, W) bool, which pixels show the mesh. normals: (N, 3), of each of them."""
    turn = torch.from_numpy(camera.camera_from_world[:3, :3].astype(np.float32)).to(normals.device)
    factor = light.moving(normals, turn).exp().cpu()
    lit = drawn.copy()
    lit[covered] = srgb_from_linear(linear_from_srgb(torch.from_numpy(drawn[covered])) * factor[:, None]).numpy()
    return lit


def exposed_like(drawn: np.ndarray, photo: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The drawing with the photo's exposure: one factor a channel, by least squares over some pixels.

    drawn, photo: (H, W, 3) float32 sRGB in [0, 1]. both: (H, W) bool, where both show the object. On a scale as near to
    a power as sRGB's, a factor of light is a factor of the value, but for the darkest.
    """
    shown = drawn[both]
    square = np.square(shown).sum(0)
    gain = np.where(square > 0, (shown * photo[both]).sum(0) / np.maximum(square, 1e-9), 1.0)
    return np.clip(drawn * gain, 0, 1).astype(np.float32)


def _fragments(mesh: Mesh, camera: Camera, device: torch.device) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Which pixels show the mesh, (H, W) bool, and the face and weights of each, (N,) and (N, 2)."""
    clip = torch.from_numpy(clip_from_camera(camera, mesh.vertices)).to(device)
    found = find_fragments(clip[None], torch.from_numpy(np.ascontiguousarray(mesh.faces, np.int32)).to(device),
                           camera.height, camera.width)
    covered = found.face[0] >= 0
    return covered.cpu().numpy(), found.face[0][covered], found.weights[0][covered]


def _seen_from_others(mesh: Mesh, face: torch.Tensor, weights: torch.Tensor, stack: ViewStack,
                      linear: torch.Tensor) -> np.ndarray:
    """(N, 3) float32 sRGB in [0, 1]; places that no other view sees take the mean of the rest."""
    device = linear.device
    faces, normals = _normals(mesh, device)
    places = torch.from_numpy(np.ascontiguousarray(mesh.vertices, np.float32)).to(device)
    points, ways = (interpolate_at(face, weights, faces, each) for each in (places, normals))
    colour, weight = observe(points, ways, stack, linear)
    mixed, sure = blend_observations(colour, torch.sqrt(weight), SHARPNESS, BRIGHTER, DARKER)
    known = sure > 0
    if bool(known.any()):
        mixed[~known] = mixed[known].mean(0)
    return srgb_bytes(mixed.cpu().numpy()).astype(np.float32) / 255


def _differences(drawn: np.ndarray, covered: np.ndarray, view: View, mask: Mask) -> tuple[float, float, float]:
    """(loss, mean square of the colours' differences, IoU) in one view. Where the mesh is missing it is black."""
    known = np.ones(covered.shape, bool) if view.valid is None else view.valid
    object_ = (mask.values > 0.5) & known
    cover = covered & known
    wanted = view.image.astype(np.float32) / 255
    pixels = max(1, int(object_.sum()))
    away = np.where(cover[..., None], drawn, 0) - wanted
    outline = np.abs(cover - mask.values * known).sum()
    colour = np.abs(away).mean(-1)[object_ & cover].sum()
    union = max(1, int((object_ | cover).sum()))
    return (float((outline + colour) / pixels), float(np.square(away)[object_].sum() / (3 * pixels)),
            float((object_ & cover).sum() / union))


def _mean(rows: list[tuple[float, float, float]]) -> Score:
    loss, square, iou = np.mean(rows, axis=0)
    psnr = BEST_DB if square <= 0 else min(BEST_DB, float(-10 * np.log10(square)))
    return Score(float(loss), psnr, float(iou))
