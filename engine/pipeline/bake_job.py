"""Method "bake", from files to a textured mesh: the colours of views on an artist's mesh, which stays as it is."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ...bridge.settings import BakeSettings
from .bake import bake_maps
from .images import load_views
from .mask_archive import find_masks
from .presets import views_preset
from .progress import Run
from .refine_job import check_place, given_mesh, own_coordinates
from .types import PipelineResult

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
    masks = find_masks(views, preset.cutout_px, run)
    with run.stage("check", unit="views") as stage:
        check_place(given.mesh, views, masks, place, stage)
    with run.stage("unwrap") as stage:
        uv_mesh = own_coordinates(given.mesh, given.corner_uvs, settings.texture_px, stage)
    with run.stage("bake") as stage:
        textured, baked = bake_maps(uv_mesh, None, views, masks, place, stage, settings)
    cameras = tuple((view.name, view.camera) for view in views.views)
    return PipelineResult(textured, cameras, str(place), tuple(run.times), tuple(run.warnings), facts=baked.facts)
