"""Method "views", from files to a textured mesh: the stages in a row."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from ...bridge.settings import ViewsSettings
from .bake import bake_maps
from .finish import finish_mesh, reduce_faces
from .hull import visual_hull
from .images import load_views
from .mask_archive import find_masks
from .outlines import fit_outlines
from .presets import views_preset
from .progress import Run
from .refine import refine_mesh
from .refine_settings import from_hull, refine_preset
from .surface import extract_surface
from .types import PipelineResult
from .unwrap import UnwrapSettings, unwrap_mesh
from .volume import working_volume

STAGES = ("load", "masks", "volume", "hull", "surface", "simplify", "outlines", "refine", "unwrap", "bake")
WORKING_FACES = 20_000     # the mesh has at least as many until it is refined: a smaller budget is met at the end


def generate_from_views(files: Mapping[str, Path], settings: ViewsSettings, run: Run, device: str) -> PipelineResult:
    """A textured mesh from views with cameras.

    files: label -> local file, as bridge.folders.collect_view_folder makes it; suffixes of the files mean nothing.
    run: made with STAGES. device: "cpu" or "cuda:N", known to work (runners.find_device). The raw, the
    simplified, the fitted and the refined surface go out as previews, and the mesh while it is being refined.
    Raises BadInput (its leaves), Cancelled.
    """
    preset, place = views_preset(settings.quality), torch.device(device)
    with run.stage("load", unit="images") as stage:
        views = load_views(files, preset.working_px, stage)
    masks = find_masks(views, preset.cutout_px, run)
    with run.stage("volume") as stage:
        box = working_volume(views, masks)
    with run.stage("hull", unit="steps") as stage:
        field = visual_hull(views, masks, box, preset, place, stage)
    with run.stage("surface") as stage:
        mesh = extract_surface(field, stage, preset.smooth_rounds)
    run.preview(mesh)
    with run.stage("simplify") as stage:
        mesh = finish_mesh(mesh, max(settings.face_budget, WORKING_FACES), stage)
    run.preview(mesh)
    with run.stage("outlines", unit="rounds") as stage:
        if not field.by_depth:   # it would fill the hollows again, as far as outlines allow
            mesh = fit_outlines(mesh, views, masks, box, preset.outline_px, preset.outline_rounds, place, stage)
    run.preview(mesh)
    with run.stage("refine", unit="iterations") as stage:
        wishes = dataclasses.replace(refine_preset(settings.quality), seed=settings.seed)
        if not field.by_depth:
            wishes = from_hull(wishes)
        fine = refine_mesh(mesh, views, masks, wishes, place, stage, run.preview)
        mesh = reduce_faces(fine, settings.face_budget, stage)
    run.preview(mesh)
    with run.stage("unwrap") as stage:
        uv_mesh = unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)
    with run.stage("bake") as stage:
        relief = fine if settings.normal_map else None
        textured, baked = bake_maps(uv_mesh, relief, views, masks, place, stage, settings)
    cameras = tuple((view.name, view.camera) for view in views.views)
    return PipelineResult(textured, cameras, str(place), tuple(run.times), tuple(run.warnings), facts=baked.facts)
