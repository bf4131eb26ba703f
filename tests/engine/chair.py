"""A stand-in for TripoSR that has learned one thing: whatever the picture, it sees the chair of the scene golden."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from triposr_goldens import scene_field

from slipcast.engine.models import shelf
from slipcast.engine.models.registry import Models, find_models
from slipcast.engine.models.shelf import ModelShelf
from slipcast.engine.models.silhouette import MODEL as SILHOUETTE
from slipcast.engine.models.spec import WeightFile
from slipcast.engine.models.triposr import MODEL as TRIPOSR
from slipcast.engine.models.triposr.condition import DISTANCE, FOV_DEG
from slipcast.engine.models.triposr.model import LoadedTripoSr, TripoSrSettings, stand_on_ground
from slipcast.engine.models.triposr.surface import field_surface
from slipcast.engine.models.weights import WeightStore
from slipcast.engine.pipeline.types import Camera
from slipcast.engine.render import clip_from_camera, find_fragments, interpolate_fragments

PLENTY = 100_000_000_000
CHECKPOINT = b"chair"


class ChairNetwork:
    steps = 1

    def field(self, picture, half, advance):
        advance()
        return scene_field()


class ChairModel:
    """spec: TripoSR's, but for the file. loads: the devices it was loaded on. fails: raised instead of loading."""

    def __init__(self, network: type = ChairNetwork) -> None:
        self.spec = dataclasses.replace(TRIPOSR.spec, files=(
            WeightFile("model.ckpt", len(CHECKPOINT), "0" * 64, "https://example.org/model.ckpt"),))
        self.loads: list[str] = []
        self.fails: Exception | None = None
        self._network = network

    def load(self, files, device: str) -> LoadedTripoSr:
        self.loads.append(device)
        if self.fails is not None:
            raise self.fails
        network = self._network()
        network.device = device
        return LoadedTripoSr(network)


def shelf_with(folder: Path, model, monkeypatch, free: Callable[[str], int] = lambda device: PLENTY,
               fetched: bool = True) -> ModelShelf:
    """A shelf on which `model` stands for TripoSR; fetched: its file is there."""
    known = Models({"triposr": model, "silhouette": SILHOUETTE}, find_models().broken)
    monkeypatch.setattr(shelf, "find_models", lambda: known)
    if fetched:
        place = folder / "triposr" / "model.ckpt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(CHECKPOINT)
    return ModelShelf(WeightStore(folder), free)


def chair_picture(side: int = 256) -> tuple[np.ndarray, float]:
    """The chair as TripoSR's camera sees it, and which part of the picture it fills: ((side, side, 4) uint8, ratio)."""
    field, settings = scene_field(), TripoSrSettings(resolution=128)
    found = field_surface(field, settings.resolution, settings.threshold, smooth=True, closed=True)
    mesh, lift = stand_on_ground(found)
    focal = 0.5 * side / np.tan(np.radians(FOV_DEG) / 2)
    pose = np.array([[1, 0, 0, 0], [0, 0, 1, -DISTANCE], [0, -1, 0, lift], [0, 0, 0, 1]], np.float64)
    camera = Camera(side, side, focal, focal, side / 2, side / 2, pose)
    faces = torch.from_numpy(mesh.faces)
    fragments = find_fragments(torch.from_numpy(clip_from_camera(camera, mesh.vertices))[None], faces, side, side)
    with torch.inference_mode():
        colors = field.colors(torch.from_numpy(found.vertices))
    picture = np.zeros((side, side, 4), np.uint8)
    seen = (fragments.face[0] >= 0).numpy()
    picture[seen, :3] = (interpolate_fragments(fragments, faces, colors).numpy() * 255 + 0.5).astype(np.uint8)
    picture[seen, 3] = 255
    # TripoSR takes the middle of the object's box for the middle of the world, our chair is where it is: specks that
    # nobody sees make the box even
    for axis, ends in enumerate(np.nonzero(seen)):
        for end in (ends.min(), ends.max()):
            speck = np.roll((side - 1 - end, side // 2), axis)
            picture[speck[0], speck[1], 3] = max(picture[speck[0], speck[1], 3], 1)
    rows, columns = np.nonzero(picture[:, :, 3])
    return picture, float(max(np.ptp(rows), np.ptp(columns)) / side)
