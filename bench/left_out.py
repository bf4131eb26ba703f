"""How well photos that were left out are foretold: `python -m slipcast.bench.left_out FOLDER [--every N]`.

Every Nth view of a folder is left out of everything. The hull, the surface with fitted outlines and the refined mesh
are each textured from the other views and drawn from the cameras left out. A row each: overlap of outlines, and the
foreground's PSNR as it is and with the best exposure a view and channel (photos with automatic exposure or a flash
differ by that alone).
"""
from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from ..bridge.folders import collect_view_folder
from ..bridge.settings import QUALITIES, ViewsSettings
from ..engine.pipeline.bake import bake_base_color
from ..engine.pipeline.finish import finish_mesh, reduce_faces
from ..engine.pipeline.hull import visual_hull
from ..engine.pipeline.images import load_views
from ..engine.pipeline.matting import mask_views
from ..engine.pipeline.outlines import fit_outlines
from ..engine.pipeline.presets import views_preset
from ..engine.pipeline.progress import Run
from ..engine.pipeline.refine import refine_mesh
from ..engine.pipeline.refine_settings import refine_preset
from ..engine.pipeline.surface import extract_surface
from ..engine.pipeline.types import Mask, Mesh, TexturedMesh, View, ViewSet
from ..engine.pipeline.unwrap import UnwrapSettings, unwrap_mesh
from ..engine.pipeline.volume import working_volume
from .known_mesh import KnownMesh, render

DEVICE = torch.device("cpu")


def split(views: ViewSet, masks: tuple[Mask, ...],
          every: int) -> tuple[ViewSet, tuple[Mask, ...], list[tuple[View, Mask]]]:
    """The views and masks to reconstruct from, and those left out."""
    out = [each for each in range(len(views.views)) if each % every == every - 1]
    kept = [each for each in range(len(views.views)) if each not in out]
    return (ViewSet(tuple(views.views[each] for each in kept), views.points, views.volume),
            tuple(masks[each] for each in kept), [(views.views[each], masks[each]) for each in out])


def shapes(views: ViewSet, masks: tuple[Mask, ...], settings: ViewsSettings, run: Run) -> dict[str, Mesh]:
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
        mesh = refine_mesh(mesh, views, masks, refine_preset(settings.quality), DEVICE, stage)
        print(f"refined in {time.process_time() - began:.0f} s of processor time", *run.warnings, flush=True)
        made["refined"] = reduce_faces(mesh, settings.face_budget, stage)
    return made


def textured(mesh: Mesh, views: ViewSet, masks: tuple[Mask, ...], settings: ViewsSettings, run: Run) -> TexturedMesh:
    with run.stage("texture") as stage:
        uv_mesh = unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)
        return TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs,
                            bake_base_color(uv_mesh, views, masks, settings.texture_px, DEVICE, stage))


def score(found: TexturedMesh, left_out: list[tuple[View, Mask]]) -> tuple[float, float, float]:
    """(IoU of outlines, dB, dB with the best exposure) over the views left out; dB inside the mask."""
    known = KnownMesh(found.mesh.vertices[found.mesh.faces], found.corner_uvs, found.base_color)
    rows = []
    for view, mask in left_out:
        color, cover = render(known, view.camera)
        drawn, true = cover > 0.5, mask.values > 0.5
        photo, both = view.image[true] / 255, (drawn & true)[true]
        shown = np.where(both[:, None], color[true], 1.0)
        gain = (shown * photo)[both].sum(0) / np.maximum(np.square(shown[both]).sum(0), 1e-9)
        exposed = np.where(both[:, None], shown * gain, 1.0)
        rows.append(((drawn & true).sum() / max((drawn | true).sum(), 1), _psnr(shown, photo), _psnr(exposed, photo)))
    overlap, plain, exposed = np.mean(rows, axis=0)
    return float(overlap), float(plain), float(exposed)


def _psnr(shown: np.ndarray, photo: np.ndarray) -> float:
    return float(-10 * np.log10(max(float(np.square(shown - photo).mean()), 1e-10)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="slipcast.bench.left_out", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--every", type=int, default=8, metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings, run = ViewsSettings(quality=arguments.quality), Run(("load", "shape", "refine", "texture"))
    preset = views_preset(arguments.quality)
    with run.stage("load") as stage:
        views = load_views(collect_view_folder(arguments.folder), preset.working_px, stage)
        masks = mask_views(views, stage, preset.cutout_px)
    views, masks, left_out = split(views, masks, arguments.every)
    for name, mesh in shapes(views, masks, settings, run).items():
        overlap, plain, exposed = score(textured(mesh, views, masks, settings, run), left_out)
        print(f"{name:10} outlines {overlap:.4f}  {plain:.2f} dB  with exposure {exposed:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
