"""One blob on its way, up or down: what may be sent next and what has come. No sockets, threads or clocks in here."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .arrays import Bytes, flat_bytes
from .errors import BadFolder, BadFrame, Cancelled
from .messages import Chunk, Credit, Fetch, Put

Source = Path | bytes
_HASH_BLOCK_BYTES = 1024 * 1024


def hash_source(source: Source, label: str, stopped: Callable[[], bool] = lambda: False) -> tuple[str, int]:
    """(sha256, size) of an input. Raises BadFolder when it cannot be read, Cancelled when `stopped` says so."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest(), len(source)
    digest, size = hashlib.sha256(), 0
    try:
        with source.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
                if stopped():
                    raise Cancelled("Cancelled while the input was being read.")
    except OSError as error:
        raise _unreadable(label, source, error) from error
    return digest.hexdigest(), size


def read_part(source: Source, label: str, offset: int, size: int) -> Bytes:
    """`size` bytes from `offset`. Raises BadFolder when they are not there: the file changed since it was hashed."""
    if isinstance(source, bytes):
        return memoryview(source)[offset:offset + size]
    try:
        with source.open("rb") as file:
            file.seek(offset)
            part = file.read(size)
    except OSError as error:
        raise _unreadable(label, source, error) from error
    if len(part) != size:
        raise changed_on_the_way(label)
    return part


def changed_on_the_way(label: str) -> BadFolder:
    return BadFolder(f"{label} changed while it was being sent.", "Try again when it is complete.")


def _unreadable(label: str, path: Path, error: OSError) -> BadFolder:
    return BadFolder(f"{label} cannot be read ({path}): {error.strerror}.", "Check the file and its permissions.")


@dataclass
class Upload:
    """A blob going up. The owner asks `next_part`, reads it, sends it with `chunk_of`; credits pace it.

    id: of the put and all its chunks. jobs: who waits for it, in the order in which they came (the values are
    nothing). moved_s: when something last happened.
    """

    sha256: str
    size: int
    source: Source
    label: str
    id: str
    jobs: dict[str, None] = field(default_factory=dict)
    moved_s: float = 0.0
    _offset: int = 0
    _credits: int = 0
    _ready: bool = False

    def put(self) -> Put:
        return Put(self.sha256, self.size)

    def on_ready(self, offset: int, credits: int) -> None:
        """The engine has room. Raises BadFrame when it asks for bytes that do not exist."""
        if offset > self.size:
            raise BadFrame(f"The engine asks for {self.label} from byte {offset}; it has {self.size}.")
        self._ready, self._offset, self._credits = True, offset, credits

    def on_credit(self, credits: int) -> None:
        self._credits += credits

    def next_part(self, chunk_bytes: int) -> tuple[int, int] | None:
        """(offset, size) of the next chunk if there is a credit for it, which is spent by asking."""
        if not self._ready or not self._credits or self._offset >= self.size:
            return None
        offset, size = self._offset, min(chunk_bytes, self.size - self._offset)
        self._credits -= 1
        self._offset += size
        return offset, size

    def chunk_of(self, offset: int) -> Chunk:
        return Chunk(self.sha256, offset)


@dataclass
class Download:
    """A blob coming down into memory made for it. Complete when `missing` is 0; its hash is the owner's business."""

    sha256: str
    size: int
    id: str
    moved_s: float = 0.0
    _data: bytearray | None = None
    _offset: int = 0

    def fetch(self, credits: int) -> Fetch:
        return Fetch(self.sha256, credits)

    @property
    def missing(self) -> int:
        return self.size - self._offset if self._data is not None else max(1, self.size)

    @property
    def received(self) -> int:
        return self._offset

    def on_ready(self, size: int) -> None:
        """Makes room. Raises BadFrame when the size is not the announced one."""
        if size != self.size:
            raise BadFrame(f"A result has {size} bytes where {self.size} were announced.")
        self._data, self._offset = bytearray(size), 0

    def on_chunk(self, offset: int, data: memoryview) -> Credit:
        """Take a chunk; the credit goes back to the engine. Raises BadFrame for a gap, or for a byte too many."""
        view = flat_bytes(data)
        if self._data is None or offset != self._offset or offset + view.nbytes > self.size:
            raise BadFrame(f"A chunk at {offset} came where byte {self._offset} of {self.size} was due.")
        self._data[offset:offset + view.nbytes] = view
        self._offset += view.nbytes
        return Credit(self.sha256, 1)

    def data(self) -> memoryview:
        """The whole blob, read-only. Only when nothing is missing."""
        assert self._data is not None and not self.missing
        return memoryview(self._data).toreadonly()
