"""Pictures of a result: a turn around it as PNGs and as a film, and one picture for lists.

Drawn by the forward rasteriser, unlit: base colours hold the light they were made from, and the field shows its
results so. Two by two samples a pixel, averaged in linear light; the object is framed once, so it does not breathe.
"""
from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch

from ...bridge.errors import BadOutput
from ..render import clip_from_camera, find_fragments, texture
from ..render.colour import linear_from_srgb_table
from .progress import Run, Stage
from .types import Camera, TexturedMesh

BACKGROUND_SRGB = 232            # light grey: both a black and a white object stand out from it
ELEVATION_DEG = 15.0
THREE_QUARTER_DEG = (35.0, 25.0)     # azimuth to the object's left of its front, elevation
FOV_DEG = 35.0
FPS = 15
TURN_FRAMES, TURN_PX = 30, 512
_MARGIN = 1.04                   # room around the bounding sphere
_SAMPLES = 2                     # along each axis of a pixel
_CODES = 4095                    # steps of linear light on the way back to sRGB
_CRF = "18"                      # x264: visually lossless


def render_turntable(textured: TexturedMesh, frames: int, side_px: int, device: torch.device,
                     stage: Stage) -> np.ndarray:
    """A full turn, counter-clockwise seen from above, beginning at the front (-Y): (frames, H, W, 3) uint8 sRGB.

    side_px: width and height, pixels. stage: advanced once a frame. Raises Cancelled.
    """
    painter = _Painter(textured, side_px, device)
    stage.total = frames
    pictures = np.empty((frames, side_px, side_px, 3), np.uint8)
    for index in range(frames):
        pictures[index] = painter.paint(orbit_camera(painter.centre, painter.radius, 360.0 * index / frames,
                                                     ELEVATION_DEG, _SAMPLES * side_px))
        stage.advance()
    return pictures


def render_portrait(textured: TexturedMesh, side_px: int, device: torch.device) -> np.ndarray:
    """One picture from the front, a little from its side and from above: (side_px, side_px, 3) uint8 sRGB."""
    painter = _Painter(textured, side_px, device)
    return painter.paint(orbit_camera(painter.centre, painter.radius, *THREE_QUARTER_DEG, _SAMPLES * side_px))


def orbit_camera(centre: np.ndarray, radius: float, azimuth_deg: float, elevation_deg: float, side_px: int) -> Camera:
    """A camera that looks at `centre` and just holds the sphere around it; azimuth 0 is at -Y and grows towards +X.

    centre: (3,) world. radius: world units. Source: own; frames of docs/conventions.md.
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    away = np.array([math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation),
                     math.sin(elevation)])
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(-away, right), -away
    pose[:3, 3] = centre + away * (radius * _MARGIN / math.sin(math.radians(FOV_DEG) / 2))
    focal = 0.5 * side_px / math.tan(math.radians(FOV_DEG) / 2)
    return Camera(side_px, side_px, focal, focal, side_px / 2, side_px / 2, pose)


class _Painter:
    """A textured mesh made ready to be drawn many times in pictures of one size."""

    def __init__(self, textured: TexturedMesh, side_px: int, device: torch.device) -> None:
        self._vertices = textured.mesh.vertices
        low, high = self._vertices.min(0).astype(np.float64), self._vertices.max(0).astype(np.float64)
        self.centre = (low + high) / 2
        self.radius = max(float(np.linalg.norm(self._vertices - self.centre, axis=1).max()), 1e-9)
        self._faces = torch.from_numpy(np.ascontiguousarray(textured.mesh.faces, dtype=np.int32)).to(device)
        uvs = np.ascontiguousarray(textured.corner_uvs, dtype=np.float32)
        flip, shift = np.array([1, -1], np.float32), np.array([0, 1], np.float32)     # row 0 is on top
        self._uvs = torch.from_numpy(uvs * flip + shift).to(device)
        linear = linear_from_srgb_table()
        colors = _shrunk(linear[textured.base_color], _texels_per_sample(textured, self.radius, side_px))
        self._colors = torch.from_numpy(colors).to(device)
        codes = np.searchsorted((linear[1:] + linear[:-1]) / 2, np.arange(_CODES + 1) / _CODES).astype(np.uint8)
        self._srgb, self._ground, self._device = codes, float(linear[BACKGROUND_SRGB]), device

    @torch.no_grad()
    def paint(self, camera: Camera) -> np.ndarray:
        """camera: of _SAMPLES times the size of the picture. Returns (H, W, 3) uint8 sRGB."""
        clip = torch.from_numpy(clip_from_camera(camera, self._vertices)).to(self._device)
        found = find_fragments(clip[None], self._faces, camera.height, camera.width)
        seen = found.face[0] >= 0
        corners = self._uvs[found.face[0][seen].long()]
        first, second = found.weights[0][seen].split(1, dim=1)
        uv = corners[:, 0] * first + corners[:, 1] * second + corners[:, 2] * (1 - first - second)
        picture = torch.full((camera.height, camera.width, 3), self._ground, device=self._device)
        picture[seen] = texture(self._colors, uv[None, None].contiguous(), boundary="clamp")[0, 0]
        small = picture.view(camera.height // _SAMPLES, _SAMPLES, camera.width // _SAMPLES, _SAMPLES, 3).mean((1, 3))
        return self._srgb[(small * _CODES + 0.5).to(torch.int64).clamp(0, _CODES).cpu().numpy()]


def _texels_per_sample(textured: TexturedMesh, radius: float, side_px: int) -> float:
    """How many texels of the texture, along one axis, fall on a sample of a surface that faces the camera."""
    height, width = textured.base_color.shape[:2]
    corners = textured.mesh.vertices[textured.mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    edges = textured.corner_uvs[:, 1:].astype(np.float64) - textured.corner_uvs[:, :1]
    charts = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).sum() * height * width
    samples = area * (0.5 * _SAMPLES * side_px / radius)**2
    return math.sqrt(charts / samples) if samples > 0 else 1.0


def _shrunk(colors: np.ndarray, ratio: float) -> np.ndarray:
    """A texture (H, W, 3) float32 halved until fewer than two texels fall on a sample, so that fine detail does not
    flicker."""
    while ratio >= 2 and min(colors.shape[:2]) >= 2:
        colors = cv2.resize(colors, (colors.shape[1] // 2, colors.shape[0] // 2), interpolation=cv2.INTER_AREA)
        ratio /= 2
    return np.ascontiguousarray(colors, dtype=np.float32)


def film_bytes(frames: np.ndarray, fps: int = FPS) -> bytes:
    """An MP4 (H.264, yuv420p, index first) that plays in browsers and players. frames: (N, H, W, 3) uint8 sRGB.

    H and W must be even. Raises BadOutput when they are not, or when the encoder fails.
    """
    import av  # late: its libraries take a while to load
    from av.error import FFmpegError

    count, height, width = frames.shape[:3]
    if not count or height % 2 or width % 2:
        raise BadOutput(f"A film of {count} pictures of {width} x {height} pixels cannot be written.",
                        "Use at least one picture, with an even width and height.")
    try:
        with tempfile.TemporaryDirectory(prefix="slipcast-film-") as folder:
            path = Path(folder) / "turntable.mp4"
            with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
                stream = film.add_stream("libx264", rate=fps, options={"crf": _CRF, "threads": "1"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for picture in frames:
                    film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
                film.mux(stream.encode(None))
            return path.read_bytes()
    except (OSError, FFmpegError) as error:
        raise BadOutput(f"The turntable film could not be made ({error}).",
                        "Look at the space on the disk of temporary files.") from error


def check_turntable(folder: Path, inputs: Iterable[Path] = ()) -> None:
    """Before the work: raises BadOutput when `folder` is a file, or what goes into it would overwrite an input."""
    if folder.exists() and not folder.is_dir():
        raise BadOutput(f"{folder} is a file, so no turntable can be written into it.", "Name a folder.")
    made = {(folder / f"turntable_{index:03}.png").resolve() for index in range(TURN_FRAMES)}
    lost = next((file for file in inputs if file.resolve() in made), None)
    if lost is not None:
        raise BadOutput(f"The turntable would overwrite {lost}, which the views need.", "Name another folder.")


def write_turn(folder: Path, textured: TexturedMesh) -> tuple[Path, ...]:
    """Render on the CPU, and write_turntable: for exports, which have no stage of their own."""
    with Run(("turntable",)).stage("turntable", unit="pictures") as stage:
        frames = render_turntable(textured, TURN_FRAMES, TURN_PX, torch.device("cpu"), stage)
    return write_turntable(folder, frames)


def write_turntable(folder: Path, frames: np.ndarray, fps: int = FPS) -> tuple[Path, ...]:
    """turntable_000.png ... and turntable.mp4 into `folder`, which is made. frames: (N, H, W, 3) uint8 sRGB.

    Returns the files. Raises BadOutput, NoSpace; then none of these files is new.
    """
    from .export import write_all
    from .png import png_bytes

    files = {folder / f"turntable_{index:03}.png": png_bytes(picture) for index, picture in enumerate(frames)}
    film = folder / "turntable.mp4"
    files[film] = film_bytes(frames, fps)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOutput(f"The folder {folder} cannot be made ({error.strerror}).", "Choose another place.") from error
    write_all(files)
    return tuple(files)
