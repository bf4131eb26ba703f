"""What the views show of the object, cut out and brought down to one size: the targets of an optimisation."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .types import Camera, Mask, Mesh, View

MARGIN = 0.04          # of the object's box in a view, on each side
LEAST_MARGIN_PX = 3
FRAME_PX = 2           # the frame's border may cut the object: nothing is known there
ROOM = 1.5             # radii around the mesh in which it may move
NEAREST = 1e-3         # near plane, as a fraction of the far one


@dataclass(frozen=True)
class Targets:
    """N views of one size S x S. clip: (N, 4, 4) float32, homogeneous unit frame -> clip space (y down, w in world
    units along the camera's axis). turn: (N, 3, 3) float32, directions in the world -> the camera's axes.

    rgba: (N, S, S, 4) uint8, colour times coverage, and coverage. known: (N, S, S) uint8, 255 = the view knows.
    trust: (N,) float32, the masks' confidence. depth: (N, S, S) float32, world units along the camera's axis, NaN
    where there is none; normals: (N, S, S, 3) float32, world, 0 where there is none; None: no view has any.
    """

    clip: torch.Tensor
    turn: torch.Tensor
    rgba: torch.Tensor
    known: torch.Tensor
    trust: torch.Tensor
    depth: torch.Tensor | None
    normals: torch.Tensor | None

    def of(self, views: Sequence[int]) -> Targets:
        """Some of them."""
        at = torch.as_tensor(views, device=self.clip.device)
        depth, normals = (None if each is None else each[at] for each in (self.depth, self.normals))
        return Targets(self.clip[at], self.turn[at], self.rgba[at], self.known[at], self.trust[at], depth, normals)


@dataclass(frozen=True)
class Crop:
    """A square of a view, in pixels; it may reach over the frame."""

    left: int
    top: int
    side: int


def crop_of(camera: Camera, mask: Mask, mesh: Mesh) -> Crop:
    """The square around what the mask and the mesh show in a view."""
    corners: list[np.ndarray] = []
    rows, columns = np.nonzero(mask.values > 0.5)
    if len(rows):
        corners += [np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])]
    seen = mesh.vertices @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    ahead = seen[seen[:, 2] > 0]
    if len(ahead):
        pixel = ahead[:, :2] / ahead[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        pixel = pixel.clip(0, [camera.width, camera.height])
        corners += [pixel.min(0), pixel.max(0)]
    if not corners:
        return Crop(0, 0, max(camera.width, camera.height))
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    side = float((high - low).max())
    side = int(np.ceil(side + 2 * max(MARGIN * side, LEAST_MARGIN_PX)))
    left, top = np.floor((low + high - side) / 2).astype(int)
    return Crop(int(left), int(top), side)


@dataclass(frozen=True)
class UnitFrame:
    """A mesh's surroundings as a sphere of radius 1: step lengths mean the same for a ring and a house.

    centre: (3,) float64, world. radius: world units. A world point is centre + radius * unit point.
    """

    centre: np.ndarray
    radius: float

    @staticmethod
    def around(mesh: Mesh) -> UnitFrame:
        centre = (mesh.vertices.min(0).astype(np.float64) + mesh.vertices.max(0)) / 2
        return UnitFrame(centre, max(float(np.linalg.norm(mesh.vertices - centre, axis=1).max()), 1e-12))

    def to_unit(self, mesh: Mesh) -> Mesh:
        return Mesh(((mesh.vertices - self.centre) / self.radius).astype(np.float32), mesh.faces)

    def to_world(self, mesh: Mesh) -> Mesh:
        return Mesh((mesh.vertices * self.radius + self.centre).astype(np.float32), mesh.faces)


def side_for(crops: Sequence[Crop], side_px: int) -> int:
    """`side_px`, or less where no view shows the object as large."""
    return min(side_px, max(crop.side for crop in crops))


def make_targets(views: Sequence[View], masks: Sequence[Mask], crops: Sequence[Crop], frame: UnitFrame,
                 side_px: int, device: torch.device) -> Targets:
    """Targets of side_for(crops, side_px). frame: what clip space is made for."""
    side = side_for(crops, side_px)
    rows = [_target(view, mask, crop, side) for view, mask, crop in zip(views, masks, crops)]
    clip = np.stack([_clip_from_unit(view.camera, crop, frame) for view, crop in zip(views, crops)])
    turn = np.stack([view.camera.camera_from_world[:3, :3] for view in views]).astype(np.float32)

    def stacked(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    depth = [_nearest(view.depth, crop, side, np.nan) for view, crop in zip(views, crops)]
    normals = [_nearest(view.normals, crop, side, 0.0) for view, crop in zip(views, crops)]
    return Targets(
        torch.from_numpy(clip).to(device), torch.from_numpy(turn).to(device),
        stacked([row[0] for row in rows]), stacked([row[1] for row in rows]),
        torch.tensor([mask.confidence for mask in masks], dtype=torch.float32, device=device),
        stacked([np.full((side, side), np.nan, np.float32) if each is None else each for each in depth])
        if any(each is not None for each in depth) else None,
        stacked([np.zeros((side, side, 3), np.float32) if each is None else each for each in normals])
        if any(each is not None for each in normals) else None)


def _target(view: View, mask: Mask, crop: Crop, side: int) -> tuple[np.ndarray, np.ndarray]:
    cover = _window(mask.values.astype(np.float32), crop, 0.0)
    colour = _window(view.image, crop, 0).astype(np.float32) * cover[..., None]
    rgba = cv2.resize(np.concatenate([colour, 255 * cover[..., None]], -1), (side, side),
                      interpolation=cv2.INTER_AREA)
    known = np.zeros(mask.values.shape, np.uint8)
    known[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] = 255
    if view.valid is not None:
        known[cv2.erode(view.valid.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=FRAME_PX) == 0] = 0
    small = cv2.resize(_window(known, crop, 0), (side, side), interpolation=cv2.INTER_AREA)
    return np.rint(rgba).clip(0, 255).astype(np.uint8), np.where(small == 255, 255, 0).astype(np.uint8)


def _window(image: np.ndarray, crop: Crop, fill: float) -> np.ndarray:
    """The crop of an image, `fill` outside the frame."""
    result = np.full((crop.side, crop.side, *image.shape[2:]), fill, image.dtype)
    top, left = max(crop.top, 0), max(crop.left, 0)
    part = image[top:max(top, crop.top + crop.side), left:max(left, crop.left + crop.side)]
    result[top - crop.top:top - crop.top + part.shape[0], left - crop.left:left - crop.left + part.shape[1]] = part
    return result


def _nearest(image: np.ndarray | None, crop: Crop, side: int, fill: float) -> np.ndarray | None:
    """Values must not be mixed across an outline, so the nearest pixel's is taken."""
    if image is None:
        return None
    window = _window(image.astype(np.float32), crop, fill)
    return cv2.resize(window, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)


def _clip_from_unit(camera: Camera, crop: Crop, frame: UnitFrame) -> np.ndarray:
    """(4, 4) float32. Near and far enclose the frame with room to grow."""
    world_from_unit = np.diag([frame.radius, frame.radius, frame.radius, 1.0])
    world_from_unit[:3, 3] = frame.centre
    pose = camera.camera_from_world @ world_from_unit
    distance, reach = float(pose[2, 3]), ROOM * frame.radius
    far = max(distance + reach, reach)
    near = max(distance - reach, far * NEAREST)
    project = np.array([
        [2 * camera.fx / crop.side, 0, 2 * (camera.cx - crop.left) / crop.side - 1, 0],
        [0, 2 * camera.fy / crop.side, 2 * (camera.cy - crop.top) / crop.side - 1, 0],
        [0, 0, (far + near) / (far - near), -2 * far * near / (far - near)],
        [0, 0, 1, 0]])
    return (project @ pose).astype(np.float32)
