"""The nouns of the pipeline. Frozen; every array says shape, dtype, range and frame.

World = Blender's world (right-handed, Z up, scene units). Cameras = OpenCV (x right, y down, z forward,
pixel centres at +0.5). Arrays in a frozen dataclass are not to be written to after construction.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .lens import PINHOLE, Lens


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. Distortion is gone by the time a Camera exists: images.py undistorts when it loads.

    width, height: pixels. fx, fy, cx, cy: pixels, origin at the TOP left corner of the top left pixel.
    world_from_camera: (4, 4) float64, rigid, OpenCV camera axes -> Blender's world.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_from_camera: np.ndarray

    @staticmethod
    def facing_front(width: int, height: int, focal_px: float, cx: float, cy: float, distance: float,
                     lift: float) -> Camera:
        """In front of an object that faces -Y: at (0, -distance, lift), looking along +Y."""
        pose = np.array([[1, 0, 0, 0], [0, 0, 1, -distance], [0, -1, 0, lift], [0, 0, 0, 1]], np.float64)
        return Camera(width, height, focal_px, focal_px, cx, cy, pose)

    @property
    def centre(self) -> np.ndarray:
        """(3,) float64, world."""
        return self.world_from_camera[:3, 3]

    @property
    def camera_from_world(self) -> np.ndarray:
        """(4, 4) float64: inverse of a rigid motion."""
        rotation = self.world_from_camera[:3, :3].T
        inverse = np.eye(4)
        inverse[:3, :3] = rotation
        inverse[:3, 3] = -rotation @ self.world_from_camera[:3, 3]
        return inverse

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64 K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True)
class View:
    """One image and the camera it was taken with.

    name: as the view folder calls it (for messages to a person).
    image: (H, W, 3) uint8, sRGB, straight (not premultiplied), row 0 on top, undistorted.
    alpha: (H, W) uint8 or None; the image's own alpha or a given mask, 255 = object.
    valid: (H, W) bool or None (= everywhere); False where undistortion had no pixel to bring.
    lens: what was taken out of the image as it is stored.
    depth: (H, W) float32 or None: distance along the camera's axis, world units; not finite = nothing there.
    normals: (H, W, 3) float32 or None: unit, world; (0, 0, 0) = nothing there.
    """

    name: str
    camera: Camera
    image: np.ndarray
    alpha: np.ndarray | None = None
    valid: np.ndarray | None = None
    lens: Lens = PINHOLE
    depth: np.ndarray | None = None
    normals: np.ndarray | None = None


@dataclass(frozen=True)
class ViewSet:
    """All views of one object.

    points: (N, 3) float32, world, sparse points that came with the views, or None.
    volume: (2, 3) float64, world, low and high corner of a stated working volume, or None.
    """

    views: tuple[View, ...]
    points: np.ndarray | None = None
    volume: np.ndarray | None = None


@dataclass(frozen=True)
class Mask:
    """Where the object is in one view.

    values: (H, W) float32 in [0, 1]; 1 = object.
    source: "alpha", "points", "key" or "centre".
    confidence: [0, 1]; below 0.5 the person is told to look at it; 0: this view is left out of the shape.
    """

    values: np.ndarray
    source: str
    confidence: float


@dataclass(frozen=True)
class Field:
    """Samples of a soft solid on a regular grid; the surface is where the value is 0.5, inside is above.

    values: (X, Y, Z) float32 in [0, 1]; sample (i, j, k) lies at origin + spacing * (i, j, k).
    origin: (3,) float64, world. spacing: world units, the same along all axes. by_depth: the depth of most views shaped
    it, not their outlines alone.
    """

    values: np.ndarray
    origin: np.ndarray
    spacing: float
    by_depth: bool = False


@dataclass(frozen=True)
class Mesh:
    """Triangles. vertices: (V, 3) float32, world. faces: (F, 3) int32, counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Snapshot(Mesh):
    """A mesh on its way, to be shown. colours: (V, 3) uint8 sRGB, or None where none are known yet.

    iteration of iterations (0: nothing is counted); loss: as StageProgress has it; seconds_left: of the clock, until
    the stage ends, from iterations as they were measured.
    """

    colours: np.ndarray | None = None
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class UvMesh:
    """A mesh with texture coordinates at its corners (faces keep their shared vertices across seams).

    corner_uvs: (F, 3, 2) float32 in [0, 1]; (0, 0) is the BOTTOM left corner of the texture.
    chart_of_face: (F,) int32, which chart a face lies in.
    """

    mesh: Mesh
    corner_uvs: np.ndarray
    chart_of_face: np.ndarray


@dataclass(frozen=True)
class TexturedMesh:
    """What a job delivers. base_color: (H, W, 3) uint8, sRGB, row 0 on top (= highest v).

    normal_map: the same shape, linear, tangent space with green along +v (normal_map.py), or None: the mesh shows all.
    """

    mesh: Mesh
    corner_uvs: np.ndarray
    base_color: np.ndarray
    normal_map: np.ndarray | None = None


@dataclass(frozen=True)
class StageTime:
    name: str
    seconds: float


@dataclass(frozen=True)
class Score:
    """How far a mesh is from views, means over them. iou: of outlines, [0, 1]. psnr_db: of the colours over the
    object's pixels, seen from the other views. loss: difference of outline and colour over the object's pixels, [0, 2].
    """

    loss: float
    psnr_db: float
    iou: float


@dataclass(frozen=True)
class Scores:
    """Of a mesh before and after its refinement, on views (their names) that it was not fitted to.

    texture_psnr_db: of the result's own texture in these views, in the light found in the others and with their own
    exposures (scores.score_texture).
    """

    views: tuple[str, ...]
    before: Score
    after: Score
    texture_psnr_db: float


@dataclass(frozen=True)
class PipelineResult:
    """mesh and cameras in the same world; stages in the order they ran; warnings are for a person.

    pictures: name -> (H, W), (H, W, 3) or (H, W, 4) uint8 sRGB, delivered beside the mesh. facts: plain values for the
    summary of the job, as the licence of the model that was used.
    """

    textured: TexturedMesh
    cameras: tuple[tuple[str, Camera], ...]
    device: str
    stages: tuple[StageTime, ...]
    warnings: tuple[str, ...] = field(default=())
    scores: Scores | None = None
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
