"""TripoSR behind the seam of models/spec.py. torch is imported when weights are loaded."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import ModelSpec, Reconstruction, WeightFile, knob
from .layout import TripoSrSizes

if TYPE_CHECKING:
    import numpy as np

    from ...pipeline.progress import Run
    from ...pipeline.types import Mesh
    from .field import TriplaneField
    from .network import Network

CHECKPOINT = "model.ckpt"
STAGES = ("picture", "shape", "surface")


@dataclass(frozen=True)
class TripoSrSettings:
    """What may be chosen of TripoSR itself."""

    resolution: int = knob(256, "Lattice points along each side of the box: finer details, more faces, more time",
                           label="Resolution", low=64, high=512, unit="points")
    threshold: float = knob(25.0, "Density of the surface: lower for thin parts that are missing, higher for lumps",
                            label="Density Threshold", low=1.0, high=200.0)
    foreground_ratio: float = knob(0.85, "How much of the picture the object fills when the model sees it",
                                   label="Foreground Ratio", low=0.5, high=1.0)
    smooth_surface: bool = knob(True, "Place vertices where the field's logarithm crosses the threshold: nearer to the "
                                "true surface; off: the stairs of the published code", label="Smooth Surface")
    precision: str = knob("fp32", "bf16 is faster where the device computes with it, and a little rougher",
                          label="Precision", choices=("fp32", "bf16"))


class TripoSr:
    """The kind of model; see SingleImageModel."""

    spec = ModelSpec(
        name="triposr", title="TripoSR", licence="MIT", licence_url="https://github.com/VAST-AI-Research/TripoSR",
        commercial_use=True, ram_bytes=3_000_000_000, vram_bytes=4_000_000_000,
        files=(WeightFile(CHECKPOINT, 1_677_246_742,
                          "429e2c6b22a0923967459de24d67f05962b235f79cde6b032aa7ed2ffcd970ee",
                          "https://huggingface.co/stabilityai/TripoSR/resolve/main/model.ckpt"),),
        stages=STAGES, settings=TripoSrSettings)

    def load(self, files: Mapping[str, Path], device: str) -> LoadedTripoSr:
        """See SingleImageModel.load. files: "model.ckpt" -> a checkpoint as published, or as safetensors."""
        from .checkpoint import read_checkpoint
        from .network import Network

        sizes = TripoSrSizes()
        return LoadedTripoSr(Network(read_checkpoint(files[CHECKPOINT], sizes), sizes, device))


class LoadedTripoSr:
    """See LoadedModel."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def reconstruct(self, images: Sequence[np.ndarray], settings: TripoSrSettings, run: Run) -> Reconstruction:
        """See LoadedModel.reconstruct; uses the first image."""
        from .condition import condition_picture, picture_camera
        from .fit import surface_that_fits

        with run.stage("picture"):
            conditioned = condition_picture(images[0], settings.foreground_ratio)
        with run.stage("shape", total=self._network.steps, unit="layers") as stage:
            field = self._network.field(conditioned.picture, settings.precision == "bf16", stage.advance)
        with run.stage("surface") as stage:
            found, field = surface_that_fits(field, settings, stage)
        mesh, lift = stand_on_ground(found)
        return Reconstruction(mesh, _colors_in_blender(field, lift), picture_camera(images[0], conditioned, lift))


def stand_on_ground(mesh: Mesh) -> tuple[Mesh, float]:
    """From the model's frame (front +X) to Blender's (front -Y), lowest point at z = 0: the mesh, and how far up."""
    import numpy as np

    from ...pipeline.types import Mesh

    x, y, z = mesh.vertices.T
    lift = -float(z.min())
    return Mesh(np.stack([y, -x, z + np.float32(lift)], axis=1), mesh.faces), lift


def _colors_in_blender(field: TriplaneField, lift: float) -> Callable[[np.ndarray], np.ndarray]:
    import numpy as np
    import torch

    def color_at(points: np.ndarray) -> np.ndarray:
        x, y, z = np.asarray(points, np.float32).T
        inside = torch.from_numpy(np.stack([-y, x, z - np.float32(lift)], axis=1)).to(field.code.device)
        with torch.inference_mode():
            return field.colors(inside).cpu().numpy()

    return color_at


MODEL = TripoSr()
