"""The store of blobs: every input and result of every job under its sha256.

    <data>/blobs/ab/abcdef...    complete, on disk, never changed
    <data>/incoming/<random>     uploads under way
    <data>/spool/<job>-<n>/      what a worker has written for attempt n, not yet accepted

A blob appears under its name by a rename after its bytes are on disk, so what has a name is whole. incoming/ and
spool/ are emptied at every start. No name in here comes from outside: only hashes that were checked, and our own.
"""
from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from ...bridge.errors import BadFrame, NoSpace, QuotaReached

log = logging.getLogger(__name__)
_HASH = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_GIB = 1024**3


def is_hash(text: object) -> bool:
    """Whether this is a lower-case hex sha256, the only name a blob can have."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def sync_folder(folder: Path) -> None:
    """Put a rename inside `folder` on disk. Windows has no such call; NTFS journals renames itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def no_space() -> NoSpace:
    return NoSpace("The disk that the engine stores its files on is full.", "Free some space and try again.")


class BlobStore:
    """Index and files. May be used from several threads; only one of them should write."""

    def __init__(self, data: Path, quota_bytes: int, min_free_bytes: int) -> None:
        self.spool = data / "spool"
        self._folder, self._incoming = data / "blobs", data / "incoming"
        self._quota_bytes, self._min_free_bytes = quota_bytes, min_free_bytes
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._stored_at: dict[str, float] = {}   # monotonic; only for what came in since the start
        self._used_bytes = self._reserved_bytes = 0
        for folder in (self._incoming, self.spool):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._folder.mkdir(exist_ok=True)
        self._scan()

    def _scan(self) -> None:
        for path in self._folder.glob("??/*"):
            if is_hash(path.name):
                self._sizes[path.name] = path.stat().st_size
        self._used_bytes = sum(self._sizes.values())

    # --- reading -----------------------------------------------------------------------------------------------
    def path(self, sha256: str) -> Path:
        """Where this blob is, or will be."""
        assert is_hash(sha256), "only checked hashes become paths"
        return self._folder / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes of a stored blob; None when it is not here."""
        with self._lock:
            return self._sizes.get(sha256)

    def older_than(self, age_s: float) -> tuple[str, ...]:
        """Hashes that came in more than age_s ago, or before this start."""
        edge = time.monotonic() - age_s
        with self._lock:
            return tuple(sha256 for sha256 in self._sizes if self._stored_at.get(sha256, -1e9) <= edge)

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return self._used_bytes

    def check_room(self, size: int) -> None:
        """Raises QuotaReached or NoSpace when `size` more bytes have no room."""
        with self._lock:
            left = self._quota_bytes - self._used_bytes - self._reserved_bytes
            reserved = self._reserved_bytes
        if size > left:
            raise QuotaReached(f"The engine's storage quota of {self._quota_bytes / _GIB:.3g} GiB is used up.",
                               "Start the engine with a larger one (in Blender: Disk Quota in the add-on's "
                               "preferences; else --quota-gb), or delete results you no longer need: the engine "
                               "never does that by itself (`jobs list`, `jobs delete`).")
        if size + reserved > shutil.disk_usage(self._folder).free - self._min_free_bytes:
            raise no_space()

    # --- writing -----------------------------------------------------------------------------------------------
    def receive(self, sha256: str, size: int) -> Incoming:
        """Reserve room for an upload and open it. Raises QuotaReached, NoSpace."""
        self.check_room(size)
        path = self._incoming / uuid.uuid4().hex
        try:
            incoming = Incoming(self, path, sha256, size)
        except OSError as error:
            raise _disk_error(error) from error
        with self._lock:
            self._reserved_bytes += size
        return incoming

    def release(self, size: int) -> None:
        """An Incoming has ended: its reservation is over."""
        with self._lock:
            self._reserved_bytes -= size

    def adopt(self, path: Path, sha256: str, size: int) -> None:
        """Take a whole, synced file into the store; `path` is gone then. Raises NoSpace, BadFrame (wrong size)."""
        if path.stat().st_size != size:
            raise BadFrame(f"A result of {size} bytes has {path.stat().st_size} on disk.")
        target = self.path(sha256)
        try:
            if not target.parent.exists():
                target.parent.mkdir()
                sync_folder(self._folder)
            path.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            if self.size(sha256) is None:
                raise _disk_error(error) from error
            log.info("kept the blob that was here already: %s", error)   # Windows: it is open for reading
            path.unlink(missing_ok=True)
        with self._lock:
            self._used_bytes += size - self._sizes.get(sha256, 0)
            self._sizes[sha256] = size
            self._stored_at[sha256] = time.monotonic()

    def drop(self, hashes: Iterable[str]) -> None:
        """Take blobs out of the index at once, so that nobody counts on them; unlink() deletes their files."""
        with self._lock:
            for sha256 in hashes:
                self._used_bytes -= self._sizes.pop(sha256, 0)
                self._stored_at.pop(sha256, None)

    def unlink(self, hashes: Iterable[str]) -> None:
        """Delete the files of dropped blobs. One that is open (Windows) stays until the next start."""
        for sha256 in hashes:
            if self.size(sha256) is not None:
                continue   # it came back in the meantime
            try:
                self.path(sha256).unlink(missing_ok=True)
            except OSError as error:
                log.warning("blob %s could not be deleted yet: %s", sha256[:12], error)

    def drop_spool(self, name: str) -> None:
        """Delete what an attempt has left behind."""
        shutil.rmtree(self.spool / name, ignore_errors=True)


class Incoming:
    """One upload under way: a temporary file that grows, and its hash."""

    def __init__(self, store: BlobStore, path: Path, sha256: str, size: int) -> None:
        self.sha256, self.size, self.received, self.is_open = sha256, size, 0, True
        self._store, self._path = store, path
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)   # closed by finish() or abort()

    def write(self, offset: int, data: bytes | memoryview) -> bool:
        """Append a chunk; True when the blob is complete. Raises BadFrame (wrong place or too long), NoSpace."""
        view = memoryview(data)
        if offset != self.received or not 0 < view.nbytes <= self.size - self.received:
            raise BadFrame(f"A chunk of {view.nbytes} bytes at {offset} came after {self.received} of {self.size}.",
                           "Start the upload again.")
        self._hash.update(view)
        try:
            rest = view
            while rest.nbytes:
                rest = rest[self._file.write(rest) or 0:]
        except OSError as error:
            raise _disk_error(error) from error
        self.received += view.nbytes
        return self.received == self.size

    def finish(self) -> None:
        """Check the hash, put the bytes on disk, give them their name. Raises BadFrame, NoSpace; ended in any case."""
        if self._hash.hexdigest() != self.sha256:
            self.abort()
            raise BadFrame("A file was damaged on its way to the engine.", "Start the upload again.")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._store.adopt(self._path, self.sha256, self.size)
        except OSError as error:
            raise _disk_error(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Throw the temporary file away; harmless when the upload has ended."""
        if self.is_open:
            self.is_open = False
            self._store.release(self.size)
            self._file.close()
            self._path.unlink(missing_ok=True)


def _disk_error(error: OSError) -> NoSpace:
    if error.errno in _FULL:
        return no_space()
    return NoSpace(f"The engine cannot write to its disk ({error.strerror}).", "Look at its data folder and try again.")
