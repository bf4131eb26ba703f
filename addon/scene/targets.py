"""Renders of a part of the scene to build or refine a mesh from: colour with alpha, depth, normals, cameras.

The work is done in a copy of the scene that shares its objects, so the scene itself has nothing to be put back. Colour
comes from the engine asked for. Depth and normals come from Cycles with one ray through the middle of each pixel: the
passes beside a picture are mixed over the pixel (normals) or belong to some point of it (depth), EEVEE's and
Workbench's differ again, and Workbench has no normals.
"""
from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadCameras, BadOutput, BadSettings
from ...bridge.folders import TRANSFORMS_LABEL
from .cameras import SENSOR_WIDTH_MM, PinholeCamera, blender_matrix, pinhole_from_blender
from .exr import exr_bytes, read_exr
from .orbit import HIGHEST_DEG, LOWEST_DEG, Sphere, look_at_matrix, orbit_directions, orbit_distance
from .stage import copied_scene, evaluated_sphere, stage_scene

if TYPE_CHECKING:
    from bpy.types import Collection, Object, Scene, ViewLayer

ENGINES = ("CYCLES", "EEVEE", "WORKBENCH")
SOURCES = ("ORBIT", "CAMERAS")
LIGHTINGS = ("SCENE", "EVEN")
ORIGIN_KEY = "slipcast_renders"    # in transforms.json: the files beside it are ours to write over
SMALLEST_PX, LARGEST_PX = 16, 8192
FAR = 1e9                          # Blender writes 1e10 where there is nothing


@dataclass(frozen=True)
class TargetSettings:
    source: str = "ORBIT"             # one of SOURCES
    count: int = 24                   # views; for ORBIT
    resolution: int = 512             # pixels of the longer side; 0 = as the scene's
    engine: str = "CYCLES"            # one of ENGINES; for the colour
    samples: int = 0                  # a pixel; 0 = as the scene's
    lighting: str = "SCENE"           # one of LIGHTINGS; EVEN = white from everywhere, no lamps
    lens_mm: float = 50.0             # on a 36 mm wide sensor; for ORBIT
    lowest_deg: float = LOWEST_DEG    # elevation; for ORBIT
    highest_deg: float = HIGHEST_DEG


@dataclass(frozen=True)
class TargetProgress:
    """done of total views are written; `name` is the last one's, "" before the first."""

    done: int
    total: int
    name: str
    words = "Rendering views"


def check_target_settings(settings: TargetSettings) -> None:
    """Raises BadSettings."""
    for value, allowed in ((settings.source, SOURCES), (settings.engine, ENGINES), (settings.lighting, LIGHTINGS)):
        if value not in allowed:
            raise BadSettings(f"{value} is not known.", f"Use one of {', '.join(allowed)}.")
    if settings.resolution and not SMALLEST_PX <= settings.resolution <= LARGEST_PX:
        raise BadSettings(f"{settings.resolution} pixels are asked for.", f"Use {SMALLEST_PX} to {LARGEST_PX}.")
    if settings.samples < 0 or not settings.lens_mm > 0:
        raise BadSettings("Samples and lens cannot be negative.")


def check_folder(folder: Path) -> None:
    """Raises BadOutput where somebody else's view folder, or a file, would be written over."""
    try:
        text = (folder / TRANSFORMS_LABEL).read_text(encoding="utf-8")
        ours = ORIGIN_KEY in json.loads(text)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise BadOutput(f"{folder} cannot be used ({error}).", "Choose an empty folder.") from error
    if not ours:
        raise BadOutput(f"{folder} holds views that Slipcast has not rendered.", "Choose an empty folder.")


def render_targets(scene: Scene, view_layer: ViewLayer, subject: Object | Collection, folder: Path,
                   settings: TargetSettings) -> Iterator[TargetProgress]:
    """Render `subject` and all that hangs on it into a view folder; one step of the iterator is one view.

    Other objects that may be seen by renders are left out, but not those that cut holes (holdouts). The folder gets
    transforms.json, images/<view>.png, depth/<view>.exr and normals/<view>.exr (docs/conventions.md). Closing the
    iterator early, or an error, takes the files and the copy of the scene away again; `scene` is never written to.
    Raises BadSettings, BadCameras, BadOutput.
    """
    check_target_settings(settings)
    check_folder(folder)
    if not hasattr(scene, "cycles"):
        raise BadSettings("Depth and normals are rendered by Cycles, which is switched off.",
                          "Switch on Cycles Render Engine under Preferences > Add-ons.")
    with _all_files_or_none() as written, stage_scene(scene, view_layer, subject, settings.lighting) as stage:
        sphere = evaluated_sphere(stage, subject)
        _prepare(stage, settings)
        cameras = list(_cameras(scene, stage, sphere, settings))
        frames = []
        with copied_scene(stage) as data:
            _use_engine(stage, settings)
            _use_data_engine(data)
            yield TargetProgress(0, len(cameras), "")
            for number, (name, camera) in enumerate(cameras):
                stage.camera = data.camera = camera
                frames.append(_render_view(stage, data, folder, name, written))
                if number + 1 < len(cameras):
                    yield TargetProgress(number + 1, len(cameras), name)
        _write(folder / TRANSFORMS_LABEL, _transforms_text(subject.name, settings, frames), written)
    yield TargetProgress(len(cameras), len(cameras), cameras[-1][0])


def _prepare(stage: Scene, settings: TargetSettings) -> None:
    """What is the same for all views: colours as they are kept in files, nothing drawn over them, nothing blurred."""
    render = stage.render
    render.film_transparent, render.dither_intensity = True, 0.0
    for name in ("use_motion_blur", "use_compositing", "use_sequencer", "use_multiview", "use_border",
                 "use_crop_to_border", "use_stamp", "use_freestyle", "use_file_extension"):
        setattr(render, name, False)
    shown = stage.view_settings
    try:
        stage.display_settings.display_device = "sRGB"
        shown.view_transform, shown.look, shown.exposure, shown.gamma = "Standard", "None", 0.0, 1.0
    except TypeError as error:     # of an enumeration that has no such entry
        raise BadSettings("The colour management of this Blender has no sRGB display with the view Standard, in which "
                          f"views are rendered ({error}).", "Start Blender without a configuration of its own for "
                          "OpenColorIO, or add both to it.") from error
    shown.use_curve_mapping = False
    if hasattr(shown, "use_white_balance"):   # since 4.3
        shown.use_white_balance = False
    layer = stage.view_layers[0]
    layer.use_pass_combined = layer.use_pass_z = layer.use_pass_normal = True
    layer.pass_alpha_threshold = 0.5   # what is half seen through is not a surface
    if settings.source == "ORBIT" and settings.resolution:
        render.resolution_x = render.resolution_y = settings.resolution
    if settings.source == "ORBIT":
        render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    _scale_render(render, settings.resolution)


def _scale_render(render: Any, resolution: int) -> None:
    share = render.resolution_percentage / 100
    if resolution:
        share = resolution / max(render.resolution_x, render.resolution_y)
    render.resolution_x = max(4, round(render.resolution_x * share))   # 4: Blender's own least
    render.resolution_y = max(4, round(render.resolution_y * share))
    render.resolution_percentage = 100


def _cameras(scene: Scene, stage: Scene, sphere: Sphere, settings: TargetSettings) -> Iterator[tuple[str, Object]]:
    """(name of the view, a camera of its own in `stage`), each without depth of field."""
    if settings.source == "ORBIT":
        yield from _orbit_cameras(stage, sphere, settings)
        return
    found = sorted((thing for thing in scene.objects if thing.type == "CAMERA"), key=lambda thing: thing.name)
    usable = [thing for thing in found if thing.data.type == "PERSP"]  # type: ignore[union-attr]
    if not usable:
        raise BadCameras(f"{scene.name} has no perspective camera.", "Add cameras, or render from an orbit.")
    for number, thing in enumerate(usable):
        data = thing.data.copy()  # type: ignore[union-attr]
        data.dof.use_dof = False  # type: ignore[union-attr]
        yield f"{number:03d}", _add(stage, data, np.array(thing.matrix_world.normalized()))


def _orbit_cameras(stage: Scene, sphere: Sphere, settings: TargetSettings) -> Iterator[tuple[str, Object]]:
    width, height = stage.render.resolution_x, stage.render.resolution_y
    focal_px = settings.lens_mm / SENSOR_WIDTH_MM * width
    distance = orbit_distance(sphere.radius, focal_px, min(width, height))
    for number, direction in enumerate(orbit_directions(settings.count, settings.lowest_deg, settings.highest_deg)):
        data = bpy.data.cameras.new("slipcast orbit")
        data.sensor_fit, data.sensor_width, data.lens = "HORIZONTAL", SENSOR_WIDTH_MM, settings.lens_mm
        data.clip_start, data.clip_end = distance / 1000, distance + 100 * sphere.radius
        yield f"{number:03d}", _add(stage, data, look_at_matrix(sphere.centre + distance * direction, sphere.centre))


def _add(stage: Scene, data: Any, matrix_world: np.ndarray) -> Object:
    made = bpy.data.objects.new("slipcast view", data)
    stage.collection.objects.link(made)
    made.matrix_world = matrix_world.T.tolist()   # Blender takes columns
    return made


# --- one view -------------------------------------------------------------------------------------------------------
def _render_view(stage: Scene, data: Scene, folder: Path, name: str, written: list[Path]) -> dict[str, Any]:
    stage.view_layers[0].update()
    camera = pinhole_from_blender(stage.camera, stage.render)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="slipcast_") as place:
        colour = _render(stage, Path(place) / "colour.png", "PNG", "8").read_bytes()
        passes = read_exr(_render(data, Path(place) / "data.exr", "OPEN_EXR_MULTILAYER", "32"))
    depth, normals = _data_passes(passes)
    files = {"file_path": f"images/{name}.png", "depth_path": f"depth/{name}.exr", "normal_path": f"normals/{name}.exr"}
    _write(folder / files["file_path"], colour, written)
    _write(folder / files["depth_path"], exr_bytes({"Y": depth}), written)
    # half floats: at most .0005 off in a unit normal
    xyz = {axis: normals[..., index].astype(np.float16) for index, axis in enumerate("XYZ")}
    _write(folder / files["normal_path"], exr_bytes(xyz), written)
    return files | _camera_keys(camera)


def _use_engine(stage: Scene, settings: TargetSettings) -> None:
    # 4.2 to 4.5 call today's EEVEE so
    eevee = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0, 0) else "BLENDER_EEVEE"
    stage.render.engine = {"EEVEE": eevee, "WORKBENCH": "BLENDER_WORKBENCH", "CYCLES": "CYCLES"}[settings.engine]
    if settings.samples:
        stage.cycles.samples = stage.eevee.taa_render_samples = settings.samples


def _use_data_engine(data: Scene) -> None:
    """One ray through the middle of each pixel."""
    data.render.engine = "CYCLES"
    cycles = data.cycles
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = 1, False, False
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    cycles.max_bounces, cycles.device = 0, "CPU"
    cycles.transparent_max_bounces = max(8, cycles.transparent_max_bounces)   # leaves are cut out by alpha


def _render(stage: Scene, path: Path, file_format: str, depth: str) -> Path:
    kept = stage.render.image_settings
    if hasattr(kept, "media_type"):   # since 5.0, and to be set before the format
        kept.media_type = "MULTI_LAYER_IMAGE" if file_format == "OPEN_EXR_MULTILAYER" else "IMAGE"
    kept.file_format = file_format
    kept.color_mode, kept.color_depth, kept.color_management = "RGBA", depth, "FOLLOW_SCENE"
    if file_format == "OPEN_EXR_MULTILAYER":
        kept.exr_codec = "NONE"
        if hasattr(kept, "use_exr_interleave"):   # since 5.0 each pass is a part of its own, unless asked not to
            kept.use_exr_interleave = True
    stage.render.filepath = str(path)
    try:
        bpy.ops.render.render(write_still=True, scene=stage.name)
    except RuntimeError as error:
        raise BadOutput(f"Blender could not render: {str(error).strip()}", "Try another render engine.") from error
    if not path.is_file():
        raise BadOutput("Blender rendered no picture.", "Try another render engine.")
    return path


def _data_passes(channels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """((H, W) float32 depth, 1e10 where there is nothing; (H, W, 3) unit normals, 0 where there is nothing)."""
    found = {tuple(name.split(".")[-2:]): values for name, values in channels.items() if name.count(".") >= 2}
    depth = next((values for (kind, _), values in found.items() if kind in ("Depth", "Z")), None)
    normals = [found.get(("Normal", axis)) for axis in "XYZ"]
    if depth is None or any(values is None for values in normals):
        raise BadOutput(f"Blender rendered only {', '.join(channels)[:200]}.", "Choose another view layer.")
    stacked = np.stack(normals, axis=-1)  # type: ignore[arg-type]
    length = np.linalg.norm(stacked, axis=-1, keepdims=True)
    hit = (depth[..., None] < FAR) & (length > 0)
    return depth, np.where(hit, stacked / np.where(hit, length, 1.0), np.float32(0.0))


# --- files ----------------------------------------------------------------------------------------------------------
def _camera_keys(camera: PinholeCamera) -> dict[str, Any]:
    return {"transform_matrix": blender_matrix(camera.world_from_camera).tolist(), "fl_x": camera.fx, "fl_y": camera.fy,
            "cx": camera.cx, "cy": camera.cy, "w": camera.width, "h": camera.height,
            "camera_angle_x": 2 * math.atan(camera.width / 2 / camera.fx)}


def write_views(folder: Path, subject: str, views: list[tuple[str, PinholeCamera, str, bytes]]) -> None:
    """A view folder of pictures that are there already: (name, camera, suffix, content) each.

    All of it is written, or nothing. Raises BadOutput.
    """
    frames = []
    with _all_files_or_none() as written:
        for name, camera, suffix, content in views:
            label = f"images/{name}{suffix}"
            _write(folder / label, content, written)
            frames.append({"file_path": label} | _camera_keys(camera))
        _write(folder / TRANSFORMS_LABEL, json.dumps({ORIGIN_KEY: {"subject": subject, "source": "PHOTOS"},
                                                     "camera_model": "PINHOLE", "frames": frames}, indent=1), written)


def _transforms_text(subject: str, settings: TargetSettings, frames: list[dict[str, Any]]) -> str:
    origin = {"subject": subject, "engine": settings.engine, "source": settings.source}
    return json.dumps({ORIGIN_KEY: origin, "camera_model": "PINHOLE", "frames": frames}, indent=1)


@contextmanager
def _all_files_or_none() -> Iterator[list[Path]]:
    """Remove the files in the list it hands out unless the block is gone through to its end: what is half done must not
    look like a view folder."""
    written: list[Path] = []
    done = False
    try:
        yield written
        done = True
    finally:
        if not done:
            for path in written:
                path.unlink(missing_ok=True)


def _write(path: Path, content: bytes | str, written: list[Path]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(path)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise BadOutput(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error
