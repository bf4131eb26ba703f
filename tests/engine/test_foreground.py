"""A picture as a person has it becomes an object with alpha; what cannot be used is named, each in its own words."""
from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx_files import write_network
from pictures import SIZE, on_backdrop, picture_of
from PIL import Image

from slipcast.bridge.errors import BadImage, BadMasks, BadSettings, BadWeights, BridgeError, OutOfMemory, WeightsMissing
from slipcast.engine.models.matting import CUTTERS, cutter
from slipcast.engine.models.weights import WeightStore
from slipcast.engine.pipeline.foreground import Foreground, find_foreground, load_picture
from slipcast.engine.pipeline.progress import Run


def cut(path: Path, background: str = "auto", mask: Path | None = None,
        store: WeightStore | None = None) -> tuple[Foreground, list[str]]:
    run = Run(("cut",))
    files = {"image": path} if mask is None else {"image": path, "mask": mask}
    with run.stage("cut") as stage:
        found = find_foreground(load_picture(files, stage), background, store or WeightStore(path.parent / "none"),
                                stage)
    return found, run.warnings


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a > 127) & (b > 127)).sum() / ((a > 127) | (b > 127)).sum())


def test_alpha_is_used_as_it_is(tmp_path: Path):
    image = picture_of("figure")
    found, told = cut(save(tmp_path / "a.png", image))
    assert np.array_equal(found.image, image) and found.source == "alpha" and found.confidence == 1 and not told


def test_a_given_mask_wins_over_alpha(tmp_path: Path):
    wanted = picture_of("ring")[:, :, 3]
    found, _ = cut(save(tmp_path / "a.png", picture_of("figure")), mask=save(tmp_path / "m.png", wanted))
    assert np.array_equal(found.image[:, :, 3], wanted) and found.source == "mask"


def test_an_object_before_a_plain_backdrop_is_found_by_its_colour(tmp_path: Path):
    found, told = cut(save(tmp_path / "a.png", on_backdrop("figure")))
    assert found.source == "key" and found.confidence > 0.5 and not told
    assert overlap(found.image[:, :, 3], picture_of("figure")[:, :, 3]) > 0.9     # measured .96


def test_an_object_found_by_its_place_only_is_told_of(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    picture = picture_of("disc")
    found, told = cut(save(tmp_path / "a.png", np.where(picture[:, :, 3:] > 127, picture[:, :, :3], noise)))
    assert found.source == "centre" and found.confidence < 0.5
    assert len(told) == 1 and "look at the mask" in told[0] and "models fetch u2net" in told[0]


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_comes_out_upright(tmp_path: Path, turn: int):
    image = Image.fromarray(on_backdrop("figure")[:200])       # taller and wider differ
    back = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = turn
    (image.transpose(back[turn]) if turn in back else image).save(tmp_path / "a.png", exif=exif)
    with Run(("cut",)).stage("cut") as stage:
        picture = load_picture({"image": tmp_path / "a.png"}, stage)
    assert np.array_equal(picture.pixels, np.asarray(image)) and (picture.width, picture.height) == (SIZE, 200)


def test_a_large_picture_is_brought_down_and_its_own_size_is_known(tmp_path: Path):
    large = cv2.resize(picture_of("disc"), (4096, 4096))
    with Run(("cut",)).stage("cut") as stage:
        picture = load_picture({"image": save(tmp_path / "a.png", large),
                                "mask": save(tmp_path / "m.png", large[:, :, 3])}, stage)
    assert picture.pixels.shape == (2048, 2048, 4) and picture.width == 4096
    assert picture.mask is not None and overlap(picture.mask, picture.pixels[:, :, 3]) > 0.999


def deep(path: Path) -> Path:
    grey = cv2.cvtColor(on_backdrop("disc"), cv2.COLOR_RGB2GRAY)
    return save(path, grey.astype(np.uint16) * 257)


def deep_colours(path: Path) -> Path:
    cv2.imwrite(str(path), cv2.cvtColor(picture_of("disc"), cv2.COLOR_RGBA2BGRA).astype(np.uint16) * 257)
    return path


def printed(path: Path) -> Path:
    path = path.with_suffix(".jpg")
    Image.fromarray(on_backdrop("disc")).convert("CMYK").save(path, quality=95)
    return path


def palette(path: Path) -> Path:
    path = path.with_suffix(".gif")
    Image.fromarray(on_backdrop("disc")).save(path)
    return path


def moving(path: Path) -> Path:
    path = path.with_suffix(".webp")
    frames = [Image.fromarray(on_backdrop(name)) for name in ("disc", "block")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    return path


@pytest.mark.parametrize(("write", "words"), [(deep, ""), (deep_colours, ""), (palette, ""), (printed, "CMYK"),
                                              (moving, "animated")])
def test_unusual_pictures_are_read_and_what_is_lost_is_told(tmp_path: Path, write, words: str):
    found, told = cut(write(tmp_path / "a.png"))
    assert overlap(found.image[:, :, 3], picture_of("disc")[:, :, 3]) > 0.95      # measured .97 to 1
    assert [words in text for text in told] == ([True] if words else [])


def nothing(path: Path) -> Path:
    path.touch()
    return path


def text(path: Path) -> Path:
    path.write_text("this is no picture")
    return path


def cut_short(path: Path) -> Path:
    save(path, picture_of("disc"))
    path.write_bytes(path.read_bytes()[:-900])
    return path


def clear(path: Path) -> Path:
    return save(path, np.zeros((SIZE, SIZE, 4), np.uint8))


def one_pixel(path: Path) -> Path:
    return save(path, np.full((1, 1, 3), 200, np.uint8))


def one_colour(path: Path) -> Path:
    return save(path, np.full((SIZE, SIZE, 3), 200, np.uint8))


@pytest.mark.parametrize(("write", "kind", "words"), [
    (lambda path: path, BadImage, "cannot be read: No such file"),
    (nothing, BadImage, "empty file"),
    (text, BadImage, "not an image"),
    (cut_short, BadImage, "cut short"),
    (one_pixel, BadImage, "only 1x1 pixels"),
    (clear, BadMasks, "fully transparent"),
    (one_colour, BadMasks, "No object could be told"),
])
def test_bad_pictures_have_their_own_words_and_say_what_to_do(tmp_path: Path, write, kind: type[BridgeError],
                                                              words: str):
    with pytest.raises(kind, match=words) as caught:
        cut(write(tmp_path / "a.png"))
    assert caught.value.hint


@pytest.mark.parametrize(("mask", "words"), [
    (np.zeros((SIZE, SIZE), np.uint8), "black"),
    (np.full((SIZE, SIZE), 255, np.uint8), "covers the whole"),
    (np.full((SIZE, SIZE // 2), 255, np.uint8), f"{SIZE // 2}x{SIZE}"),
])
def test_bad_masks_have_their_own_words(tmp_path: Path, mask: np.ndarray, words: str):
    with pytest.raises(BadMasks, match=words):
        cut(save(tmp_path / "a.png", on_backdrop("disc")), mask=save(tmp_path / "m.png", mask))


def rounded_corners(path: Path) -> Path:
    """A window's picture: opaque but for a few pixels at its corners."""
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    alpha[:3, :3] = alpha[:3, -3:] = alpha[-3:, :3] = alpha[-3:, -3:] = 0
    return save(path, np.dstack([on_backdrop("figure"), alpha]))


def test_alpha_that_cuts_nothing_out_leaves_the_choice_to_the_next_way_and_is_refused_where_it_was_asked_for(
        tmp_path: Path):
    found, told = cut(rounded_corners(tmp_path / "a.png"))
    assert found.source == "key" and not told
    assert overlap(found.image[:, :, 3], picture_of("figure")[:, :, 3]) > 0.9
    with pytest.raises(BadMasks, match="alpha channel cuts nothing out"):
        cut(tmp_path / "a.png", "alpha")


def test_alpha_asked_for_and_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BadMasks, match="no alpha channel"):
        cut(save(tmp_path / "a.png", on_backdrop("disc")), "alpha")


# --- networks -------------------------------------------------------------------------------------------------------
@pytest.fixture()
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    """With a U2-Net that takes bright for object; of the other networks there is nothing."""
    place = tmp_path / "models" / "u2net" / "u2net.onnx"
    place.parent.mkdir(parents=True)
    write_network(place, CUTTERS["u2net"].side_px)
    believe(monkeypatch, place.stat().st_size)
    return WeightStore(tmp_path / "models")


def believe(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    spec = CUTTERS["u2net"].spec
    file = dataclasses.replace(spec.files[0], size_bytes=size_bytes)
    monkeypatch.setitem(CUTTERS, "u2net", dataclasses.replace(CUTTERS["u2net"],
                                                              spec=dataclasses.replace(spec, files=(file,))))


def bright_disc(path: Path) -> Path:
    return save(path, np.where(picture_of("disc")[:, :, 3:] > 127, np.uint8(250), np.uint8(10)).repeat(3, 2))


def test_a_network_that_is_there_is_used_where_there_is_no_alpha(tmp_path: Path, store: WeightStore):
    for background in ("auto", "rembg:u2net"):
        found, told = cut(bright_disc(tmp_path / "a.png"), background, store=store)
        assert found.source == "rembg:u2net" and not told
        assert overlap(found.image[:, :, 3], picture_of("disc")[:, :, 3]) > 0.97
    assert cut(save(tmp_path / "a.png", picture_of("ring")), store=store)[0].source == "alpha"
    assert cut(bright_disc(tmp_path / "a.png"), "classic", store=store)[0].source == "key"


def test_a_network_that_is_not_there_is_an_error_only_where_it_was_asked_for(tmp_path: Path, store: WeightStore):
    with pytest.raises(WeightsMissing, match="models fetch isnet-general-use"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:isnet-general-use", store=store)
    found, _ = cut(bright_disc(tmp_path / "a.png"), store=WeightStore(tmp_path / "empty"))
    assert found.source == "key"


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda path: path.write_bytes(b"\x08\x07garbage" * 20), "damaged, or no network"),
    (lambda path: write_network(path, 100), "but not U2-Net"),
    (lambda path: write_network(path, 320, "shape"), "but not U2-Net"),
])
def test_a_corrupt_or_another_network_is_its_own_error_and_auto_goes_on_without(
        tmp_path: Path, store: WeightStore, monkeypatch: pytest.MonkeyPatch, spoil, words: str):
    place = tmp_path / "models" / "u2net" / "u2net.onnx"
    spoil(place)
    believe(monkeypatch, place.stat().st_size)
    with pytest.raises(BadWeights, match=words) as caught:
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)
    assert "models remove u2net" in caught.value.hint
    found, told = cut(bright_disc(tmp_path / "a.png"), store=store)
    assert found.source == "key" and len(told) == 1 and words in told[0] and "by its colours instead" in told[0]


def test_a_network_cut_short_is_told_by_its_size(tmp_path: Path, store: WeightStore):
    place = tmp_path / "models" / "u2net" / "u2net.onnx"
    place.write_bytes(place.read_bytes()[:-10])
    with pytest.raises(BadWeights, match="bytes instead of"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)


def test_without_onnxruntime_it_says_what_to_install(tmp_path: Path, store: WeightStore,
                                                     monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cutter, "has_runtime", lambda: False)
    with pytest.raises(BadSettings, match="onnxruntime"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)
    assert cut(bright_disc(tmp_path / "a.png"), store=store)[0].source == "key"


def test_a_network_that_does_not_fit_into_memory_says_so_before_it_is_loaded_and_auto_goes_on_without(
        tmp_path: Path, store: WeightStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cutter, "free_bytes", lambda device: 100_000_000)
    with pytest.raises(OutOfMemory, match=r"U2-Net needs 0\.6 GB"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)
    found, told = cut(bright_disc(tmp_path / "a.png"), store=store)
    assert found.source == "key" and len(told) == 1 and "by its colours instead" in told[0]


@pytest.mark.parametrize("kind", ["Fail", "RuntimeException", "MemoryError"])
def test_a_network_that_runs_out_of_memory_is_not_called_damaged(tmp_path: Path, store: WeightStore, kind: str,
                                                                 monkeypatch: pytest.MonkeyPatch):
    """What onnxruntime 1.31 says, taken from a run under a limit of its address space."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    def full(*arguments, **options):
        raise getattr(state, kind, MemoryError)("[ONNXRuntimeError] : 1 : FAIL : bfc_arena.cc:360 Failed to allocate "
                                                "memory for requested buffer of size 144000000")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", full)
    with pytest.raises(OutOfMemory, match="U2-Net ran out of memory"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)
    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    with pytest.raises(OutOfMemory, match="U2-Net ran out of memory"):
        cut(bright_disc(tmp_path / "a.png"), "rembg:u2net", store=store)


def test_only_networks_whose_weights_may_be_used_for_anything_are_offered():
    assert all(one.spec.commercial_use and one.spec.licence in ("MIT", "Apache-2.0") for one in CUTTERS.values())
    assert not any("bria" in name for name in CUTTERS)
