"""The connection file: where an engine listens and the keys to it. Who can read the file may use the engine, so it is
private to its owner (mode 0600) from the moment it exists."""
from __future__ import annotations

import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from .codec import from_plain, to_plain
from .errors import BadHeader, EngineNotFound
from .strict_json import dump_json, parse_json

log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 16 * 1024
_KEY_CHARS = 40      # a CURVE key in Z85


@dataclass(frozen=True)
class Connection:
    """ctl, blob: endpoints, "tcp://127.0.0.1:port". Keys are CURVE keys in Z85 (40 characters).

    server_public proves the engine to the client; client_public and client_secret prove the client to the engine.
    epoch: changes whenever an engine starts. version: of the engine's package, for messages to a person.
    """

    ctl: str
    blob: str
    server_public: str
    client_public: str
    client_secret: str
    pid: int
    epoch: str
    version: str

    def __repr__(self) -> str:
        # The secret must not end in a log.
        return f"Connection(ctl={self.ctl!r}, blob={self.blob!r}, pid={self.pid}, epoch={self.epoch!r})"


def default_connection_path() -> Path:
    """Where the engine of this user writes its connection file when it is told nothing else."""
    return default_data_folder() / "engine.json"


def default_data_folder() -> Path:
    """The user's own folder for the engine's files (jobs, blobs, connection). It may not exist yet."""
    home = Path.home()
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "Slipcast"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "Slipcast"
    return home / ".local" / "share" / "slipcast"


def write_connection(path: Path, connection: Connection) -> None:
    """Write the file so that a reader sees the old one or the whole new one, never a part, and nobody else sees either.

    Raises OSError when the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # O_EXCL: never through a file or link that someone else has put there.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(dump_json(to_plain(connection)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_connection(path: Path) -> Connection:
    """Read and check a connection file. Raises EngineNotFound when there is none, BadHeader when it is not one."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError as error:
        raise EngineNotFound(f"No engine has written {path}.", "Start the engine.") from error
    except OSError as error:
        raise EngineNotFound(f"{path} cannot be read: {error.strerror}.", "Start the engine again.") from error
    if os.name == "posix" and mode & 0o077:
        log.warning("%s can be read by other users of this machine; they could use the engine", path)
    try:
        connection = from_plain(Connection, parse_json(raw, _MAX_FILE_BYTES))
        _check(connection)
    except BadHeader as error:
        raise BadHeader(f"{path} is not a connection file: {error.message}", "Start the engine again.") from error
    return connection


def _check(connection: Connection) -> None:
    for name in ("ctl", "blob"):
        if not getattr(connection, name).startswith("tcp://"):
            raise BadHeader(f"{name} is not a tcp:// endpoint.")
    for name in ("server_public", "client_public", "client_secret"):
        key = getattr(connection, name)
        if len(key) != _KEY_CHARS or not key.isascii():
            raise BadHeader(f"{name} is not a key.")
