"""What was made on this machine: the jobs of a data folder, through the engine that serves it, or without one.

The lock of the data folder decides: when it can be had, no engine runs and the store is read in place, and nobody else
can start one meanwhile; else its holder is asked over the bridge. So there is one writer at any time.
"""
from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..bridge.client import Client, new_job_id
from ..bridge.connection import read_connection
from ..bridge.errors import BadSettings, EngineFailed, TimedOut, UnknownBlob, UnknownJob
from ..bridge.events import Event, Failed, Fetched, JobChanged, JobsListed, TurnedDown
from ..bridge.messages import JobInfo, Rerun
from ..bridge.settings import METHODS, settings_from_mapping
from .server.blobs import BlobStore
from .server.datalock import DataLock, holder
from .server.jobs import JobTable, rerun_request
from .settings import ServeSettings

_PAGE = 200
_ANSWER_S = 60.0
T = TypeVar("T")


class History(Protocol):
    """The jobs of a data folder."""

    def jobs(self) -> tuple[JobInfo, ...]:
        """All of them, newest first."""
        ...

    def artefacts(self, info: JobInfo, names: Sequence[str]) -> Mapping[str, bytes]:
        """Those of `names` that the job has. Raises UnknownBlob when a file of the store is gone."""
        ...

    def rerun(self, info: JobInfo, settings: Mapping[str, Any]) -> JobInfo:
        """Queue a new job with the same inputs; settings: what is to differ. Raises BadSettings, UnknownBlob."""
        ...

    def delete(self, info: JobInfo) -> None:
        """Raises Conflict when the job has not ended, UnknownJob."""
        ...


@contextmanager
def open_history(data: Path, connection: Path) -> Iterator[History]:
    """The history of a data folder. connection: the connection file of the engine that may serve it.

    Raises EngineFailed when the folder cannot be used, or another engine than that of `connection` serves it, and what
    Client.connect raises.
    """
    try:
        lock = DataLock(data)
    except EngineFailed:
        pid = holder(data)
        if pid is None or not connection.exists():
            raise
        found = read_connection(connection)
        if found.pid != pid:
            raise EngineFailed(f"The engine that serves {data} is not the one that {connection} belongs to.",
                               "Give its connection file with --connection, or its folder with --data.") from None
        with Client(found, "history", connection) as client:
            client.connect()
            yield EngineHistory(client)
        return
    try:
        table = JobTable(data / "jobs.sqlite")
        try:
            yield StoredHistory(table, data)
        finally:
            table.close()
    finally:
        lock.release()


def find_job(jobs: Sequence[JobInfo], name: str) -> JobInfo:
    """The job whose id begins with `name`; "last" is the newest that is done. Raises UnknownJob."""
    if name == "last":
        found = [info for info in jobs if info.state == "done"][:1]
    else:
        found = [info for info in jobs if name and info.job.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownJob(f"{len(found)} jobs begin with {name}.", "Give more of its digits.")
    raise UnknownJob(f"There is no job {name}.", "`jobs list` shows those there are.")


class StoredHistory:
    """Of a folder that no engine serves; the caller holds its lock."""

    def __init__(self, table: JobTable, data: Path) -> None:
        settings = ServeSettings()
        self._table, self._store = table, BlobStore(data, settings.quota_bytes, settings.min_free_bytes)

    def jobs(self) -> tuple[JobInfo, ...]:
        found: list[JobInfo] = []
        while page := self._table.newest(_PAGE, found[-1].job if found else None):
            found += page
        return tuple(found)

    def artefacts(self, info: JobInfo, names: Sequence[str]) -> Mapping[str, bytes]:
        data: dict[str, bytes] = {}
        for artefact in info.artefacts:
            if artefact.name in names:
                try:
                    data[artefact.name] = self._store.path(artefact.sha256).read_bytes()
                except OSError as error:
                    raise UnknownBlob(f"{artefact.name} of job {info.job[:8]} cannot be read ({error.strerror}).",
                                      "Run the job again.") from error
        return data

    def rerun(self, info: JobInfo, settings: Mapping[str, Any]) -> JobInfo:
        request = rerun_request(self._table, Rerun(new_job_id(), info.job, settings))
        kind = METHODS.get(request.method)
        if kind is None:
            raise BadSettings(f"There is no method called {request.method!r} in this version.")
        checked = dataclasses.asdict(settings_from_mapping(kind, request.settings))
        if any(self._store.size(item.sha256) != item.size for item in request.inputs):
            raise UnknownBlob("Some input files of that job are not stored any more.",
                              "Start it from its pictures instead.")
        return self._table.add(dataclasses.replace(request, settings=checked))

    def delete(self, info: JobInfo) -> None:
        gone = self._table.forget(info.job)
        self._store.drop(gone)
        self._store.unlink(gone)


class EngineHistory:
    """Of a folder that an engine serves. client: connected."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def jobs(self) -> tuple[JobInfo, ...]:
        found: list[JobInfo] = []
        while True:
            self._client.list_jobs(_PAGE, found[-1].job if found else None)
            page = self._answer("", lambda event: event.jobs if isinstance(event, JobsListed) else None)
            found += page.jobs
            if not page.more or not page.jobs:
                return tuple(found)

    def artefacts(self, info: JobInfo, names: Sequence[str]) -> Mapping[str, bytes]:
        self._client.fetch(info.job, names)
        result = self._answer(info.job, lambda event: event.result if isinstance(event, Fetched) else None)
        return {name: bytes(data) for name, data in result.data.items()}

    def rerun(self, info: JobInfo, settings: Mapping[str, Any]) -> JobInfo:
        job = self._client.rerun(info.job, settings)
        return self._answer(job, lambda event: event.info if isinstance(event, JobChanged) and event.info.job == job
                            else None)

    def delete(self, info: JobInfo) -> None:
        self._client.forget(info.job)
        self._answer(info.job, lambda event: event.jobs if isinstance(event, JobsListed) else None)

    def _answer(self, job: str, read: Callable[[Event], T | None]) -> T:
        deadline = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline:
            event = self._client.next_event(0.25)
            if isinstance(event, (Failed, TurnedDown)) and event.job == job:
                raise event.error
            if event is not None and (answer := read(event)) is not None:
                return answer
        raise TimedOut("The engine did not answer.", "Try again, or restart the engine.")
