"""A plug-in for a real engine: TripoSR's own code behind its network, which here always sees the chair of the scene
golden. It needs no weights to be fetched."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from slipcast.engine.models.triposr import MODEL as TRIPOSR

SCENE = Path(__file__).resolve().parents[1] / "triposr" / "scene"


class Chair:
    """See SingleImageModel."""

    spec = dataclasses.replace(TRIPOSR.spec, name="chair", title="Chair", files=(), ram_bytes=500_000_000, vram_bytes=0)

    def load(self, files: Mapping[str, Path], device: str):
        """See SingleImageModel.load."""
        from slipcast.engine.models.triposr.model import LoadedTripoSr

        return LoadedTripoSr(ChairNetwork(device))


class ChairNetwork:
    """What LoadedTripoSr wants of a network."""

    steps = 1

    def __init__(self, device: str) -> None:
        self.device = device

    def field(self, picture, half, advance):
        """The field of the chair, whatever the picture."""
        from safetensors.torch import load_file

        from slipcast.engine.models.triposr.field import TriplaneField
        from slipcast.engine.models.triposr.layout import TripoSrSizes
        from slipcast.engine.models.triposr.weights import Weights

        advance()
        tensors = {name: tensor.float() for name, tensor in load_file(SCENE / "scene.safetensors").items()}
        return TriplaneField(tensors["scene_code"], Weights(tensors, "decoder.layers."), TripoSrSizes())


CHAIR = Chair()
