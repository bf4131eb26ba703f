"""How good the result is: `python -m slipcast.bench.quality MESH_OR_VIEWS... [--quality Q] [--views N]`.

A mesh (textured, .glb .obj .ply) is rendered from N cameras, reconstructed from those views and compared with itself
from other cameras. A view folder is reconstructed and compared with its own views. One row of figures each.
"""
from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import trimesh

from ..bridge.folders import collect_view_folder
from ..bridge.settings import QUALITIES, ViewsSettings
from ..engine.pipeline.atlas import overlap_fraction, texel_owners
from ..engine.pipeline.generate import STAGES, generate_from_views
from ..engine.pipeline.images import load_views
from ..engine.pipeline.manifold import is_closed
from ..engine.pipeline.matting import mask_views
from ..engine.pipeline.presets import views_preset
from ..engine.pipeline.progress import Run
from ..engine.pipeline.types import Camera, TexturedMesh
from .known_mesh import KnownMesh, load_known_mesh, orbit_cameras, render, write_views

MEASURE_VIEWS, MEASURE_PX = 12, 256
NEW_TURN = 1.0      # radians: the cameras that measure are not those that were reconstructed from
VOXELS = 128
OFF_AXIS = 1e-5     # rays exactly on a symmetric mesh's edges hit two faces


def reconstruct(folder: Path, settings: ViewsSettings, device: str = "cpu") -> TexturedMesh:
    """Run the pipeline on a view folder."""
    return generate_from_views(collect_view_folder(folder), settings, Run(STAGES), device).textured


def as_known(textured: TexturedMesh) -> KnownMesh:
    """A result in the form that known meshes have."""
    return KnownMesh(textured.mesh.vertices[textured.mesh.faces], textured.corner_uvs, textured.base_color)


def health(textured: TexturedMesh) -> dict[str, float]:
    """Facts that need no truth: faces, watertight and UVs inside the square (1 or 0), overlap and use of texels."""
    uvs = textured.corner_uvs
    texel, _ = texel_owners(uvs, 1024)
    return {"faces": len(textured.mesh.faces), "watertight": float(is_closed(textured.mesh)),
            "uv_inside": float(uvs.min() >= 0 and uvs.max() <= 1), "uv_overlap": overlap_fraction(uvs),
            "uv_used": len(np.unique(texel)) / 1024**2}


def compare(found: KnownMesh, truth: KnownMesh) -> dict[str, float]:
    """volume_iou, and silhouette_iou and psnr_db (unlit colour on white, inside either outline) over new cameras."""
    outlines, errors = [], []
    for camera in orbit_cameras(truth, MEASURE_VIEWS, MEASURE_PX, NEW_TURN):
        outline, error = _compare_pictures(render(found, camera), render(truth, camera))
        outlines.append(outline)
        errors.append(error)
    return {"volume_iou": volume_iou(found.solid, truth.solid), "silhouette_iou": float(np.mean(outlines)),
            "psnr_db": float(np.mean(errors))}


def _compare_pictures(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """IoU of the outlines, and PSNR in dB inside their union, both over white."""
    a, b = one[1] > 0.5, other[1] > 0.5
    union = a | b
    over_white = [color * cover[..., None] + 1 - cover[..., None] for color, cover in (one, other)]
    square = float(((over_white[0] - over_white[1])[union] ** 2).mean()) if union.any() else 0.0
    return float((a & b).sum() / max(union.sum(), 1)), -10 * np.log10(max(square, 1e-10))


def volume_iou(found: trimesh.Trimesh, truth: trimesh.Trimesh) -> float:
    """Shared volume over joint volume on a grid; inside = an odd number of surfaces below, most votes of three axes."""
    low = np.minimum(found.bounds[0], truth.bounds[0])
    high = np.maximum(found.bounds[1], truth.bounds[1])
    size = float((high - low).max()) * 1.04
    low = (low + high - size) / 2
    a, b = _inside(found, low, size), _inside(truth, low, size)
    return float((a & b).sum() / max((a | b).sum(), 1))


def _inside(shape: trimesh.Trimesh, low: np.ndarray, size: float) -> np.ndarray:
    cell = size / VOXELS
    centre = (np.arange(VOXELS) + 0.5) * cell
    votes = np.zeros((VOXELS,) * 3, np.int8)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        start = np.zeros((VOXELS, VOXELS, 3))
        start[..., others[0]] = low[others[0]] + centre[:, None] + OFF_AXIS * size
        start[..., others[1]] = low[others[1]] + centre[None, :] + OFF_AXIS * size
        start[..., axis] = low[axis] - cell
        way = np.tile(np.eye(3)[axis], (VOXELS**2, 1))
        place, ray, _ = shape.ray.intersects_location(start.reshape(-1, 3), way, multiple_hits=True)
        crossings = np.zeros((VOXELS**2, VOXELS + 1), np.int32)
        first = np.ceil((place[:, axis] - low[axis]) / cell - 0.5).clip(0, VOXELS).astype(int)
        np.add.at(crossings, (ray, first), 1)
        inside = (crossings.cumsum(1)[:, :VOXELS] % 2).reshape((VOXELS,) * 3).astype(np.int8)
        votes += np.moveaxis(inside, 2, axis)
    return votes >= 2


def compare_with_views(textured: TexturedMesh, folder: Path, settings: ViewsSettings) -> dict[str, float]:
    """silhouette_iou and psnr_db against the views themselves, with the masks that the pipeline makes."""
    run = Run(STAGES)
    with run.stage("load") as stage:
        views = load_views(collect_view_folder(folder), views_preset(settings.quality).working_px, stage)
    with run.stage("masks") as stage:
        masks = mask_views(views, stage)
    known, rows = as_known(textured), []
    for view, mask in zip(views.views, masks):
        camera: Camera = view.camera
        if mask.confidence > 0:
            rows.append(_compare_pictures(render(known, camera), (view.image / np.float32(255), mask.values)))
    outline, psnr = np.mean(rows, axis=0)
    return {"silhouette_iou": float(outline), "psnr_db": float(psnr)}


def measure(source: Path, settings: ViewsSettings, views: int = 24, size_px: int = 512) -> dict[str, float]:
    """All figures of one mesh file or view folder, with the seconds it took."""
    if source.is_dir():
        started = time.perf_counter()
        textured = reconstruct(source, settings)
        seconds = time.perf_counter() - started
        return compare_with_views(textured, source, settings) | health(textured) | {"seconds": seconds}
    truth = load_known_mesh(source)
    with tempfile.TemporaryDirectory() as folder:
        write_views(truth, Path(folder), views, size_px)
        started = time.perf_counter()
        textured = reconstruct(Path(folder), settings)
        seconds = time.perf_counter() - started
    return compare(as_known(textured), truth) | health(textured) | {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(prog="slipcast.bench.quality", description=__doc__)
    parser.add_argument("source", type=Path, nargs="+", metavar="MESH_OR_VIEWS")
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--views", type=int, default=24, help="cameras to render a mesh from (default: 24)")
    parser.add_argument("--size", type=int, default=512, metavar="PX", help="side of those pictures (default: 512)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for source in arguments.source:
        row = measure(source, ViewsSettings(quality=arguments.quality), arguments.views, arguments.size)
        print(source.name, *(f"{name} {value:.4g}" for name, value in row.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
