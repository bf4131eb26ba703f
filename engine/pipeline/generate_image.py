"""Method "image", from one picture to a textured mesh: the stages in a row."""
from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...bridge.errors import BadHeader, BadSettings, BadWeights, OutOfMemory
from ...bridge.settings import TURNTABLE, ImageSettings, settings_from_mapping
from ...bridge.strict_json import parse_json
from ..models.memory import is_out_of_memory
from ..models.shelf import ALWAYS, AUTO, Choice, ModelShelf
from ..models.spec import ModelSpec, Reconstruction
from .cameras import resize_camera
from .fill import pad_with_nearest
from .finish import finish_mesh
from .floaters import without_floaters
from .foreground import Foreground, Picture, find_foreground, load_picture
from .paint import paint_texture
from .progress import Run, Stage
from .types import Camera, Mask, Mesh, PipelineResult, TexturedMesh, UvMesh, View
from .unwrap import UnwrapSettings, unwrap_mesh

log = logging.getLogger(__name__)

BEFORE, AFTER = ("image", "foreground", "model"), ("simplify", "unwrap", "texture", "padding")
_SETTINGS_BYTES = 16 * 1024


def image_stages(spec: ModelSpec, turntable: bool = False) -> tuple[str, ...]:
    """The stages of a job whose shape the model of `spec` makes. turntable: whether a turn around it is made, too."""
    return (*BEFORE, *spec.stages, *AFTER, *((TURNTABLE,) if turntable else ()))


def generate_from_image(files: Mapping[str, Path], settings: ImageSettings, shelf: ModelShelf, choice: Choice, run: Run,
                        device: str) -> PipelineResult:
    """A textured mesh from one picture: facing -Y, standing on z = 0, about one unit large.

    files: "image" and, if wanted, "mask" -> local files; suffixes mean nothing. choice: shelf.choose(settings.model,
    device). run: made with image_stages of its model. device: "cpu" or "cuda:N", known to work.
    The surface goes out as a preview, raw and simplified. The result's pictures are "mask" and "cutout"; its camera is
    that of the picture as it was given, upright.
    Raises BadInput (its leaves), WeightsError (its leaves), OutOfMemory, Cancelled.
    """
    place = torch.device(device)
    for text in choice.warnings:
        run.warn(text)
    with run.stage("image") as stage:
        model_settings(choice.model.spec, settings)     # before the work: are they right, and is it all there?
        shelf.store.files(choice.model.spec)
        picture = load_picture(files, stage)
    with run.stage("foreground") as stage:
        cut = find_foreground(picture, settings.background, shelf.store, stage)
    spec, made = _reconstruct(shelf, choice, cut, settings, run)
    if spec.note:
        run.warn(spec.note)
    run.preview(made.mesh)
    with run.stage("simplify") as stage:
        mesh = _simplified(made.mesh, spec, settings, stage)
    run.preview(mesh)
    with run.stage("unwrap") as stage:
        uv_mesh = unwrap_mesh(mesh, UnwrapSettings(texture_px=settings.texture_px), stage)
    base_color = _textured(uv_mesh, made, cut, settings, place, run)
    return PipelineResult(TexturedMesh(uv_mesh.mesh, uv_mesh.corner_uvs, base_color),
                          (("image", _of_given(made.camera, picture)),), str(place), tuple(run.times),
                          tuple(run.warnings), pictures={"mask": cut.image[:, :, 3], "cutout": cut.image},
                          facts=_facts(spec, cut))


def model_settings(spec: ModelSpec, settings: ImageSettings) -> Any:
    """The settings of a model: its own defaults, what of the job's settings goes by the same name, then the JSON text.

    Raises BadSettings.
    """
    known = {knob.name: knob for knob in dataclasses.fields(spec.settings)}
    wishes: dict[str, Any] = {}
    for knob in dataclasses.fields(ImageSettings):
        value = getattr(settings, knob.name)
        if knob.name in known and (value != knob.default or _fits(spec, knob.name, value)):
            wishes[knob.name] = value
    written = _written(settings.model_settings) if settings.model_settings.strip() else {}
    stands_in = settings.model == AUTO and spec.name == ALWAYS      # then the text is meant for another model
    if not stands_in:
        wishes.update(written)
    return settings_from_mapping(spec.settings, wishes)


def _written(text: str) -> dict[str, Any]:
    try:
        given = parse_json(text.encode(), _SETTINGS_BYTES)
    except BadHeader as error:
        raise BadSettings("The model settings are no JSON.", 'Write them as {"name": value}.') from error
    if not isinstance(given, dict):
        raise BadSettings("The model settings are no JSON object.", 'Write them as {"name": value}.')
    return given


def _fits(spec: ModelSpec, name: str, value: Any) -> bool:
    """Whether a model with limits of its own takes the job's default; if not, its own default is used."""
    try:
        settings_from_mapping(spec.settings, {name: value})
    except BadSettings:
        return False
    return True


def _reconstruct(shelf: ModelShelf, choice: Choice, cut: Foreground, settings: ImageSettings,
                 run: Run) -> tuple[ModelSpec, Reconstruction]:
    """What the model makes. Too little memory on a GPU leads to the CPU, and bad weights of "auto" to another model."""
    while True:
        try:
            return choice.model.spec, _try_model(shelf, choice, cut, settings, run)
        except BadWeights as error:
            if settings.model != AUTO:
                raise
            choice = shelf.instead_of(choice, error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            choice = _with_less(choice, error)
        # outside of the handlers: an error holds on to the tensors of the frames it passed
        run.warn(choice.warnings[-1])
        run.stage_names = image_stages(choice.model.spec, settings.turntable)
        shelf.release()


def _with_less(choice: Choice, error: Exception) -> Choice:
    """The last rung of the ladder whose others are the model's own. Raises OutOfMemory where nothing is left."""
    if choice.device == "cpu":
        raise OutOfMemory(f"{choice.model.spec.title} ran out of memory on this computer.",
                          "Choose a lower resolution, or close other programs.") from error
    text = f"The GPU ran out of memory; {choice.model.spec.title} was computed on the CPU, which takes longer."
    return dataclasses.replace(choice, device="cpu", warnings=(*choice.warnings, text))


def _try_model(shelf: ModelShelf, choice: Choice, cut: Foreground, settings: ImageSettings, run: Run) -> Reconstruction:
    wishes = model_settings(choice.model.spec, settings)
    with run.stage("model"):
        loaded = shelf.load(choice.model, choice.device)
    return loaded.reconstruct([cut.image], wishes, run)


def _simplified(mesh: Mesh, spec: ModelSpec, settings: ImageSettings, stage: Stage) -> Mesh:
    if spec.floats and not settings.keep_floaters:
        mesh, count = without_floaters(mesh)
        log.info("%d floaters removed", count)
    return finish_mesh(mesh, settings.face_budget, stage)


def _textured(uv_mesh: UvMesh, made: Reconstruction, cut: Foreground, settings: ImageSettings, place: torch.device,
              run: Run) -> np.ndarray:
    alpha = cut.image[:, :, 3]
    photo = None
    if settings.project_image:
        photo = (View("image", made.camera, np.ascontiguousarray(cut.image[:, :, :3]), alpha),
                 Mask(alpha.astype(np.float32) / 255, cut.source, cut.confidence))
    with run.stage("texture", unit="blocks") as stage:
        colors, covered = paint_texture(uv_mesh, made.color_at, photo, settings.texture_px, place, stage)
    with run.stage("padding"):
        return pad_with_nearest(colors, covered)


def _of_given(camera: Camera, picture: Picture) -> Camera:
    """The camera for the picture at its own size: it may have been brought down."""
    return resize_camera(camera, picture.width, picture.height)


def _facts(spec: ModelSpec, cut: Foreground) -> dict[str, Any]:
    licence = spec.licence if spec.files else ""    # nothing was learned from anybody: the result is the person's own
    return {"model": spec.name, "licence": licence, "note": spec.note, "mask_source": cut.source,
            "mask_confidence": cut.confidence}
