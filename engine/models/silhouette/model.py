"""The inflated outline behind the seam of models/spec.py. Nothing is learned, so there is nothing to fetch."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import ModelSpec, Reconstruction, knob

if TYPE_CHECKING:
    import numpy as np

    from ...pipeline.progress import Run
    from ...pipeline.types import Camera
    from .inflate import Frame

STAGES = ("outline", "inflate", "surface")
FOV_DEG = 8.0           # a long lens: the outline of the round front hardly stands out over the mask
FILLS = 0.85            # of the field of view, by the object's longest side


@dataclass(frozen=True)
class SilhouetteSettings:
    """What may be chosen of the inflated outline."""

    resolution: int = knob(256, "Lattice points along the object's longest side: finer outlines, more time",
                           label="Resolution", low=64, high=512, unit="points")
    thickness: float = knob(1.0, "How far the shape is blown up: 1 is about as deep as its parts are wide",
                            label="Thickness", low=0.1, high=2.0)


class Silhouette:
    """The kind of model; see SingleImageModel."""

    spec = ModelSpec(
        name="silhouette", title="Silhouette (a rough base)", licence="GPL-3.0-or-later",
        licence_url="https://www.gnu.org/licenses/gpl-3.0.html", commercial_use=True, ram_bytes=700_000_000,
        vram_bytes=0, files=(), stages=STAGES, settings=SilhouetteSettings, floats=False,
        note="The shape is the outline, inflated: a rough base for sculpting or refine, the same in front and behind.")

    def load(self, files: Mapping[str, Path], device: str) -> LoadedSilhouette:
        """See SingleImageModel.load. No files; computes on the CPU, whatever `device` is."""
        return LoadedSilhouette()


class LoadedSilhouette:
    """See LoadedModel."""

    def reconstruct(self, images: Sequence[np.ndarray], settings: SilhouetteSettings, run: Run) -> Reconstruction:
        """See LoadedModel.reconstruct; uses the first image. The mesh is its own mirror image in y = 0."""
        from .inflate import inflate, lattice_of, surface_between

        image = images[0]
        with run.stage("outline"):
            inside, frame = lattice_of(image[:, :, 3], settings.resolution)
        with run.stage("inflate"):
            squared = inflate(inside) * settings.thickness**2
        with run.stage("surface") as stage:
            stage.check()
            mesh, lift = surface_between(squared, frame)
        camera = outline_camera(image.shape[1], image.shape[0], frame, lift)
        return Reconstruction(mesh, _colors_from(image, camera), camera)


def outline_camera(width: int, height: int, frame: Frame, lift: float) -> Camera:
    """The camera that is taken for the picture's: far in front (-Y), its axis through the middle of the object.

    width, height: of the picture, pixels. lift: height of the object's middle over the ground, world units.
    """
    from ...pipeline.types import Camera

    distance = 0.5 / FILLS / math.tan(math.radians(FOV_DEG) / 2)
    return Camera.facing_front(width, height, distance * frame.units_px, *frame.centre_px, distance, lift)


def _colors_from(image: np.ndarray, camera: Camera) -> Callable[[np.ndarray], np.ndarray]:
    """The picture on the front, and its mirror image on the back."""
    import numpy as np

    from ...pipeline.cameras import project
    from ...pipeline.lookup import read_pixels
    from .inflate import without_rim

    colors = without_rim(image)

    def color_at(points: np.ndarray) -> np.ndarray:
        front = np.asarray(points, np.float64) * (1, -1, 1)
        front[:, 1] = -np.abs(front[:, 1])
        return read_pixels(colors, *project(camera, front)[0].T).astype(np.float32) / 255

    return color_at


MODEL = Silhouette()
