"""Cameras around analytic shapes, their exact masks, and view folders made of them."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from slipcast.engine.pipeline.presets import ViewsPreset, views_preset
from slipcast.engine.pipeline.progress import Run, Stage
from slipcast.engine.pipeline.types import Camera, Mask, View, ViewSet

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
SMALL: ViewsPreset = dataclasses.replace(views_preset("draft"), working_px=200, silhouette_px=200, grid=64,
                                         smooth_rounds=2)


def make_stage(warnings: list[str] | None = None, is_cancelled=lambda: False, is_enough=lambda: False) -> Stage:
    run = Run(("one",), is_cancelled=is_cancelled, is_enough=is_enough)
    if warnings is not None:
        run.warnings = warnings
    return Stage(run, "one", 0, 0, "steps")


def look_at(place, target=(0.0, 0.0, 0.0)) -> np.ndarray:
    """(4, 4) world_from_camera, OpenCV axes, upright where that is possible."""
    place, target = np.asarray(place, float), np.asarray(target, float)
    forward = (target - place) / np.linalg.norm(target - place)
    up = np.array([0.0, 1.0, 0.0]) if abs(forward[2]) > 0.99 else np.array([0.0, 0.0, 1.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = place
    return pose


def directions(count: int) -> np.ndarray:
    """(N, 3) unit vectors spread evenly over the sphere (Fibonacci spiral)."""
    step = np.arange(count) + 0.5
    height, turn = 1 - 2 * step / count, np.pi * (1 + 5**0.5) * step
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=-1)


def cameras_around(count: int, distance: float = 4.0, size: int = 160, focal: float = 260.0,
                   target=(0.0, 0.0, 0.0)) -> list[Camera]:
    return [Camera(size, size, focal, focal, size / 2, size / 2, look_at(np.asarray(target) + distance * way, target))
            for way in directions(count)]


def ball_mask(camera: Camera, centre=(0.0, 0.0, 0.0), radius: float = 1.0, fine: int = 4) -> np.ndarray:
    """(H, W) float32: the part of each pixel from which a ball is seen, from fine x fine rays."""
    across = (np.arange(camera.width * fine) + 0.5) / fine
    down = (np.arange(camera.height * fine) + 0.5) / fine
    u, v = np.meshgrid((across - camera.cx) / camera.fx, (down - camera.cy) / camera.fy)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    to_ball = camera.camera_from_world[:3, :3] @ (np.asarray(centre, float) - camera.centre)
    along = rays @ to_ball
    hit = (along > 0) & (to_ball @ to_ball - along**2 < radius**2)
    return hit.reshape(camera.height, fine, camera.width, fine).mean(axis=(1, 3)).astype(np.float32)


def ball_views(cameras: list[Camera], **ball) -> tuple[ViewSet, list[Mask]]:
    masks = [ball_mask(camera, **ball) for camera in cameras]
    views = [View(f"{i:02d}.png", camera, np.zeros((camera.height, camera.width, 3), np.uint8),
                  (mask * 255).astype(np.uint8)) for i, (camera, mask) in enumerate(zip(cameras, masks))]
    return ViewSet(tuple(views)), [Mask(mask, "alpha", 1.0) for mask in masks]


def write_view_folder(folder: Path, cameras: list[Camera], **ball) -> dict[str, Path]:
    """A transforms.json with RGBA images of a ball; returns what bridge.folders would: label -> file."""
    frames, files = [], {}
    for i, camera in enumerate(cameras):
        alpha = (ball_mask(camera, **ball) * 255).astype(np.uint8)
        rgba = np.dstack([np.full((*alpha.shape, 3), 180, np.uint8), alpha])
        name = f"{i:02d}.png"
        Image.fromarray(rgba).save(folder / name)
        files[name] = folder / name
        frames.append({"file_path": name, "transform_matrix": (camera.world_from_camera @ OPENGL).tolist()})
    first = cameras[0]
    table = {"fl_x": first.fx, "fl_y": first.fy, "cx": first.cx, "cy": first.cy, "w": first.width, "h": first.height,
             "frames": frames}
    return files | write_table(folder, table)


def write_table(folder: Path, table: dict) -> dict[str, Path]:
    path = folder / "transforms.json"
    path.write_text(json.dumps(table))
    return {"transforms.json": path}


def change_table(files: dict[str, Path], change) -> None:
    """Apply `change` to the parsed transforms.json of a folder and write it back."""
    path = files["transforms.json"]
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
