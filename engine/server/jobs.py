"""The table of jobs: sqlite, WAL, synchronous=FULL, one writer. What it says is on disk when a call returns.

States and who may change them (`attempt` fences: a change asked for by an old attempt is refused):

    queued --begin--> running --finish--> done            requeue: running -> queued (its worker died)
      |                  |`-----fail----> failed          recover: running -> queued, cancelling -> cancelled
    cancel             cancel                                       (the engine itself was killed)
      v                  v
    cancelled <-end- cancelling
"""
from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bridge.errors import Conflict, EngineFailed, InternalError, NoSpace, UnknownJob
from ...bridge.messages import TERMINAL_STATES, Artefact, ErrorInfo, InputRef, JobInfo, Rerun, Submit
from ...bridge.strict_json import MAX_INT

SCHEMA_VERSION = 2
_LOCK_WAIT_S = 0.2   # only a stranger with a database tool can hold the lock; nobody waits for him in the meantime
_SCHEMA = """
CREATE TABLE jobs (
    job TEXT PRIMARY KEY, method TEXT NOT NULL, settings TEXT NOT NULL, content TEXT NOT NULL,
    state TEXT NOT NULL, revision INTEGER NOT NULL, attempt INTEGER NOT NULL, deaths INTEGER NOT NULL,
    created_s REAL NOT NULL, started_s REAL, ended_s REAL, artefacts TEXT NOT NULL, summary TEXT NOT NULL, error TEXT,
    label TEXT
);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE TABLE inputs (job TEXT NOT NULL, place INTEGER NOT NULL, label TEXT NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, PRIMARY KEY (job, place));
CREATE TABLE blob_refs (job TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (job, sha256));
CREATE INDEX blob_refs_by_hash ON blob_refs (sha256);
"""
_FROM_1 = "ALTER TABLE jobs ADD COLUMN label TEXT;"


@dataclass(frozen=True)
class Order:
    """What a worker needs to run a job."""

    job: str
    attempt: int
    method: str
    settings: Mapping[str, Any]
    inputs: tuple[InputRef, ...]


def content_hash(request: Submit) -> str:
    """Same content, same job: the hash of method, settings and inputs, whatever their order was."""
    inputs = sorted((item.label, item.sha256, item.size) for item in request.inputs)
    text = json.dumps([request.method, dict(request.settings), inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def rerun_request(table: JobTable, wanted: Rerun) -> Submit:
    """What Rerun asks for, as a Submit: method, inputs and label of the source, its settings with the changes.

    Raises UnknownJob.
    """
    source = table.get(wanted.source)
    settings = {**source.settings, **wanted.settings}
    return Submit(wanted.job, source.method, settings, table.inputs(wanted.source), source.label)


class JobTable:
    """All jobs of one data directory. Use it from the thread that made it.

    Whatever writes raises NoSpace when the disk is full and InternalError when the file is locked, and changes nothing.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Opens or creates. Raises EngineFailed when the file cannot be used."""
        self._clock = clock
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=_LOCK_WAIT_S)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            raise EngineFailed(f"The job list {path} cannot be used ({error}).",
                               "Move that file away to start with an empty list.") from error

    def _prepare(self, path: Path) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version == 1:
            self._db.executescript(f"BEGIN IMMEDIATE; {_FROM_1} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise EngineFailed(f"The job list {path} was written by another version of Slipcast.",
                               "Use a fresh data folder, or that version.")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _write(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            if "full" in str(error) or "disk I/O" in str(error):
                raise NoSpace("The engine's disk is full.", "Free some space and try again.") from error
            raise InternalError(f"The engine cannot write its job list ({error}).",
                                "Close other programs that have it open, then try again.") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # --- reading -----------------------------------------------------------------------------------------------
    def get(self, job: str) -> JobInfo:
        """Raises UnknownJob."""
        return self._info(self._row(job))

    def inputs(self, job: str) -> tuple[InputRef, ...]:
        """The input files of a job, in the order of its submission; () for an unknown one."""
        rows = self._db.execute("SELECT label, sha256, size FROM inputs WHERE job=? ORDER BY place", (job,))
        return tuple(InputRef(row["label"], row["sha256"], row["size"]) for row in rows)

    def known_content(self, job: str) -> str | None:
        """The content hash of a job, or None when there is no such job."""
        row = self._db.execute("SELECT content FROM jobs WHERE job=?", (job,)).fetchone()
        return None if row is None else row["content"]

    def newest(self, limit: int, before: str | None = None) -> tuple[JobInfo, ...]:
        """Newest first; before: only those submitted before that job. Raises UnknownJob."""
        edge = MAX_INT if before is None else self._row(before)["place"]
        rows = self._db.execute("SELECT * FROM jobs WHERE rowid < ? ORDER BY rowid DESC LIMIT ?", (edge, limit))
        return tuple(self._info(row) for row in rows.fetchall())

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        rows = self._db.execute("SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'cancelling')")
        return rows.fetchone()[0]

    def queued(self) -> tuple[str, ...]:
        rows = self._db.execute("SELECT job FROM jobs WHERE state='queued' ORDER BY rowid")
        return tuple(row["job"] for row in rows)

    def referenced(self) -> set[str]:
        """Hashes of every blob that some job needs."""
        return {row["sha256"] for row in self._db.execute("SELECT DISTINCT sha256 FROM blob_refs")}

    def is_referenced(self, sha256: str) -> bool:
        return self._db.execute("SELECT 1 FROM blob_refs WHERE sha256=? LIMIT 1", (sha256,)).fetchone() is not None

    def _row(self, job: str) -> sqlite3.Row:
        row = self._db.execute("SELECT rowid AS place, * FROM jobs WHERE job=?", (job,)).fetchone()
        if row is None:
            raise UnknownJob("The engine does not know this job.", "It may have been forgotten, or belong to another "
                             "engine. Start it again.")
        return row

    # --- writing -----------------------------------------------------------------------------------------------
    def add(self, request: Submit) -> JobInfo:
        """Queue a job; the same request again is the same job. Raises Conflict (same id, other content), NoSpace."""
        content = content_hash(request)
        with self._write():
            known = self.known_content(request.job)
            if known is None:
                self._insert(request, content)
            elif known != content:
                raise Conflict("Another job has this id already.", "Give the new job an id of its own.")
        return self.get(request.job)

    def _insert(self, request: Submit, content: str) -> None:
        self._db.execute("INSERT INTO jobs VALUES (?,?,?,?,'queued',1,0,0,?,NULL,NULL,'[]','{}',NULL,?)",
                         (request.job, request.method, json.dumps(dict(request.settings)), content, self._clock(),
                          request.label))
        self._db.executemany("INSERT INTO inputs VALUES (?,?,?,?,?)",
                             [(request.job, place, item.label, item.sha256, item.size)
                              for place, item in enumerate(request.inputs)])
        self._refer(request.job, [item.sha256 for item in request.inputs])

    def _refer(self, job: str, hashes: list[str]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO blob_refs VALUES (?,?)", [(job, sha256) for sha256 in hashes])

    def begin(self, job: str) -> Order | None:
        """queued -> running with the next attempt number; None when it is not queued any more."""
        if not self._change(job, None, ("queued",), state="running", started_s=self._clock(), attempt_step=1):
            return None
        row = self._row(job)
        return Order(job, row["attempt"], row["method"], json.loads(row["settings"]), self.inputs(job))

    def cancel(self, job: str) -> JobInfo:
        """queued -> cancelled, running -> cancelling; a job that has ended stays as it is. Raises UnknownJob."""
        self._row(job)
        if not self._end(job, None, ("queued",), "cancelled", error=_CANCELLED):
            self._change(job, None, ("running",), state="cancelling")
        return self.get(job)

    def finish(self, job: str, attempt: int, artefacts: tuple[Artefact, ...], summary: Mapping[str, Any]) -> bool:
        """running -> done. False (nothing changed) for an old attempt or another state."""
        with self._write():
            fields = {"state": "done", "ended_s": self._clock(), "summary": json.dumps(dict(summary)),
                      "artefacts": json.dumps([dataclasses.asdict(item) for item in artefacts])}
            changed = self._update(job, attempt, ("running",), fields, 0)
            if changed:
                self._refer(job, [item.sha256 for item in artefacts])
        return changed

    def fail(self, job: str, attempt: int | None, error: ErrorInfo) -> bool:
        """queued or running -> failed. attempt None: whatever the attempt is."""
        return self._end(job, attempt, ("queued", "running"), "failed", error=error)

    def end_cancelled(self, job: str, attempt: int) -> bool:
        """cancelling -> cancelled."""
        return self._end(job, attempt, ("cancelling",), "cancelled", error=_CANCELLED)

    def note_death(self, job: str, attempt: int) -> int:
        """Count the death of a worker under this job; returns how many there were."""
        with self._write():
            self._db.execute("UPDATE jobs SET deaths=deaths+1 WHERE job=? AND attempt=?", (job, attempt))
        return self._row(job)["deaths"]

    def requeue(self, job: str, attempt: int) -> bool:
        """running -> queued: the next begin() is the next attempt."""
        return self._change(job, attempt, ("running",), state="queued", started_s=None)

    def recover(self) -> tuple[str, ...]:
        """After a kill of the engine: running -> queued, cancelling -> cancelled. Returns the jobs that it changed."""
        rows = self._db.execute("SELECT job, state FROM jobs WHERE state IN ('running', 'cancelling')").fetchall()
        for row in rows:
            if row["state"] == "running":
                self._change(row["job"], None, ("running",), state="queued", started_s=None)
            else:
                self._end(row["job"], None, ("cancelling",), "cancelled", error=_CANCELLED)
        return tuple(row["job"] for row in rows)

    def forget(self, job: str) -> tuple[str, ...]:
        """Delete a job that has ended; returns the hashes that no job needs now. Raises UnknownJob, Conflict."""
        if self._row(job)["state"] not in TERMINAL_STATES:
            raise Conflict("This job has not ended yet.", "Cancel it first.")
        with self._write():
            hashes = [row["sha256"] for row in self._db.execute("SELECT sha256 FROM blob_refs WHERE job=?", (job,))]
            for table in ("blob_refs", "inputs", "jobs"):
                self._db.execute(f"DELETE FROM {table} WHERE job=?", (job,))
        return tuple(sha256 for sha256 in hashes if not self.is_referenced(sha256))

    def _end(self, job: str, attempt: int | None, states: tuple[str, ...], state: str, error: ErrorInfo) -> bool:
        return self._change(job, attempt, states, state=state, ended_s=self._clock(),
                            error=json.dumps(dataclasses.asdict(error)))

    def _change(self, job: str, attempt: int | None, states: tuple[str, ...], attempt_step: int = 0,
                **fields: Any) -> bool:
        with self._write():
            return self._update(job, attempt, states, fields, attempt_step)

    def _update(self, job: str, attempt: int | None, states: tuple[str, ...], fields: Mapping[str, Any],
                attempt_step: int) -> bool:
        assignments = ", ".join(f"{name}=?" for name in fields)
        marks = ",".join("?" * len(states))
        fence = "" if attempt is None else " AND attempt=?"
        done = self._db.execute(
            f"UPDATE jobs SET {assignments}, revision=revision+1, attempt=attempt+{attempt_step} "
            f"WHERE job=? AND state IN ({marks}){fence}",
            (*fields.values(), job, *states, *(() if attempt is None else (attempt,))))
        return done.rowcount == 1

    def _info(self, row: sqlite3.Row) -> JobInfo:
        artefacts = tuple(Artefact(**{**item, "shape": tuple(item["shape"])}) for item in json.loads(row["artefacts"]))
        error = None if row["error"] is None else ErrorInfo(**json.loads(row["error"]))
        settings, summary = json.loads(row["settings"]), json.loads(row["summary"])
        taken = self._db.execute("SELECT TOTAL(size) FROM inputs WHERE job=?", (row["job"],)).fetchone()[0]
        licence, seed = summary.get("licence", ""), settings.get("seed")
        return JobInfo(row["job"], row["method"], row["state"], row["revision"], row["attempt"], row["created_s"],
                       row["started_s"], row["ended_s"], settings, artefacts, summary, error, row["label"],
                       licence if isinstance(licence, str) else "", seed if type(seed) is int else None,
                       int(taken) + sum(item.size for item in artefacts))


_CANCELLED = ErrorInfo("cancelled", "Cancelled.")
