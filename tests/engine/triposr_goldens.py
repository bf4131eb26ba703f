"""Numbers of the published code on seeded random weights, and how far they are themselves from exact arithmetic."""
from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from slipcast.engine.models.triposr.checkpoint import read_checkpoint
from slipcast.engine.models.triposr.field import TriplaneField
from slipcast.engine.models.triposr.layout import TripoSrSizes
from slipcast.engine.models.triposr.weights import Weights

DATA = Path(__file__).parents[1] / "data" / "triposr"
TINY_CHECKPOINT = DATA / "tiny" / "model.safetensors"
TINY = TripoSrSizes(image_px=128, vit_width=48, vit_heads=3, vit_layers=2, vit_inner=96, vit_table=4, plane_tokens=8,
                    channels=64, heads=4, layers=2, scene_channels=8, neurons=32, hidden=3)


def tiny_golden() -> dict[str, torch.Tensor]:
    return load_file(DATA / "tiny" / "golden.safetensors")


def tiny_noise() -> dict[str, float]:
    """Of each golden: the greatest difference between float32 and float64 in the published code."""
    manifest = json.loads((DATA / "tiny" / "manifest.json").read_text())
    return {name: facts["fp32_vs_fp64_maxabs"] for name, facts in manifest.items() if not name.startswith("_")}


def tiny_weights() -> Weights:
    return Weights(read_checkpoint(TINY_CHECKPOINT, TINY))


def tiny_field() -> TriplaneField:
    return TriplaneField(tiny_golden()["scene_code"][0], tiny_weights().below("decoder.layers"), TINY)


def scene_golden() -> dict[str, torch.Tensor]:
    return load_file(DATA / "scene" / "golden.safetensors")


def scene_field(dtype: torch.dtype = torch.float32) -> TriplaneField:
    """The field of a chair: scene code and decoder of official size."""
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(DATA / "scene" / "scene.safetensors").items()}
    return TriplaneField(tensors["scene_code"], Weights(tensors, "decoder.layers."), TripoSrSizes())
