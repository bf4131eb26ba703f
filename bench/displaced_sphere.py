"""The method that Slipcast's predecessor had: a sphere of 32 x 64 points whose radii and colours are optimised, drawn
as soft dots into 6 views, 500 steps of Adam. Written anew, in torch, as what refine is measured against."""
from __future__ import annotations

import numpy as np
import torch

from ..engine.pipeline.types import Mask, View
from .known_mesh import KnownMesh

ROWS, COLUMNS = 32, 64
VIEWS, STEPS, RATE = 6, 500, 0.01
SIDE_PX, REACH, SIGMA = 64, 3, 1.2       # side of the pictures, half width of a dot, its standard deviation, pixels
SMOOTH = 0.1


def directions() -> tuple[np.ndarray, np.ndarray]:
    """(ROWS * COLUMNS, 3) unit vectors, and faces (F, 3), closed by a fan at either pole."""
    polar = (np.arange(ROWS) + 0.5) / ROWS * np.pi
    around = np.arange(COLUMNS) / COLUMNS * 2 * np.pi
    theta, phi = np.meshgrid(polar, around, indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    number = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    right = np.roll(number, -1, 1)
    quads = [number[:-1], number[1:], right[1:], right[:-1]]
    sides = np.concatenate([np.stack([quads[0], quads[1], quads[2]], -1), np.stack([quads[0], quads[2], quads[3]], -1)])
    fan = np.arange(1, COLUMNS - 1)
    top = np.stack([np.zeros_like(fan), fan, fan + 1], -1)
    bottom = (ROWS - 1) * COLUMNS + top[:, ::-1]
    return points, np.concatenate([sides.reshape(-1, 3), top, bottom])


def dots(pixels: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """(SIDE_PX, SIDE_PX, 4): mean colour of the dots at a pixel, and how much of it they cover. pixels: (V, 2)."""
    offset = torch.arange(-REACH, REACH + 1)
    column, row = torch.meshgrid(offset, offset, indexing="xy")
    around = torch.stack([column, row], -1).reshape(-1, 2)
    cell = pixels.detach().floor().long()[:, None] + around
    weight = torch.exp(-(cell + 0.5 - pixels[:, None]).square().sum(-1) / (2 * SIGMA**2))
    inside = ((cell >= 0) & (cell < SIDE_PX)).all(-1)
    place = (cell[..., 1] * SIDE_PX + cell[..., 0])[inside]
    value = torch.cat([colours, torch.ones_like(colours[:, :1])], 1)[:, None] * weight[..., None]
    total = torch.zeros(SIDE_PX**2, 4).index_add(0, place, value[inside])
    picture = torch.cat([total[:, :3] / total[:, 3:].clamp(min=1e-4), 1 - torch.exp(-total[:, 3:])], 1)
    return picture.view(SIDE_PX, SIDE_PX, 4)


def fit_sphere(views: list[View], masks: list[Mask], centre: np.ndarray, radius: float) -> KnownMesh:
    """The displaced sphere after STEPS steps on the first VIEWS views. centre, radius: where it begins, world."""
    chosen = list(zip(views, masks))[:VIEWS]
    wanted = torch.stack([_small(view, mask) for view, mask in chosen])
    unit, faces = directions()
    way = torch.from_numpy(unit.astype(np.float32))
    matrices = torch.stack([_clip_matrix(view) for view, _ in chosen])
    size = torch.full((len(unit), 1), radius, requires_grad=True)
    colours = torch.full((len(unit), 3), 0.5, requires_grad=True)
    painter = torch.optim.Adam([{"params": [size], "lr": RATE * radius}, {"params": [colours], "lr": RATE}])
    grid = size.view(ROWS, COLUMNS)
    for step in range(STEPS):
        number = step % len(chosen)
        points = torch.from_numpy(centre.astype(np.float32)) + size * way
        clip = torch.cat([points, torch.ones_like(size)], 1) @ matrices[number].T
        picture = dots((clip[:, :2] / clip[:, 3:] + 1) * (SIDE_PX / 2), colours)
        away = (picture - wanted[number]).square()
        uneven = (grid - grid.roll(1, 1)).square().mean() + (grid[1:] - grid[:-1]).square().mean()
        loss = away[..., 3].mean() + (away[..., :3].sum(-1) * wanted[number][..., 3]).mean()
        painter.zero_grad()
        (loss + SMOOTH * uneven / radius**2).backward()
        painter.step()
        grid = size.view(ROWS, COLUMNS)
    corners = (centre + size.detach().numpy() * unit).astype(np.float32)[faces]
    return KnownMesh(corners, colours=colours.detach().clamp(0, 1).numpy()[faces])


def _small(view: View, mask: Mask) -> torch.Tensor:
    import cv2

    picture = np.dstack([view.image.astype(np.float32) / 255 * mask.values[..., None], mask.values])
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:], 1e-4)
    return torch.from_numpy(small.astype(np.float32))


def _clip_matrix(view: View) -> torch.Tensor:
    """(4, 4) world -> clip: x, y and w are linear in the point."""
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    pose, camera = view.camera.camera_from_world, view.camera
    seen = corners @ pose[:3, :3].T + pose[:3, 3]
    x = (camera.fx * seen[:, 0] + camera.cx * seen[:, 2]) * (2 / camera.width) - seen[:, 2]
    y = (camera.fy * seen[:, 1] + camera.cy * seen[:, 2]) * (2 / camera.height) - seen[:, 2]
    rows = np.stack([x, y, seen[:, 2], seen[:, 2]])
    return torch.from_numpy(np.concatenate([rows[:, 1:] - rows[:, :1], rows[:, :1]], 1).astype(np.float32))
