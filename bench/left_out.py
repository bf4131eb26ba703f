"""How well photos that were left out are foretold: `python -m slipcast.bench.left_out FOLDER [--every N]`.

Every Nth view of a folder is left out of everything. The hull, the surface with fitted outlines and the refined mesh
are each textured from the other views and drawn from the cameras left out, first with what the projection gives, then
with the texture fitted to all views and, where the light moved with the camera, in that light as the other views tell
it. A row each: overlap of outlines, and the foreground's PSNR as it is and with the photo's exposure, one factor a
channel. Nothing else of a photo that is left out is used, but the sparse points were found in all of them. Where the
mesh is missing, it is white. Every Nth of the object's sparse points is left out, too: how far they are from each mesh.
With --no-points refine does without the others.
"""
from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from ..bridge.folders import collect_view_folder
from ..bridge.settings import QUALITIES, ViewsSettings
from ..engine.pipeline.bake import bake_texture
from ..engine.pipeline.delight import ViewLight
from ..engine.pipeline.finish import finish_mesh, reduce_faces
from ..engine.pipeline.hull import visual_hull
from ..engine.pipeline.images import load_views
from ..engine.pipeline.matting import mask_views
from ..engine.pipeline.outlines import fit_outlines
from ..engine.pipeline.presets import views_preset
from ..engine.pipeline.progress import Run
from ..engine.pipeline.refine import refine_mesh
from ..engine.pipeline.refine_points import in_outlines
from ..engine.pipeline.refine_settings import from_hull, refine_preset
from ..engine.pipeline.scores import exposed_like, in_moving_light
from ..engine.pipeline.surface import extract_surface
from ..engine.pipeline.texels import Texels
from ..engine.pipeline.texture_fit import TextureSettings, texture_preset
from ..engine.pipeline.types import Mask, Mesh, TexturedMesh, View, ViewSet
from ..engine.pipeline.unwrap import UnwrapSettings, unwrap_mesh
from ..engine.pipeline.volume import working_volume
from .known_mesh import render
from .quality import as_known

DEVICE = torch.device("cpu")


def split(views: ViewSet, masks: tuple[Mask, ...],
          every: int) -> tuple[ViewSet, tuple[Mask, ...], list[tuple[View, Mask]], np.ndarray]:
    """The views, with points, and masks to reconstruct from; the views, and points (P, 3) of the object, left out."""
    out = [each for each in range(len(views.views)) if each % every == every - 1]
    kept = [each for each in range(len(views.views)) if each not in out]
    points, away = views.points, np.zeros((0, 3))
    if points is not None:
        judge = np.arange(len(points)) % every == every - 1
        away, points = points[judge], points[~judge]
        away = away[in_outlines(away, views.views, masks)]
    return (ViewSet(tuple(views.views[each] for each in kept), points, views.volume),
            tuple(masks[each] for each in kept), [(views.views[each], masks[each]) for each in out], away)


def distance(mesh: Mesh, points: np.ndarray) -> str:
    """Of points from a mesh, in percent of its box's diagonal; nothing where there are none."""
    if not len(points):
        return ""
    away = trimesh.proximity.closest_point(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), points)[1]
    away = 100 * away / np.linalg.norm(np.ptp(mesh.vertices, axis=0))
    return (f"{len(points)} points left out: mean {away.mean():.2f} %, median {np.median(away):.2f} %, "
            f"nine in ten within {np.percentile(away, 90):.2f} % of the diagonal")


def shapes(views: ViewSet, masks: tuple[Mask, ...], settings: ViewsSettings, run: Run,
           with_points: bool = True) -> dict[str, Mesh]:
    """The mesh after three stages, each within the face budget."""
    preset, made = views_preset(settings.quality), {}
    with run.stage("shape") as stage:
        box = working_volume(views, masks)
        mesh = extract_surface(visual_hull(views, masks, box, preset, DEVICE, stage), stage, preset.smooth_rounds)
        made["hull"] = mesh = finish_mesh(mesh, settings.face_budget, stage)
        made["outlines"] = mesh = fit_outlines(mesh, views, masks, box, preset.outline_px, preset.outline_rounds,
                                               DEVICE, stage)
    with run.stage("refine") as stage:
        began = time.process_time()
        wishes = from_hull(refine_preset(settings.quality))
        if not with_points:
            wishes = replace(wishes, points=0.0)
        mesh = refine_mesh(mesh, views, masks, wishes, DEVICE, stage)
        print(f"refined in {time.process_time() - began:.0f} s of processor time", *run.warnings, flush=True)
        made["refined"] = reduce_faces(mesh, settings.face_budget, stage)
    return made


def textured(mesh: Mesh, views: ViewSet, masks: tuple[Mask, ...], settings: ViewsSettings, run: Run,
             fit: TextureSettings | None) -> tuple[TexturedMesh, ViewLight]:
    """With the light that is to be put back. fit: None, the projection alone."""
    with run.stage("texture") as stage:
        uv_mesh = unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)
        baked = bake_texture(Texels(uv_mesh, settings.texture_px, DEVICE), views, masks, stage, fit)
        return TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, baked.base_color), baked.light


def score(found: TexturedMesh, light: ViewLight, left_out: list[tuple[View, Mask]]) -> tuple[float, float, float]:
    """(IoU of outlines, dB, dB with the photo's exposure) over the views left out; dB inside the mask."""
    known = as_known(found)
    rows = []
    for view, mask in left_out:
        color, cover = render(known, view.camera)
        drawn, true, photo = cover > 0.5, mask.values > 0.5, view.image / 255
        both, lit = drawn & true, in_moving_light(color, found.mesh, light, view.camera, DEVICE)
        plain, exposed = (_psnr(np.where(both[..., None], each, 1.0)[true], photo[true])
                          for each in (lit, exposed_like(lit, photo, both)))
        rows.append((both.sum() / max((drawn | true).sum(), 1), plain, exposed))
    overlap, plain, exposed = np.mean(rows, axis=0)
    return float(overlap), float(plain), float(exposed)


def _psnr(shown: np.ndarray, photo: np.ndarray) -> float:
    return float(-10 * np.log10(max(float(np.square(shown - photo).mean()), 1e-10)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="slipcast.bench.left_out", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--every", type=int, default=8, metavar="N")
    parser.add_argument("--no-points", action="store_true", help="refine without the sparse points")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings, run = ViewsSettings(quality=arguments.quality), Run(("load", "shape", "refine", "texture"))
    preset = views_preset(arguments.quality)
    with run.stage("load") as stage:
        views = load_views(collect_view_folder(arguments.folder), preset.working_px, stage)
        masks = mask_views(views, stage, preset.cutout_px)
    views, masks, left_out, points = split(views, masks, arguments.every)
    for name, mesh in shapes(views, masks, settings, run, not arguments.no_points).items():
        print(f"{name:10} {distance(mesh, points)}", flush=True)
        for way, fit in (("projected", None), ("fitted", texture_preset(settings.quality))):
            began = time.process_time()
            found, light = textured(mesh, views, masks, settings, run, fit)
            seconds = time.process_time() - began
            overlap, plain, exposed = score(found, light, left_out)
            print(f"{name:10} {way:10} outlines {overlap:.4f}  {plain:.2f} dB  with exposure {exposed:.2f} dB  "
                  f"texture in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
