"""One picture to a textured mesh: which model is used, what is told, and that the result looks like the picture."""
from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from chair import ChairModel, ChairNetwork, chair_picture, shelf_with
from pictures import OUTLINES, picture_of
from PIL import Image
from triposr_goldens import TINY_CHECKPOINT

from slipcast.bridge.errors import (
    BadImage,
    BadSettings,
    BadWeights,
    BridgeError,
    Cancelled,
    OutOfMemory,
    WeightsMissing,
)
from slipcast.bridge.settings import ImageSettings
from slipcast.engine.models.shelf import ModelShelf
from slipcast.engine.models.spec import WeightFile
from slipcast.engine.models.triposr import MODEL as TRIPOSR
from slipcast.engine.models.triposr import fit, surface
from slipcast.engine.models.triposr.field import CHUNK
from slipcast.engine.models.weights import WeightStore
from slipcast.engine.pipeline import generate_image
from slipcast.engine.pipeline.floaters import without_floaters
from slipcast.engine.pipeline.generate_image import generate_from_image, image_stages, model_settings
from slipcast.engine.pipeline.manifold import is_closed
from slipcast.engine.pipeline.progress import Run, Stage
from slipcast.engine.pipeline.projection_charts import unwrap_by_projection
from slipcast.engine.pipeline.turntable import render_portrait
from slipcast.engine.pipeline.types import Camera, Mesh, PipelineResult, TexturedMesh, UvMesh
from slipcast.engine.pipeline.unwrap import UnwrapSettings
from slipcast.engine.render import clip_from_camera, depth_map, find_fragments
from slipcast.engine.runners import run_method

FAST = ImageSettings(face_budget=2000, texture_px=512, resolution=64)
CPU = torch.device("cpu")


def generate(path: Path, shelf: ModelShelf, settings: ImageSettings = FAST, device: str = "cpu",
             **run_options) -> PipelineResult:
    choice = shelf.choose(settings.model, device)
    run = Run(image_stages(choice.model.spec), **run_options)
    return generate_from_image({"image": path}, settings, shelf, choice, run, "cpu")


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def _quick_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own charts, in this process: xatlas takes longer than all the rest of these small jobs."""
    def unwrap(mesh: Mesh, settings: UnwrapSettings, stage: Stage) -> UvMesh:
        return unwrap_by_projection(mesh, settings.padding, settings.texture_px, stage)

    monkeypatch.setattr(generate_image, "unwrap_mesh", unwrap)


@pytest.fixture()
def bare(tmp_path: Path) -> ModelShelf:
    """Nothing was fetched."""
    return ModelShelf(WeightStore(tmp_path / "models"))


@pytest.fixture()
def disc(tmp_path: Path) -> Path:
    return save(tmp_path / "disc.png", picture_of("disc"))


def overlap(result: PipelineResult) -> float:
    [(_, camera)] = result.cameras
    seen = np.isfinite(depth_map(result.textured.mesh, camera, CPU).numpy())
    wanted = cv2.resize(result.pictures["mask"], (camera.width, camera.height)) > 127
    return float((seen & wanted).sum() / (seen | wanted).sum())


def seen_through(textured: TexturedMesh, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Texture colours (H, W, 3) float at the pixels' surface, nearest texel, and where there is any."""
    mesh, side = textured.mesh, len(textured.base_color)
    clip = torch.from_numpy(clip_from_camera(camera, mesh.vertices))[None]
    found = find_fragments(clip, torch.from_numpy(mesh.faces.astype(np.int32)), camera.height, camera.width)
    seen = (found.face[0] >= 0).numpy()
    two = found.weights[0].numpy()[seen]
    weights = np.concatenate([two, 1 - two.sum(1, keepdims=True)], 1)
    uv = (textured.corner_uvs[found.face[0].numpy()[seen]] * weights[..., None]).sum(1)
    columns = np.clip((uv[:, 0] * side).astype(int), 0, side - 1)
    rows = np.clip(((1 - uv[:, 1]) * side).astype(int), 0, side - 1)
    colors = np.zeros((camera.height, camera.width, 3))
    colors[seen] = textured.base_color[rows, columns]
    return colors, seen


# --- without weights ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OUTLINES)
def test_without_weights_every_outline_becomes_a_rough_base_that_looks_like_its_picture(
        name: str, tmp_path: Path, bare: ModelShelf):
    result = generate(save(tmp_path / "a.png", picture_of(name)), bare, dataclasses.replace(FAST, resolution=160))
    assert overlap(result) > 0.95       # measured: .974 (figure) to .99
    assert is_closed(result.textured.mesh) and len(result.textured.mesh.faces) <= FAST.face_budget
    assert abs(result.textured.mesh.vertices[:, 2].min()) < 0.01
    colors, seen = seen_through(result.textured, result.cameras[0][1])
    picture = result.pictures["cutout"]
    inner = cv2.erode(((picture[:, :, 3] > 250) & seen).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert np.abs(colors - picture[:, :, :3])[inner].mean() < 4       # of 255; measured 1 to 2.5
    assert {"mask", "cutout"} == set(result.pictures) and result.facts["mask_source"] == "alpha"


def test_without_weights_the_person_is_told_what_it_is_and_how_to_get_more(disc: Path, bare: ModelShelf):
    result = generate(disc, bare)
    assert result.facts["model"] == "silhouette" and "rough base" in result.facts["note"]
    assert "models fetch triposr" in result.warnings[0] and "1,677 MB" in result.warnings[0]
    assert any("rough base" in text for text in result.warnings)


def test_every_stage_is_reported_in_the_order_it_was_announced(disc: Path, bare: ModelShelf):
    reports, previews = [], []
    result = generate(disc, bare, report=reports.append, preview=previews.append)
    names = image_stages(bare.choose("auto", "cpu").model.spec)
    assert tuple(stage.name for stage in result.stages) == names
    assert list(dict.fromkeys(report.stage for report in reports)) == list(names)
    assert len(previews) == 2 and len(previews[1].faces) < len(previews[0].faces)


@pytest.mark.parametrize("stage", ["image", "foreground", "inflate", "simplify", "unwrap", "texture"])
def test_a_cancel_is_heard_in_every_stage(stage: str, disc: Path, bare: ModelShelf):
    reached: list[str] = []
    with pytest.raises(Cancelled):
        generate(disc, bare, report=lambda progress: reached.append(progress.stage),
                 is_cancelled=lambda: stage in reached)
    assert reached[-1] == stage or stage == "inflate" and reached[-1] == "surface"


# --- with a model ---------------------------------------------------------------------------------------------------
def test_the_chair_of_the_scene_golden_looks_like_the_picture_from_the_pictures_camera(tmp_path: Path, monkeypatch):
    picture, ratio = chair_picture()
    path = save(tmp_path / "chair.png", np.pad(picture, ((0, 40), (90, 0), (0, 0))))      # not in the middle
    shelf = shelf_with(tmp_path / "models", ChairModel(), monkeypatch)
    settings = dataclasses.replace(FAST, foreground_ratio=ratio, resolution=128)
    result = generate(path, shelf, settings)
    assert result.facts["model"] == "triposr" and result.facts["licence"] == "MIT" and not result.warnings
    assert overlap(result) > 0.95       # measured .975: 2000 faces
    low, high = result.textured.mesh.vertices.min(0), result.textured.mesh.vertices.max(0)
    assert abs(low[2]) < 0.02 and abs(high[2] - 1.085) < 0.03        # as tall as the golden's bounds
    for projected in (True, False):
        other = generate(path, shelf, dataclasses.replace(settings, project_image=projected))
        colors, seen = seen_through(other.textured, other.cameras[0][1])
        inner = cv2.erode(((other.pictures["mask"] > 250) & seen).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        assert np.abs(colors - other.pictures["cutout"][:, :, :3])[inner].mean() < 16


def test_what_the_picture_shows_is_painted_onto_the_models_colours_and_nowhere_else(tmp_path: Path, monkeypatch):
    picture, ratio = chair_picture()
    picture[:, :, :3] = (10, 20, 230)                       # a blue chair; the model knows a green and violet one
    path = save(tmp_path / "chair.png", picture)
    shelf = shelf_with(tmp_path / "models", ChairModel(), monkeypatch)
    settings = dataclasses.replace(FAST, foreground_ratio=ratio)
    blue = generate(path, shelf, settings).textured
    own = generate(path, shelf, dataclasses.replace(settings, project_image=False)).textured
    camera = Camera(256, 256, 351.7, 351.7, 128, 128, np.array(
        [[1, 0, 0, 0], [0, 0, 1, -1.9], [0, -1, 0, 0.55], [0, 0, 0, 1]], np.float64))
    behind = Camera(256, 256, 351.7, 351.7, 128, 128, np.array(
        [[-1, 0, 0, 0], [0, 0, -1, 1.9], [0, -1, 0, 0.55], [0, 0, 0, 1]], np.float64))
    front, seen = seen_through(blue, camera)
    inner = cv2.erode(seen.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    assert np.median(np.abs(front[inner] - (10, 20, 230))) < 3
    assert np.array_equal(seen_through(blue, behind)[0], seen_through(own, behind)[0])


def test_floaters_go_unless_they_are_wanted():
    def ball(centre: float, radius: float) -> Mesh:
        import trimesh

        made = trimesh.creation.icosphere(2, radius)
        return Mesh((made.vertices + (centre, 0, 0)).astype(np.float32), made.faces.astype(np.int32))

    parts = [ball(0, 1), ball(3, 0.2), ball(5, 0.5)]
    faces = np.concatenate([part.faces + 162 * number for number, part in enumerate(parts)])
    mesh = Mesh(np.concatenate([part.vertices for part in parts]), faces)
    kept, count = without_floaters(mesh)
    assert count == 1 and len(kept.vertices) == 2 * 162     # .008 of the volume goes, .125 stays
    assert without_floaters(kept) == (kept, 0)


def test_the_loaded_model_is_kept_for_the_next_job_and_let_go_for_another(disc: Path, tmp_path: Path, monkeypatch):
    model = ChairModel()
    shelf = shelf_with(tmp_path / "models", model, monkeypatch)
    for _ in range(2):
        generate(disc, shelf)
    assert model.loads == ["cpu"]
    generate(disc, shelf, dataclasses.replace(FAST, model="silhouette"))
    shelf.load(model, "cpu")
    assert model.loads == ["cpu", "cpu"]
    (tmp_path / "models" / "triposr" / "model.ckpt").touch()        # fetched again
    shelf.load(model, "cpu")
    assert len(model.loads) == 3


# --- memory ---------------------------------------------------------------------------------------------------------
def test_a_model_that_is_bigger_than_free_memory_is_refused_with_numbers_before_it_is_loaded(
        disc: Path, tmp_path: Path, monkeypatch):
    model = ChairModel()
    shelf = shelf_with(tmp_path / "models", model, monkeypatch, free=lambda device: 1_500_000_000)
    with pytest.raises(OutOfMemory, match=r"TripoSR needs 3\.0 GB .* 1\.5 GB are free"):
        generate(disc, shelf, dataclasses.replace(FAST, model="triposr"))
    result = generate(disc, shelf)                                  # auto: never nothing
    assert result.facts["model"] == "silhouette" and "1.5 GB are free" in result.warnings[0]
    assert model.loads == []


def test_auto_takes_the_cpu_where_the_gpu_is_too_small_and_says_so(tmp_path: Path, monkeypatch):
    shelf = shelf_with(tmp_path / "models", ChairModel(), monkeypatch,
                       free=lambda device: 8_000_000_000 if device == "cpu" else 2_000_000_000)
    choice = shelf.choose("auto", "cuda:0")
    assert choice.device == "cpu" and choice.model.spec.name == "triposr"
    [told] = choice.warnings
    assert "2.0 GB are free on cuda:0" in told and "CPU" in told
    assert shelf.choose("triposr", "cuda:0").device == "cuda:0"     # asked for: refused when it is loaded
    with pytest.raises(OutOfMemory, match="cuda:0"):
        shelf.load(choice.model, "cuda:0")


class GreedyNetwork(ChairNetwork):
    """Its field fits in large pieces first, as on a GPU."""

    device = ""

    def field(self, picture, half, advance):
        field = super().field(picture, half, advance)
        return dataclasses.replace(field, chunk=CHUNK if self.device == "cpu" else 1 << 20)


def test_out_of_memory_goes_down_from_pieces_to_resolution_to_the_cpu_and_each_is_told(
        disc: Path, tmp_path: Path, monkeypatch):
    model, tried = ChairModel(GreedyNetwork), []

    def field_surface(field, resolution, *rest, **more):
        tried.append((model.loads[-1], field.chunk, resolution))
        if model.loads[-1] != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return surface.field_surface(field, resolution, *rest, **more)

    monkeypatch.setattr(fit, "field_surface", field_surface)
    shelf = shelf_with(tmp_path / "models", model, monkeypatch)
    result = generate(disc, shelf, dataclasses.replace(FAST, resolution=128), device="cuda:0")
    assert tried == [("cuda:0", 1 << 20, 128), ("cuda:0", CHUNK, 128), ("cuda:0", CHUNK, 64), ("cpu", CHUNK, 128)]
    pieces, coarser, cpu = result.warnings
    assert "smaller pieces" in pieces and "resolution 64 instead of 128" in coarser and "on the CPU" in cpu
    assert result.facts["model"] == "triposr"


def test_where_nothing_is_left_to_try_it_says_what_to_do(disc: Path, tmp_path: Path, monkeypatch):
    class Huge(ChairNetwork):
        def field(self, picture, half, advance):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory")

    shelf = shelf_with(tmp_path / "models", ChairModel(Huge), monkeypatch)
    with pytest.raises(OutOfMemory, match="lower resolution"):
        generate(disc, shelf, device="cuda:0")


def test_another_error_of_a_model_is_not_taken_for_want_of_memory(disc: Path, tmp_path: Path, monkeypatch):
    class Broken(ChairNetwork):
        def field(self, picture, half, advance):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        generate(disc, shelf_with(tmp_path / "models", ChairModel(Broken), monkeypatch))


# --- weights and settings that cannot be used -----------------------------------------------------------------------
class TripoSrOf:
    """The real model, whose published file is said to have the size of the one that is there."""

    def __init__(self, size_bytes: int) -> None:
        file = WeightFile("model.ckpt", size_bytes, "0" * 64, "https://example.org/model.ckpt")
        self.spec = dataclasses.replace(TRIPOSR.spec, files=(file,))

    load = staticmethod(TRIPOSR.load)


def garbage() -> bytes:
    return b"PK\x03\x04" + bytes(500)


@pytest.mark.parametrize(("content", "size", "kind", "words"), [
    (None, 100, WeightsMissing, "not on this computer yet"),
    (b"half", 100, BadWeights, "4 bytes instead of 100"),
    (garbage(), 504, BadWeights, "damaged or not complete"),
    (b"neither of the two kinds", 24, BadWeights, "damaged, or no checkpoint"),
    (TINY_CHECKPOINT.read_bytes(), TINY_CHECKPOINT.stat().st_size, BadWeights, "is not TripoSR's checkpoint"),
])
def test_bad_checkpoints_have_their_own_words_and_auto_goes_on_without_them(
        content: bytes | None, size: int, kind: type[BridgeError], words: str, disc: Path, tmp_path: Path, monkeypatch):
    shelf = shelf_with(tmp_path / "models", TripoSrOf(size), monkeypatch, fetched=content is not None)
    if content is not None:
        (tmp_path / "models" / "triposr" / "model.ckpt").write_bytes(content)
    with pytest.raises(kind, match=words) as caught:
        generate(disc, shelf, dataclasses.replace(FAST, model="triposr"))
    assert "models fetch triposr" in caught.value.hint
    result = generate(disc, shelf)
    assert result.facts["model"] == "silhouette"
    assert any(words in text and "another model was used" in text for text in result.warnings)
    assert tuple(stage.name for stage in result.stages)[-7:] == (
        "outline", "inflate", "surface", "simplify", "unwrap", "texture", "padding")


@pytest.mark.parametrize(("text", "words"), [
    ("{", "no JSON"), ("[1]", "no JSON object"), ('{"chunk": 5}', "chunk"), ('{"precision": "fp8"}', "precision"),
    ('{"precision": NaN}', "no JSON"),
])
def test_model_settings_that_make_no_sense_are_refused_before_the_work(text: str, words: str, disc: Path,
                                                                       tmp_path: Path, monkeypatch):
    model = ChairModel()
    with pytest.raises(BadSettings, match=words):
        generate(disc, shelf_with(tmp_path / "models", model, monkeypatch),
                 dataclasses.replace(FAST, model_settings=text))
    assert model.loads == []


def test_a_models_settings_come_from_the_job_then_from_the_text():
    wishes = ImageSettings(threshold=30.0, resolution=99, model_settings='{"precision": "bf16", "resolution": 77}')
    made = model_settings(TRIPOSR.spec, wishes)
    assert (made.threshold, made.resolution, made.precision, made.foreground_ratio) == (30.0, 77, "bf16", 0.85)


def test_an_unknown_model_is_refused_with_those_there_are(bare: ModelShelf):
    with pytest.raises(BadSettings, match="Known: triposr, silhouette"):
        bare.choose("dreamer", "cpu")


# --- as a job -------------------------------------------------------------------------------------------------------
class Link:
    """What a runner is given to talk to."""

    def report(self, progress) -> None: ...

    def is_cancelled(self) -> bool:
        return False

    is_enough = is_cancelled

    def preview(self, pack, state) -> None:
        assert len(pack()) >= 2


def test_a_job_delivers_mesh_mask_cutout_camera_and_thumbnails(disc: Path, bare: ModelShelf):
    wishes = {"face_budget": 1000, "texture_px": 512, "resolution": 64}
    outputs, summary = run_method("image", wishes, {"image": disc}, Link(), "cpu", bare)     # type: ignore[arg-type]
    data = {item.name: item for item in outputs}
    assert {"vertices", "faces", "corner_uvs", "base_color", "cameras", "mask", "cutout", "thumbnail",
            "input_thumbnail"} == set(data)
    for name, mode in (("mask", "L"), ("cutout", "RGBA"), ("base_color", "RGB")):
        (disc.parent / "out.png").write_bytes(bytes(data[name].data))
        with Image.open(disc.parent / "out.png") as image:
            assert image.mode == mode and data[name].media_type == "image/png"
            if name == "cutout":
                assert np.array_equal(np.asarray(image), picture_of("disc"))
    [camera] = json.loads(bytes(data["cameras"].data))
    assert (camera["name"], camera["width"], camera["height"]) == ("image", 240, 240)
    assert summary["model"] == "silhouette" and summary["licence"] == "" and summary["method"] == "image"
    assert summary["mask_confidence"] == 1 and any("fetch" in text for text in summary["warnings"])


def test_a_job_without_a_picture_is_refused(bare: ModelShelf, tmp_path: Path):
    with pytest.raises(BadImage, match="no picture"):
        run_method("image", {}, {"mask": tmp_path / "m.png"}, Link(), "cpu", bare)      # type: ignore[arg-type]


def test_the_camera_is_that_of_the_picture_at_its_own_size(tmp_path: Path, bare: ModelShelf):
    large = cv2.resize(picture_of("disc"), (2600, 2600), interpolation=cv2.INTER_NEAREST)
    [(_, camera)] = generate(save(tmp_path / "a.png", large), bare).cameras
    assert (camera.width, camera.height) == (2600, 2600) and abs(camera.cx - 1300) < 20


# --- the pictures of the published code ------------------------------------------------------------------------------
EXAMPLES = "SLIPCAST_EXAMPLE_PICTURES"


def examples() -> list[Path]:
    folder = os.environ.get(EXAMPLES)
    return sorted(Path(folder).glob("*.png")) if folder else []


@pytest.mark.slow
@pytest.mark.parametrize("model", ["auto", "triposr"])
def test_the_example_pictures_become_objects(model: str, tmp_path: Path, monkeypatch):
    if not examples():
        pytest.skip(f"{EXAMPLES} names no folder of pictures: those of the published code are not ours to copy")
    shelf = shelf_with(tmp_path / "models", ChairModel(), monkeypatch, fetched=model == "triposr")
    for path in examples():
        result = generate(path, shelf, ImageSettings(model=model, face_budget=10_000, texture_px=512))
        assert is_closed(result.textured.mesh) and len(result.textured.mesh.faces) > 1000, path.name
        assert render_portrait(result.textured, 64, CPU).std() > 5, path.name
        if model == "auto":
            assert overlap(result) > 0.95, path.name


# --- the turn around it ---------------------------------------------------------------------------------------------
def test_a_turn_is_made_as_the_last_stage_where_it_is_wanted_and_a_film_that_fails_is_told(disc, bare, monkeypatch):
    from slipcast.bridge.errors import BadOutput
    from slipcast.engine.pipeline import turntable
    from slipcast.engine.runners import with_turn

    def no_film(frames: np.ndarray) -> bytes:
        raise BadOutput("The turntable film could not be made.", "Look at the disk.")

    monkeypatch.setattr(turntable, "TURN_FRAMES", 3)
    result = generate(disc, bare)
    for film, names in ((lambda frames: b"film", ["turntable_000", "turntable_001", "turntable_002", "turntable_mp4"]),
                        (no_film, ["turntable_000", "turntable_001", "turntable_002"])):
        monkeypatch.setattr(turntable, "film_bytes", film)
        run = Run(image_stages(bare.choose("auto", "cpu").model.spec, True))
        turned, outputs = with_turn(result, True, run, "cpu")
        assert [item.name for item in outputs] == names and run.stage_names[-1] == "turntable"
        assert [stage.name for stage in turned.stages] == ["turntable"]
        told = [] if len(names) == 4 else ["The turntable film could not be made. Look at the disk."]
        assert list(turned.warnings) == told
    assert with_turn(result, False, run, "cpu") == (result, [])
