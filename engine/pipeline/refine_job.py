"""Method "refine", from files to a textured mesh: an artist's mesh (or any other) fitted to its views."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ...bridge.errors import BadFolder, BadMasks, BadMesh
from ...bridge.settings import RefineMeshSettings
from ..render import depth_map
from .atlas import charts_of_corners, overlap_fraction
from .bake import bake_maps
from .cameras import project, resize_camera
from .delight import ViewLight
from .finish import finish_mesh
from .images import load_views
from .mask_archive import find_masks
from .mesh_files import MESH_SUFFIXES, MeshFile, read_mesh
from .presets import views_preset
from .progress import Run, Stage
from .refine import refine_mesh
from .refine_freedom import Freedom, check_freedom
from .refine_settings import RefineSettings, refine_preset
from .scores import EVERY, Judges, judges_of, leave_out, score_mesh, score_texture
from .symmetry import symmetry_along
from .types import Mask, Mesh, PipelineResult, Scores, TexturedMesh, UvMesh, View, ViewSet
from .unwrap import UnwrapSettings, unwrap_mesh

STAGES = ("load", "masks", "check", "refine", "simplify", "unwrap", "bake")
SCORED_STAGES = (*STAGES, "score")
MESH_LABEL = "mesh"
CHECK_PX = 160            # longer side at which the mesh and the masks are compared before any work
ELSEWHERE, FAR_OFF = 0.03, 0.4     # overlap of outlines: below, the mesh is another one; it is told
POOR = 0.8                # the same of the refined mesh: below, the views contradict it or each other
LEAST_UV_AREA = 1e-6      # of the texture: below, coordinates are there but say nothing
OVERLAP_TEXELS = 4_000_000   # looked at, all faces together
OVERLAP = 0.02            # of the texels, from which on the person is told
ROOM = 0.9                # of the budget: remeshing comes as near as a tenth to the wished number
OVER = 1.1


@dataclass(frozen=True)
class _Input:
    """What the job works on. fitted, masks: without the views that were left out, judges: those."""

    given: MeshFile
    everything: ViewSet
    fitted: ViewSet
    masks: tuple[Mask, ...]
    judges: Judges | None


def refine_from_views(files: Mapping[str, Path], settings: RefineMeshSettings, run: Run, device: str,
                      score: bool = False) -> PipelineResult:
    """Fit a mesh to its views and give it their colours.

    files: those of a view folder (bridge.folders.collect_view_folder) and "mesh.<suffix>". run: made with STAGES, or
    with SCORED_STAGES where `score` is true: then every 8th view is left out, neither fitted nor painted, and judges
    the mesh before and after.
    Raises BadInput (its leaves), Cancelled.
    """
    place = torch.device(device)
    job = _load(files, settings, run, place, score)
    freedom = _freedom(job.given, settings)
    with run.stage("refine", unit="iterations") as stage:
        check_freedom(freedom, job.given.mesh)
        fine = refine_mesh(job.given.mesh, job.fitted, job.masks, _refine_settings(settings, freedom), place, stage,
                           run.preview, freedom=freedom)
        _tell_of_poor_fit(fine, job, place, stage)
    run.preview(fine)
    with run.stage("simplify") as stage:
        mesh = _within_budget(fine, settings, freedom, stage)
    with run.stage("unwrap") as stage:
        uv_mesh = _with_coordinates(mesh, job.given.corner_uvs, settings, stage)
    with run.stage("bake") as stage:
        relief = fine if settings.normal_map else None
        textured, baked = bake_maps(uv_mesh, relief, job.fitted, job.masks, place, stage, settings)
    scores = None
    if job.judges is not None:
        with run.stage("score", unit="views") as stage:
            scores = _scores(job.given.mesh, textured, baked.light, job.judges, place, stage)
    cameras = tuple((view.name, view.camera) for view in job.everything.views)
    return PipelineResult(textured, cameras, str(place), tuple(run.times), tuple(run.warnings), scores,
                          facts=baked.facts)


def mesh_label(suffix: str) -> str:
    """What the mesh is called among the files of a job. suffix: with its dot."""
    return MESH_LABEL + suffix.lower()


def given_mesh(files: Mapping[str, Path], stage: Stage, weights: str = "") -> MeshFile:
    """The mesh among the files of a job, read; what is odd about it is told. Raises BadFolder, BadMesh."""
    label = next((mesh_label(suffix) for suffix in MESH_SUFFIXES if mesh_label(suffix) in files), None)
    if label is None:
        raise BadFolder("There is no mesh among the files.",
                        f"Give one as {', '.join(map(mesh_label, MESH_SUFFIXES))}.")
    given = read_mesh(files[label], label.removeprefix(MESH_LABEL), weights)
    for text in given.warnings:
        stage.warn(text)
    return given


def _load(files: Mapping[str, Path], settings: RefineMeshSettings, run: Run, place: torch.device,
          score: bool) -> _Input:
    with run.stage("load", unit="images") as stage:
        given = given_mesh(files, stage, settings.weights)
        views = load_views(files, views_preset(settings.quality).working_px, stage)
    masks = find_masks(views, views_preset(settings.quality).cutout_px, run)
    with run.stage("check", unit="views") as stage:
        check_place(given.mesh, views, masks, place, stage)
        left_out = leave_out(masks) if score else ()
        if score and not left_out:
            stage.warn(f"There are fewer than {EVERY} usable views, so none was left out and there are no scores.")
    kept = [number for number in range(len(masks)) if number not in left_out]
    fitted = dataclasses.replace(views, views=tuple(views.views[each] for each in kept))
    judges = judges_of(views, masks, left_out) if left_out else None
    return _Input(given, views, fitted, tuple(masks[each] for each in kept), judges)


def check_place(mesh: Mesh, views: ViewSet, masks: tuple[Mask, ...], device: torch.device, stage: Stage) -> None:
    """Whether the mesh is where the views show the object. A poor overlap is told.

    Raises BadMesh when it lies outside every view, or nearly nowhere where the masks have the object; BadMasks when no
    mask can be used.
    """
    used = [(view, mask) for view, mask in zip(views.views, masks) if mask.confidence > 0]
    if not used:
        raise BadMasks("No view has a mask that can be used.", "Check the masks: the object was found in none.")
    stage.total = stage.done + len(used)
    rows = []
    for view, mask in used:
        rows.append(_overlap(mesh, view, mask, device))
        stage.advance()
    hint = ("Place and scale it as the object stands in the world of the cameras; .glb and .obj have Y up, .ply, .stl "
            "and .npz Z up.")
    mean = float(np.mean([overlap for _, overlap in rows]))
    if not any(framed for framed, _ in rows):
        raise BadMesh("The mesh lies outside every view.", hint)
    if mean < ELSEWHERE:
        raise BadMesh(f"The mesh is not where the views show the object: their outlines overlap by {mean:.0%}.", hint)
    if mean < FAR_OFF:
        stage.warn(f"The mesh and the views agree poorly: their outlines overlap by {mean:.0%}. {hint}")


def _tell_of_poor_fit(mesh: Mesh, job: _Input, device: torch.device, stage: Stage) -> None:
    mean = float(np.mean([_overlap(mesh, view, mask, device)[1] for view, mask in zip(job.fitted.views, job.masks)
                          if mask.confidence > 0]))
    if mean < POOR:
        stage.warn(f"The views contradict the mesh, or each other: the outlines of the refined mesh overlap theirs by "
                   f"{mean:.0%} only. Check that cameras and masks belong to these pictures, and that what may move is "
                   "not locked.")


def _overlap(mesh: Mesh, view: View, mask: Mask, device: torch.device) -> tuple[bool, float]:
    """(whether any of the mesh is in the frame, IoU of its outline and the mask)."""
    camera = view.camera
    scale = min(1.0, CHECK_PX / max(camera.width, camera.height))
    small = resize_camera(camera, max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    wanted = cv2.resize(mask.values, (small.width, small.height), interpolation=cv2.INTER_AREA) > 0.5
    pixels, depth = project(small, mesh.vertices)
    if not (depth > 0).any():
        return False, 0.0
    covered = np.isfinite(depth_map(mesh, small, device).cpu().numpy())
    inside = bool(covered.any()) or bool(((pixels >= 0) & (pixels < (small.width, small.height))).all(1).any())
    return inside, float((covered & wanted).sum() / max(1, (covered | wanted).sum()))


def _freedom(given: MeshFile, settings: RefineMeshSettings) -> Freedom:
    plane = None if settings.symmetry == "none" else symmetry_along(settings.symmetry, given.origin, given.axes)
    return Freedom(settings.keep_topology, given.weights, plane)


def _refine_settings(settings: RefineMeshSettings, freedom: Freedom) -> RefineSettings:
    """The quality's row with the person's wishes: iterations are shared out as the levels have them."""
    row = refine_preset(settings.quality)
    levels = row.levels
    if settings.iterations:
        total = sum(level.iterations for level in levels)
        ends = [round(settings.iterations * done / total) for done in np.cumsum([each.iterations for each in levels])]
        levels = tuple(dataclasses.replace(level, iterations=end - start)
                       for level, start, end in zip(levels, [0, *ends[:-1]], ends) if end > start)
    if not freedom.keep_topology and _must_not_be_simplified(freedom):
        levels = tuple(dataclasses.replace(level, faces=min(level.faces, round(ROOM * settings.face_budget)))
                       for level in levels)
    seconds = settings.seconds or (row.seconds if not settings.iterations else float("inf"))
    return dataclasses.replace(row, levels=levels, seconds=seconds, seed=settings.seed)


def _must_not_be_simplified(freedom: Freedom) -> bool:
    """Simplifying would move what is locked, and each side on its own."""
    return freedom.weights is not None or freedom.symmetry is not None


def _within_budget(mesh: Mesh, settings: RefineMeshSettings, freedom: Freedom, stage: Stage) -> Mesh:
    if settings.keep_topology or len(mesh.faces) <= settings.face_budget:
        return mesh
    if not _must_not_be_simplified(freedom):
        return finish_mesh(mesh, settings.face_budget, stage)
    if len(mesh.faces) > OVER * settings.face_budget:
        stage.warn(f"The result has {len(mesh.faces):,} faces, more than the {settings.face_budget:,} asked for: what "
                   "is locked or symmetric is not simplified.")
    return mesh


def _with_coordinates(mesh: Mesh, corner_uvs: np.ndarray | None, settings: RefineMeshSettings, stage: Stage) -> UvMesh:
    """The given texture coordinates where the topology was kept, else new ones."""
    if settings.keep_topology:
        return own_coordinates(mesh, corner_uvs, settings.texture_px, stage)
    return unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)


def own_coordinates(mesh: Mesh, corner_uvs: np.ndarray | None, texture_px: int, stage: Stage) -> UvMesh:
    """The mesh with the texture coordinates it has; with new ones, which is told, where it has none. What lies outside
    the texture or on top of other coordinates is told, too. corner_uvs: (F, 3, 2) float32 or None. Raises Cancelled."""
    sides = np.zeros((1, 2, 2)) if corner_uvs is None else corner_uvs[:, 1:].astype(np.float64) - corner_uvs[:, :1]
    if corner_uvs is not None and float(np.abs(np.linalg.det(sides)).sum() / 2) > LEAST_UV_AREA:
        _tell_of_coordinates(corner_uvs, stage)
        return UvMesh(mesh, corner_uvs, charts_of_corners(mesh.faces, corner_uvs))
    stage.warn("The mesh has no texture coordinates" + (" with any area" if corner_uvs is not None else "")
               + ", so new ones were made. Its faces and vertices stay as they are.")
    return unwrap_mesh(mesh, UnwrapSettings(texture_px=texture_px), stage)


def _tell_of_coordinates(corner_uvs: np.ndarray, stage: Stage) -> None:
    outside = ((corner_uvs < 0) | (corner_uvs > 1)).any((1, 2))
    if outside.any():
        stage.warn(f"{int(outside.sum())} faces have texture coordinates outside the texture; they get no colours of "
                   "their own.")
    shared = _overlap_of(corner_uvs[~outside])
    if shared > OVERLAP:
        stage.warn(f"Texture coordinates lie on top of each other on {shared:.0%} of the texture; these places share "
                   "one colour.")


def _overlap_of(corner_uvs: np.ndarray) -> float:
    """Of coordinates inside the texture. Thousands of faces may lie over the whole of it (a tiled texture): then fewer
    texels are looked at."""
    boxes = float(np.ptp(corner_uvs.astype(np.float64), axis=1).prod(1).sum())
    return overlap_fraction(corner_uvs, int(np.clip((OVERLAP_TEXELS / max(boxes, 1e-9)) ** 0.5, 16, 1024)))


def _scores(given: Mesh, textured: TexturedMesh, light: ViewLight, judges: Judges, place: torch.device,
            stage: Stage) -> Scores:
    stage.total = 2 * len(judges.seen) + 3 * len(judges.left_out)
    before, after = (score_mesh(mesh, judges, place, stage) for mesh in (given, textured.mesh))
    return Scores(tuple(view.name for view in judges.left_out), before, after,
                  score_texture(textured, judges, place, stage, light))
