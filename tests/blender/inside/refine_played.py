"""An engine that moves the mesh it is sent: what the checks of Refine share."""
from __future__ import annotations

import io
import json

import numpy as np
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.landing import SceneLanding
from bl_ext.user_default.slipcast.addon.session import Session
from bl_ext.user_default.slipcast.bridge.events import Finished, Result
from bl_ext.user_default.slipcast.bridge.messages import Artefact, JobInfo
from fakes import JOB, FakeClient, FakeProcess
from shapes import cameras, grid, picture, png


def arrays(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as file:
        return {name: file[name] for name in file.files}


def result(vertices: np.ndarray, faces: np.ndarray, uvs: np.ndarray) -> Result:
    data = {"vertices": vertices.astype("<f4").tobytes(), "faces": faces.astype("<i4").tobytes(),
            "corner_uvs": uvs.astype("<f4").tobytes(), "base_color": png(picture()),
            "cameras": json.dumps(cameras()).encode()}
    shapes = {"vertices": ("f4", vertices.shape), "faces": ("i4", faces.shape), "corner_uvs": ("f4", uvs.shape)}
    artefacts = {name: Artefact(name, "array", len(held), "0" * 64, *shapes.get(name, ("", ())))
                 for name, held in data.items()}
    info = JobInfo(JOB, "refine", "done", 5, 1, 0.0, settings={"quality": "draft"}, artefacts=tuple(artefacts.values()),
                   summary={"device": "cpu", "seconds": 1.5, "warnings": []})
    return Result(info, artefacts, {name: memoryview(held) for name, held in data.items()})


class Played:
    """A session whose engine is played, and whose job ends with the mesh that was sent, moved by 0.25."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.sent: dict[str, bytes] = {}
        self.client.submit = self._submit
        pump.open_session(Session(FakeProcess, lambda connection: self.client, SceneLanding(), pump.live_mesh()))

    def _submit(self, method, settings, inputs, job=None, label=None) -> str:
        self.method, self.settings = method, settings
        self.sent = {label: held if isinstance(held, bytes) else held.read_bytes() for label, held in inputs.items()}
        if "mesh.npz" in self.sent:
            mesh = arrays(self.sent["mesh.npz"])
            vertices, faces, uvs = mesh["vertices"] + np.float32(0.25), mesh["faces"], mesh["corner_uvs"]
        else:
            vertices, faces, uvs = grid()
        self.client.events.append(Finished(result(vertices, faces, uvs)))
        return JOB
