"""Checkpoints are read strictly, without copies, and nothing in them is run."""
from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from triposr_goldens import TINY, TINY_CHECKPOINT

from slipcast.bridge.errors import BadWeights, WeightsMissing
from slipcast.engine.models.triposr.checkpoint import read_checkpoint
from slipcast.engine.models.triposr.layout import expected_layout


@pytest.fixture()
def tensors() -> dict[str, torch.Tensor]:
    return load_file(TINY_CHECKPOINT)


def test_both_kinds_of_file_give_the_same_tensors_in_the_layouts_order(tensors, tmp_path: Path):
    torch.save(dict(reversed(tensors.items())), tmp_path / "model.ckpt")
    from_torch, from_safe = (read_checkpoint(path, TINY) for path in (tmp_path / "model.ckpt", TINY_CHECKPOINT))
    assert list(from_torch) == list(from_safe) == list(expected_layout(TINY))
    assert all(torch.equal(from_torch[name], from_safe[name]) for name in from_safe)


def test_the_kind_is_seen_in_the_content_and_not_in_the_name(tensors, tmp_path: Path):
    torch.save(tensors, tmp_path / "0f3a")       # as a store of blobs would call it
    save_file(tensors, tmp_path / "model.ckpt")
    for name in ("0f3a", "model.ckpt"):
        assert len(read_checkpoint(tmp_path / name, TINY)) == len(tensors)


def test_the_published_file_is_mapped_and_not_copied(tensors, tmp_path: Path):
    torch.save(tensors, tmp_path / "model.ckpt")
    found = read_checkpoint(tmp_path / "model.ckpt", TINY)
    storages = {tensor.untyped_storage().data_ptr() for tensor in found.values()}
    low, high = min(storages), max(storages)
    assert high - low < (tmp_path / "model.ckpt").stat().st_size    # all of them inside one mapping


def test_a_missing_file_says_how_to_get_it(tmp_path: Path):
    with pytest.raises(WeightsMissing, match="models fetch triposr"):
        read_checkpoint(tmp_path / "model.ckpt", TINY)


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_truncated_file_is_damaged(tensors, tmp_path: Path, kind: str, kept: float):
    path = tmp_path / "model"
    torch.save(tensors, path) if kind == "torch" else save_file(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[:kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(BadWeights, match=r"damaged|no checkpoint"):
        read_checkpoint(path, TINY)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("was_run"),))


def test_code_in_a_checkpoint_is_refused_and_not_run(tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**tensors, "decoder.layers.0.bias": Evil()}, "model.ckpt")
    with pytest.raises(BadWeights, match="more than numbers"):
        read_checkpoint(Path("model.ckpt"), TINY)
    Path("bare").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadWeights):
        read_checkpoint(Path("bare"), TINY)
    assert not Path("was_run").exists()


def spoil(tensors: dict[str, torch.Tensor], how: str) -> object:
    if how == "missing":
        del tensors["backbone.norm.weight"]
    elif how == "unknown":
        tensors["backbone.extra"] = torch.zeros(1)
    elif how == "shape":
        tensors["backbone.norm.weight"] = torch.zeros(65)
    elif how == "half":
        tensors["backbone.norm.weight"] = torch.zeros(64, dtype=torch.float16)
    elif how == "nested":
        return {"state_dict": tensors}
    return tensors


@pytest.mark.parametrize(("how", "words"), [
    ("missing", r"1 missing \(backbone.norm.weight\)"), ("unknown", r"1 unknown \(backbone.extra\)"),
    ("shape", r"backbone.norm.weight is float32 \[65\], not float32 \[64\]"), ("half", "is float16"),
    ("nested", "flat list"),
])
def test_another_layout_is_refused_and_named(tensors, tmp_path: Path, how: str, words: str):
    torch.save(spoil(tensors, how), tmp_path / "model.ckpt")
    with pytest.raises(BadWeights, match=words) as caught:
        read_checkpoint(tmp_path / "model.ckpt", TINY)
    assert "fetch" in caught.value.hint.lower()


def test_a_folder_in_place_of_the_file_is_said_so(tmp_path: Path):
    with pytest.raises(BadWeights, match="cannot be read"):
        read_checkpoint(tmp_path, TINY)
