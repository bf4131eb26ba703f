"""Fit the surface to the outlines of the object in the views.

A visual hull touches every outline but bulges between the rays that made it: it is the largest solid that fits,
full of creases. Here the surface is relaxed like a skin, and where its own outline then departs from the mask's in a
view, it is moved back along its normal. What remains is smooth and has the same outlines. Vertices move, faces stay.
Source: own; the idea of balancing smoothness against outlines: Esteban and Schmitt, "Silhouette and stereo fusion for
3D object modeling", 2004.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import csr_array, diags_array

from ..render import depth_map
from .lookup import read_pixels
from .manifold import mean_edge
from .normals import face_normals, vertex_normals
from .progress import Stage
from .types import Camera, Mask, Mesh, ViewSet

RELAX = 0.5            # share of the way to the neighbours' mean, a round
FOLLOW = 0.7           # share of the departure that is made good, a round
LAST = 3               # rounds at the end that hardly relax
LAST_RELAX = 0.1
LONGEST_STEP = 0.5     # of the edges around a vertex, a round: larger steps fold the surface
FOLDED = 0.2           # a face turned away from its corners' normals further than this cosine is folded
UNFOLD_ROUNDS = 20
SPREAD = 4             # rounds over which a correction is shared with the neighbours
REACH = 0.008          # departures above this fraction of the image's side are no outline of this part of the surface
LEAST_REACH_PX = 3.0
ON_OUTLINE_PX = 1.2    # a vertex further inside its own outline than this is not on it
FRAME_PX = 3           # the frame's border cuts the object: no outline there
STILL_TRUSTED = 0.3    # least weight that a shared correction is divided by


@dataclass(frozen=True)
class _Outline:
    """One view at the working size. inside: (H, W) float32, pixels to the mask's outline, positive inside."""

    camera: Camera
    inside: np.ndarray
    known: np.ndarray      # (H, W) bool
    weight: float


def fit_outlines(mesh: Mesh, views: ViewSet, masks: Sequence[Mask], box: np.ndarray, side_px: int, rounds: int,
                 device: torch.device, stage: Stage) -> Mesh:
    """Relax `mesh` while its outlines stay those of the masks. Same faces, moved vertices.

    box: (2, 3) float64, world; vertices stay inside. side_px: longer side at which outlines are compared.
    Views whose mask has confidence 0 say nothing. Progress counts rounds; ends early when the person
    finds the mesh good enough. Raises Cancelled.
    """
    outlines = [_outline(view.camera, mask, view.valid, side_px) for view, mask in zip(views.views, masks)
                if mask.confidence > 0]
    stage.total = stage.done + rounds
    average, opposite = _neighbours(mesh)
    vertices = mesh.vertices.astype(np.float64)
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for round_ in range(rounds):
            if stage.ends_early():
                break
            moved = Mesh(vertices.astype(np.float32), mesh.faces)
            step = _departure(moved, outlines, opposite, device, pool.map, stage)
            normals = vertex_normals(moved.vertices, moved.faces).astype(np.float64)
            relax = RELAX if round_ < rounds - LAST else LAST_RELAX
            longest = LONGEST_STEP * mean_edge(vertices, mesh.faces)[:, None]
            step = np.clip(FOLLOW * _shared(step, average), -longest, longest)
            vertices = vertices + relax * (average @ vertices - vertices) + step * normals
            vertices = np.clip(vertices, box[0], box[1])
            stage.advance()
    return _unfolded(Mesh(vertices.astype(np.float32), mesh.faces), average)


def folded_faces(mesh: Mesh) -> np.ndarray:
    """(F,) bool: faces that look another way than the surface around them."""
    normal = face_normals(mesh.vertices, mesh.faces)
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    around = vertex_normals(mesh.vertices, mesh.faces)[mesh.faces].mean(1)
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-30)
    return (unit * around).sum(1) < FOLDED


def _unfolded(mesh: Mesh, average: csr_array) -> Mesh:
    """Relax where faces are folded, and only there."""
    for _ in range(UNFOLD_ROUNDS):
        folded = folded_faces(mesh)
        if not folded.any():
            break
        near = np.zeros(len(mesh.vertices))
        near[mesh.faces[folded]] = 1
        near = ((average @ near) > 0) | (near > 0)
        vertices = mesh.vertices.astype(np.float64)
        vertices[near] += RELAX * (average @ vertices - vertices)[near]
        mesh = Mesh(vertices.astype(np.float32), mesh.faces)
    return mesh


def _outline(camera: Camera, mask: Mask, valid: np.ndarray | None, side_px: int) -> _Outline:
    factor = min(1.0, side_px / max(camera.width, camera.height))
    width, height = max(1, round(camera.width * factor)), max(1, round(camera.height * factor))
    across, down = width / camera.width, height / camera.height
    small = Camera(width, height, camera.fx * across, camera.fy * down, camera.cx * across, camera.cy * down,
                   camera.world_from_camera)
    values = cv2.resize(mask.values, (width, height), interpolation=cv2.INTER_AREA)
    known = np.zeros((height, width), bool)
    known[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] = True
    if valid is not None:
        shrunk = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=FRAME_PX)
        known &= cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_AREA) > 0
    return _Outline(small, _signed_distance(values > 0.5), known, mask.confidence)


def _signed_distance(inside: np.ndarray) -> np.ndarray:
    """Pixels from each pixel's centre to the outline, positive inside. (H, W) float32."""
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    return np.where(inside, within - 0.5, 0.5 - beyond).astype(np.float32)


def _neighbours(mesh: Mesh) -> tuple[csr_array, np.ndarray]:
    """Averaging matrix (V, V), and per half-edge (corner to next corner) the face across it, (F, 3); -1: none."""
    faces, count = mesh.faces.astype(np.int64), len(mesh.vertices)
    a, b = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    graph = csr_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(count, count))
    average = csr_array(diags_array(1 / np.maximum(graph.sum(1), 1)) @ graph)
    here, back = a * count + b, b * count + a
    order = np.argsort(here)
    at = np.searchsorted(here[order], back).clip(0, len(here) - 1)
    other = np.where(here[order][at] == back, order[at] // 3, -1)
    return average, other.reshape(-1, 3)


def _departure(mesh: Mesh, outlines: list[_Outline], opposite: np.ndarray, device: torch.device,
               spread: Callable, stage: Stage) -> np.ndarray:
    """(V,) float64, world units along the normal that the outlines ask for; NaN where no outline passes."""
    normal, centre = face_normals(mesh.vertices, mesh.faces), mesh.vertices[mesh.faces].mean(1)

    def one(outline: _Outline) -> tuple[np.ndarray, np.ndarray]:
        stage.check()
        return _departure_in_view(mesh, normal, centre, outline, opposite, device)

    total, weight = np.zeros(len(mesh.vertices)), np.zeros(len(mesh.vertices))
    for outline, (rim, step) in zip(outlines, spread(one, outlines)):
        total[rim] += outline.weight * step
        weight[rim] += outline.weight
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)


def _departure_in_view(mesh: Mesh, normal: np.ndarray, centre: np.ndarray, outline: _Outline, opposite: np.ndarray,
                       device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on the surface's own outline in one view, and how far (world units) they should move outward."""
    camera = outline.camera
    front = ((camera.centre - centre) * normal).sum(1) > 0
    turning = front[:, None] & ~front[opposite] & (opposite >= 0)
    rim = np.unique(np.r_[mesh.faces[turning], np.roll(mesh.faces, -1, axis=1)[turning]])
    seen = mesh.vertices[rim] @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    ahead = seen[:, 2] > 0
    rim, seen = rim[ahead], seen[ahead]
    x = camera.fx * seen[:, 0] / seen[:, 2] + camera.cx
    y = camera.fy * seen[:, 1] / seen[:, 2] + camera.cy
    framed = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
    rim, x, y, distance = rim[framed], x[framed], y[framed], seen[framed, 2]
    own = _signed_distance(np.isfinite(depth_map(mesh, camera, device).cpu().numpy()))
    # own distance is taken off: a polygon's rim zigzags, and pixels are coarse, alike for both
    here = read_pixels(own, x, y)
    away = read_pixels(outline.inside, x, y) - here
    used = (np.abs(away) < max(LEAST_REACH_PX, REACH * max(own.shape))) & (here < ON_OUTLINE_PX)
    used &= outline.known[y.astype(int), x.astype(int)]
    return rim[used], (away * distance / camera.fx)[used]


def _shared(step: np.ndarray, average: csr_array) -> np.ndarray:
    """(V, 1): corrections handed on to the neighbours that have none, fading with distance."""
    known = np.isfinite(step)
    value, weight = np.where(known, step, 0.0), known.astype(np.float64)
    for _ in range(SPREAD):
        value, weight = (value + average @ value) / 2, (weight + average @ weight) / 2
    return (value / np.maximum(weight, STILL_TRUSTED))[:, None]
