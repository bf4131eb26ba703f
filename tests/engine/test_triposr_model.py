"""TripoSR behind the seam: picture in, mesh with colours and a camera out, in Blender's world."""
from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from scenes import make_stage
from triposr_goldens import DATA, TINY, scene_field, tiny_golden

from slipcast.bridge.errors import BadImage, BadMasks, BadSettings
from slipcast.bridge.settings import settings_from_mapping
from slipcast.engine.models.triposr import MODEL, fit, surface
from slipcast.engine.models.triposr.checkpoint import read_checkpoint
from slipcast.engine.models.triposr.condition import centre_object, condition_picture, put_on_grey
from slipcast.engine.models.triposr.field import CHUNK
from slipcast.engine.models.triposr.model import STAGES, LoadedTripoSr, TripoSrSettings, stand_on_ground
from slipcast.engine.models.triposr.network import Network
from slipcast.engine.pipeline.progress import Run
from slipcast.engine.pipeline.surface import signed_volume
from slipcast.engine.pipeline.types import Camera, Mesh


def input_picture() -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(DATA / "tiny" / "input_rgba.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


class FixedNetwork:
    """Stands for a network that has learned what a chair is: it sees one in any picture."""

    steps = 2

    def field(self, picture, half, advance):
        assert picture.dtype == np.uint8 and picture.shape[0] == picture.shape[1]
        advance(), advance()
        return scene_field()


def pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    inside = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    assert (inside[:, 2] > 0).all()
    return (inside @ camera.intrinsics.T)[:, :2] / inside[:, 2:]


def test_the_picture_is_framed_and_greyed_as_published_bit_by_bit():
    golden = tiny_golden()
    framed, _, _ = centre_object(input_picture(), 0.85)
    assert np.array_equal(framed, golden["fg_rgba_u8"].numpy())
    assert np.array_equal(put_on_grey(framed), golden["cond_rgb_u8"].numpy())
    assert np.array_equal(condition_picture(input_picture(), 0.85).picture, golden["cond_rgb_u8"].numpy())


def test_the_place_of_the_frame_in_the_picture_is_known():
    image = np.zeros((50, 80, 4), np.uint8)
    image[10:31, 20:61] = np.random.default_rng(0).integers(1, 255, (21, 41, 4))
    made = condition_picture(image, 0.5)
    framed, left, top = centre_object(image, 0.5)
    assert (left, top) == (made.left, made.top)
    y, x = 17, 33
    assert np.array_equal(framed[y - top, x - left], image[y, x])


@pytest.mark.parametrize("image", [np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8),
                                   np.ones((9, 9, 4), np.float32)])
def test_another_kind_of_picture_is_refused(image):
    with pytest.raises(BadImage):
        condition_picture(image, 0.85)


def test_an_empty_mask_is_refused():
    image = np.zeros((9, 9, 4), np.uint8)
    with pytest.raises(BadMasks):
        condition_picture(image, 0.85)
    image[3, 2:7, 3] = 255      # one row
    with pytest.raises(BadMasks):
        condition_picture(image, 0.85)


def test_the_models_front_is_blenders_front_and_the_mesh_stands_on_the_ground():
    vertices = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -2]], np.float32)      # front, image right, up, lowest
    mesh, lift = stand_on_ground(Mesh(vertices, np.array([[0, 1, 2]], np.int32)))
    assert lift == 2
    assert mesh.vertices.tolist() == [[0, -1, 2], [1, 0, 2], [0, 0, 3], [0, 0, 0]]


def test_a_chair_stands_in_blender_closed_coloured_and_seen_by_the_pictures_camera():
    image, reports = input_picture(), []
    run = Run(STAGES, report=reports.append)
    made = LoadedTripoSr(FixedNetwork()).reconstruct([image], TripoSrSettings(resolution=64), run)  # type: ignore[arg-type]
    vertices = made.mesh.vertices
    assert vertices.dtype == np.float32 and made.mesh.faces.dtype == np.int32
    assert vertices[:, 2].min() == 0 and signed_volume(vertices, made.mesh.faces) > 0.05
    assert [time.name for time in run.times] == list(STAGES)
    assert {report.stage for report in reports} == set(STAGES)
    colors = made.color_at(vertices)
    field = scene_field()
    lift = made.camera.world_from_camera[2, 3]
    with torch.inference_mode():
        wanted = field.colors(torch.from_numpy(np.stack(
            [-vertices[:, 1], vertices[:, 0], vertices[:, 2] - np.float32(lift)], axis=1)))
    assert colors.dtype == np.float32 and np.array_equal(colors, wanted.numpy())
    # the camera: the middle of the model's box is in the middle of the object's frame in the picture
    middle = pixels(made.camera, np.array([[0, 0, lift]]))[0]
    rows, columns = np.nonzero(image[:, :, 3])
    assert abs(middle[0] - (columns.min() + columns.max()) / 2) <= 1
    assert abs(middle[1] - (rows.min() + rows.max()) / 2) <= 1
    right, up = pixels(made.camera, np.array([[0.3, 0, lift], [0, 0, lift + 0.3]]))
    assert right[0] > middle[0] + 5 and up[1] < middle[1] - 5
    assert (made.camera.width, made.camera.height) == (image.shape[1], image.shape[0])


def test_what_does_not_fit_is_tried_in_smaller_pieces_then_coarser_and_told(monkeypatch: pytest.MonkeyPatch):
    tried: list[tuple[int, int]] = []

    def field_surface(field, resolution, *rest, **more):
        tried.append((field.chunk, resolution))
        if field.chunk > CHUNK or resolution > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return surface.field_surface(field, resolution, *rest, **more)

    monkeypatch.setattr(fit, "field_surface", field_surface)
    warnings: list[str] = []
    wide = dataclasses.replace(scene_field(), chunk=1 << 20)
    mesh, field = fit.surface_that_fits(wide, TripoSrSettings(), make_stage(warnings))
    assert tried == [(1 << 20, 256), (CHUNK, 256), (CHUNK, 128), (CHUNK, 64)]
    assert field.chunk == CHUNK and len(mesh.faces) == 7308
    assert len(warnings) == 3 and "resolution 64 instead of 256" in warnings[-1]


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_computer_that_runs_out_of_memory_gets_a_coarser_surface_too(error: Exception, monkeypatch):
    def field_surface(field, resolution, *rest, **more):
        if resolution > 64:
            raise error
        return surface.field_surface(field, resolution, *rest, **more)

    monkeypatch.setattr(fit, "field_surface", field_surface)
    warnings: list[str] = []
    mesh, _ = fit.surface_that_fits(scene_field(), TripoSrSettings(resolution=128), make_stage(warnings))
    assert len(mesh.faces) == 7308
    assert warnings == ["This computer ran out of memory; the surface has resolution 64 instead of 128."]


def test_what_never_fits_ends_as_out_of_memory(monkeypatch: pytest.MonkeyPatch):
    def field_surface(*given, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fit, "field_surface", field_surface)
    with pytest.raises(torch.OutOfMemoryError):
        fit.surface_that_fits(scene_field(), TripoSrSettings(), make_stage())


def test_the_whole_way_with_the_tiny_network_is_repeatable_to_the_bit():
    loaded = LoadedTripoSr(Network(read_checkpoint(DATA / "tiny" / "model.safetensors", TINY), TINY, "cpu"))
    settings = TripoSrSettings(resolution=64)
    one, two = (loaded.reconstruct([input_picture()], settings, Run(STAGES)) for _ in range(2))
    assert np.array_equal(one.mesh.vertices, two.mesh.vertices) and len(one.mesh.faces) > 10_000


def test_the_specs_facts_are_those_of_the_published_file():
    [file] = MODEL.spec.files
    assert (file.name, file.size_bytes) == ("model.ckpt", 1_677_246_742)
    assert file.sha256.startswith("429e2c6b22a0") and len(file.sha256) == 64
    assert MODEL.spec.commercial_use and MODEL.spec.licence == "MIT"


def test_settings_are_checked_like_those_of_a_method():
    assert settings_from_mapping(TripoSrSettings, {"resolution": 512, "threshold": 20}).resolution == 512
    for wrong in ({"resolution": 1024}, {"precision": "fp8"}, {"smooth_surface": 1}, {"chunk": 5}):
        with pytest.raises(BadSettings):
            settings_from_mapping(TripoSrSettings, wrong)
