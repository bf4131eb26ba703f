"""Method "views", from files to a textured mesh: the stages in a row."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ...bridge.settings import ViewsSettings
from .bake import bake_texture
from .finish import finish_mesh, reduce_faces
from .hull import visual_hull
from .images import load_views
from .mask_archive import pack_masks
from .matting import mask_views
from .normal_map import bake_normal_map, worth_a_normal_map
from .outlines import fit_outlines
from .presets import views_preset
from .progress import Run
from .refine import refine_mesh
from .refine_settings import refine_preset
from .surface import extract_surface
from .texture_fit import texture_preset
from .types import PipelineResult, TexturedMesh
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
    with run.stage("masks", total=len(views.views), unit="views") as stage:
        masks = mask_views(views, stage, preset.cutout_px)
        run.attach("masks", "application/zip", pack_masks(files, views, masks))
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
        fine = refine_mesh(mesh, views, masks, refine_preset(settings.quality), place, stage, run.preview)
        mesh = reduce_faces(fine, settings.face_budget, stage)
    run.preview(mesh)
    with run.stage("unwrap") as stage:
        uv_mesh = unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)
    with run.stage("bake") as stage:
        baked = bake_texture(uv_mesh, views, masks, settings.texture_px, place, stage,
                             texture_preset(settings.quality, settings.even_light))
        relief = settings.normal_map and worth_a_normal_map(fine, mesh)
        normal_map = bake_normal_map(uv_mesh, fine, settings.texture_px, place, stage) if relief else None
    cameras = tuple((view.name, view.camera) for view in views.views)
    textured = TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, baked.base_color, normal_map)
    return PipelineResult(textured, cameras, str(place), tuple(run.times), tuple(run.warnings), facts=baked.facts)
