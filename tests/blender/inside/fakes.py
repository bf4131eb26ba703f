"""A client and an engine process that do what a check tells them."""
from __future__ import annotations

from collections import deque
from pathlib import Path

from bl_ext.user_default.slipcast.addon.engine_process import EngineStatus
from bl_ext.user_default.slipcast.addon.session import Session
from bl_ext.user_default.slipcast.bridge import VERSION
from bl_ext.user_default.slipcast.bridge.connection import Connection
from bl_ext.user_default.slipcast.bridge.errors import Cancelled
from bl_ext.user_default.slipcast.bridge.events import (
    Connected,
    EngineChanged,
    Event,
    Failed,
    Finished,
    JobsListed,
    Progressed,
)
from bl_ext.user_default.slipcast.bridge.messages import EngineState, JobInfo, JobList, Limits, Progress, Welcome
from shapes import result

JOB = "5" * 32
CONNECTION = Connection("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "a" * 40, "b" * 40, "c" * 40, 1, "e", VERSION)


def connected(version: str = VERSION) -> Connected:
    return Connected(Welcome(1, version, "e", Limits(), ("views",)), new_epoch=True)


def ready(*devices: str) -> EngineChanged:
    return EngineChanged(EngineState("ready", devices or ("cpu",)))


def progressed(done: int = 3, total: int = 12, seq: int = 1, stage: str = "hull") -> Progressed:
    return Progressed(Progress(JOB, 1, seq, stage, 3, 9, done, total, "views", 1.5, 4.0))


class FakeClient:
    """Hands out what is put into `events`; remembers what was asked."""

    def __init__(self, on_submit: tuple[Event, ...] = (), version: str = VERSION) -> None:
        self.events: deque[Event] = deque([connected(version), ready()])
        self.on_submit = on_submit
        self.asked: list[tuple] = []
        self.jobs: tuple[JobInfo, ...] = ()

    def next_event(self, timeout_s: float = 0.0) -> Event | None:
        return self.events.popleft() if self.events else None

    def list_jobs(self, limit=100, before=None) -> None:
        self.events.append(JobsListed(JobList(self.jobs, before)))   # asked for by itself: not remembered

    def submit(self, method, settings, inputs, job=None, label=None) -> str:
        self.asked.append(("submit", method, settings, sorted(inputs)))
        self.events.extend(self.on_submit)
        return JOB

    def cancel(self, job: str) -> None:
        self.asked.append(("cancel", job))
        if job == JOB:
            self.events.append(Failed(JOB, Cancelled("Cancelled during hull.")))

    def finish_early(self, job: str) -> None:
        self.asked.append(("finish_early", job))

    def shutdown(self) -> None:
        self.asked.append(("shutdown",))

    def close(self) -> None:
        self.asked.append(("close",))


class FakeProcess:
    """An engine process whose state is set by hand; up as soon as it is started."""

    is_ours, stays, connection_path = True, False, Path("nowhere")

    def __init__(self) -> None:
        self.status = EngineStatus("off")
        self.asked: list[str] = []

    def start(self) -> EngineStatus:
        self.asked.append("start")
        self.status = EngineStatus("up", CONNECTION)
        return self.status

    start_new = start

    def poll(self) -> EngineStatus:
        return self.status

    def stop(self) -> None:
        self.asked.append("stop")
        self.status = EngineStatus("stopping", CONNECTION)

    def close(self) -> None:
        self.asked.append("close")

    def die(self, why: str) -> None:
        self.status = EngineStatus("failed", why=why)


class FakeLanding:
    def __init__(self) -> None:
        self.why, self.landed, self.notes = "", [], ()

    def why_not_now(self) -> str:
        return self.why

    def land(self, prepared, request) -> str:
        self.landed.append(prepared)
        return request.placement.name


def finished(**changed) -> Finished:
    return Finished(result(JOB, **changed))


def fake_session(landing=None, *on_submit: Event, version: str = VERSION) -> tuple[Session, FakeClient, FakeProcess]:
    client, process = FakeClient(on_submit, version), FakeProcess()
    return Session(lambda: process, lambda connection: client, landing or FakeLanding()), client, process


def view_folder(folder: Path) -> Path:
    """The least that the bridge takes for a view folder; nobody looks into the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transforms.json").write_text('{"camera_angle_x": 0.7, "frames": [{"file_path": "0.png"}]}')
    (folder / "0.png").write_bytes(b"not looked at here")
    return folder
