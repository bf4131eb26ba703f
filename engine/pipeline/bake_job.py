"""Method "bake", from files to a textured mesh: the colours of views on an artist's mesh, which stays as it is."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ...bridge.settings import BakeSettings
from .bake import bake_texture
from .images import load_views
from .mask_archive import pack_masks
from .matting import mask_views
from .presets import views_preset
from .progress import Run
from .refine_job import check_place, given_mesh, own_coordinates
from .texture_fit import texture_preset
from .types import PipelineResult, TexturedMesh

STAGES = ("load", "masks", "check", "unwrap", "bake")


def bake_from_views(files: Mapping[str, Path], settings: BakeSettings, run: Run, device: str) -> PipelineResult:
    """Paint a mesh from its views: the same vertices, faces and texture coordinates come back, with a texture.

    files: those of a view folder (bridge.folders.collect_view_folder) and "mesh.<suffix>", which lies where the views
    show it. run: made with STAGES. device: "cpu" or "cuda:N", known to work. Texture coordinates are made only where
    there are none, and that is told. Raises BadInput (its leaves), Cancelled.
    """
    preset, place = views_preset(settings.quality), torch.device(device)
    with run.stage("load", unit="images") as stage:
        given = given_mesh(files, stage)
        views = load_views(files, preset.working_px, stage)
    with run.stage("masks", total=len(views.views), unit="views") as stage:
        masks = mask_views(views, stage, preset.cutout_px)
        run.attach("masks", "application/zip", pack_masks(files, views, masks))
    with run.stage("check", unit="views") as stage:
        check_place(given.mesh, views, masks, place, stage)
    with run.stage("unwrap") as stage:
        uv_mesh = own_coordinates(given.mesh, given.corner_uvs, settings.texture_px, stage)
    with run.stage("bake") as stage:
        baked = bake_texture(uv_mesh, views, masks, settings.texture_px, place, stage,
                             texture_preset(settings.quality, settings.even_light))
    cameras = tuple((view.name, view.camera) for view in views.views)
    return PipelineResult(TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, baked.base_color), cameras, str(place),
                          tuple(run.times), tuple(run.warnings), facts=baked.facts)
