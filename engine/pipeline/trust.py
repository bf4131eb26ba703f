"""How far each pixel of each view can be trusted for colour, and the views packed for the kernels."""
from __future__ import annotations

import cv2
import numpy as np
import torch

from ..render import depth_map
from ..render.observe import ViewStack
from .progress import Stage
from .types import Mask, Mesh, View

FEATHER = 0.006        # of the image's longer side: over this distance from an edge trust rises to full
FEATHER_LEAST_PX = 3.0
JUMP_PX = 6.0          # a step in depth of this many pixel widths between neighbours is an edge of the object
CLEAR_PX = 1.5         # nearer to an edge, a bilinear sample would take in a pixel beyond it
EDGE_TRUST = 0.02      # right beside an edge: used only where no other view sees more


def trust_map(view: View, mask: Mask, depth: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 0 outside the object, its mask, the frame's known pixels, and at steps in depth; rising to 255 away
    from them. depth: (H, W) float32 of the mesh in this view, world units, inf = nothing.

    Pixels at an outline mix object and background, and the mesh is off by a pixel or two there.
    """
    bad = ~np.isfinite(depth) | (mask.values < 0.5) | _at_jumps(depth, view.camera.fx)
    if view.valid is not None:
        bad |= ~view.valid
    framed = np.pad((~bad).astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    feather = max(FEATHER_LEAST_PX, FEATHER * max(depth.shape))
    rise = np.clip((distance - CLEAR_PX) / feather, 0, 1)
    trust = EDGE_TRUST + (1 - EDGE_TRUST) * rise * rise * (3 - 2 * rise)
    return np.where(distance < CLEAR_PX, 0, np.ceil(trust * 255)).astype(np.uint8)


def _at_jumps(depth: np.ndarray, focal_px: float) -> np.ndarray:
    """Pixels on both sides of a step in depth."""
    finite = np.where(np.isfinite(depth), depth, 0)
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        a = finite[:-1] if axis == 0 else finite[:, :-1]
        b = finite[1:] if axis == 0 else finite[:, 1:]
        jump = np.abs(a - b) > JUMP_PX * np.minimum(a, b) / focal_px
        if axis == 0:
            edge[:-1] |= jump
            edge[1:] |= jump
        else:
            edge[:, :-1] |= jump
            edge[:, 1:] |= jump
    return edge


def stack_views(mesh: Mesh, views: list[View], masks: list[Mask], device: torch.device, stage: Stage) -> ViewStack:
    """Depth map and trust of every view, packed. Advances the stage by one a view. Raises Cancelled."""
    sizes = np.array([[view.camera.width, view.camera.height] for view in views], np.int32).reshape(-1, 2)
    counts = sizes.astype(np.int64).prod(1)
    start = np.cumsum(counts) - counts
    pixels = torch.empty((int(counts.sum()), 3), dtype=torch.uint8)
    depth = torch.empty(len(pixels), dtype=torch.float32)
    trust = torch.empty(len(pixels), dtype=torch.uint8)
    for index, (view, mask) in enumerate(zip(views, masks)):
        place = slice(int(start[index]), int(start[index] + counts[index]))
        seen = depth_map(mesh, view.camera, device).cpu()
        depth[place] = seen.reshape(-1)
        trust[place] = torch.from_numpy(trust_map(view, mask, seen.numpy()).reshape(-1))
        pixels[place] = torch.from_numpy(np.ascontiguousarray(view.image).reshape(-1, 3))
        stage.advance()
    pose = np.stack([view.camera.camera_from_world for view in views]).astype(np.float32)
    lens = np.array([[c.fx, c.fy, c.cx, c.cy] for c in (view.camera for view in views)], np.float32)
    small = [torch.from_numpy(each) for each in (pose, lens, sizes, start)]
    return ViewStack(*(each.to(device) for each in (*small, pixels, depth, trust)))
