"""A running job with its live mesh, played: what the checks of the live mesh share."""
from __future__ import annotations

import hashlib
import time

import bpy
import numpy as np
from bl_ext.user_default.slipcast.addon import pump
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.scene.live import LIVE_KEY
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.addon.session import Session
from bl_ext.user_default.slipcast.bridge.events import Previewed
from bl_ext.user_default.slipcast.bridge.messages import BufferSpec, Preview
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings
from fakes import JOB, FakeClient, FakeLanding, FakeProcess, progressed, view_folder


def previewed(vertices: np.ndarray, faces: np.ndarray, seq: int = 1, colours: np.ndarray | None = None,
              stage: str = "refine") -> Previewed:
    arrays = [("f4", vertices.astype("<f4")), ("i4", faces.astype("<i4"))]
    if colours is not None:
        arrays.append(("u1", colours.astype("u1")))
    frames = tuple(memoryview(np.ascontiguousarray(array).tobytes()) for _, array in arrays)
    specs = tuple(BufferSpec(dtype, array.shape, hashlib.sha256(frame).hexdigest())
                  for (dtype, array), frame in zip(arrays, frames))
    return Previewed(Preview(JOB, 1, seq, stage, colours is not None, specs), frames)


class Stage:
    """A session whose job is running, with the live mesh of this Blender."""

    def __init__(self, tmp_path, **placement) -> None:
        self.client, self.live = FakeClient(), pump.live_mesh()
        self.session = Session(FakeProcess, lambda connection: self.client, FakeLanding(), self.live)
        pump.open_session(self.session)
        request = GenerateRequest(view_folder(tmp_path / "skull"), ViewsSettings(), Placement("skull", **placement),
                                  bpy.context.scene.name)
        self.session.generate(request)
        self.until(lambda: self.session.job.job == JOB)
        self.come(progressed(stage="refine"))

    def until(self, condition, patience_s: float = 5.0) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"{self.session.job} {self.session.error}"
            self.session.pump(0.004)
            time.sleep(0.002)

    def come(self, *events) -> None:
        self.client.events.extend(events)
        self.session.pump(0.1)

    def show(self, vertices, faces, **more) -> bpy.types.Object:
        self.come(previewed(vertices, faces, **more))
        self.until(lambda: self.live._frame is None)
        return thing()


def thing() -> bpy.types.Object | None:
    return next((each for each in bpy.data.objects if each.get(LIVE_KEY) == JOB), None)


def co(mesh: bpy.types.Mesh) -> np.ndarray:
    values = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", values)
    return values.reshape(-1, 3)


def corners(mesh: bpy.types.Mesh) -> np.ndarray:
    values = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", values)
    return values.reshape(-1, 3)


def traces() -> list[str]:
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.materials)
    return [block.name for kind in kinds for block in kind]


def srgb(mesh: bpy.types.Mesh) -> np.ndarray:
    """(V, 3) in [0, 1]: the colours that the viewport shows for attributes."""
    values = np.empty(4 * len(mesh.vertices), np.float32)
    mesh.color_attributes.active_color.data.foreach_get("color_srgb", values)
    return values.reshape(-1, 4)[:, :3]
