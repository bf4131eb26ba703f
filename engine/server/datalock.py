"""One engine per data folder: a lock that the operating system drops when its holder dies, however it dies."""
from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from ...bridge.errors import EngineFailed

if os.name == "nt":
    import msvcrt
else:
    import fcntl


class DataLock:
    """Held from construction to release(). Raises EngineFailed when another engine holds it."""

    def __init__(self, data: Path) -> None:
        try:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)   # people's pictures
            self._file = (data / "lock").open("a+b")
        except OSError as error:
            raise EngineFailed(f"The data folder {data} cannot be used ({error.strerror}).",
                               "Choose another one with --data.") from error
        if not try_lock(self._file):
            owner = _owner(self._file)
            self._file.close()
            raise EngineFailed(f"Another engine{owner} already serves {data}.",
                               "Use that one, end it first, or choose another folder with --data.")
        self._file.seek(1)
        self._file.truncate()
        self._file.write(str(os.getpid()).encode())
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def try_lock(file: IO[bytes]) -> bool:
    """Whether `file` is ours now; until it is closed, or we die."""
    try:
        if os.name == "nt":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)   # the first byte; the pid stands behind it
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def holder(data: Path) -> int | None:
    """The process that serves a data folder, as its lock file says; None when that cannot be read."""
    try:
        with (data / "lock").open("rb") as file:
            file.seek(1)
            text = file.read(20).decode("ascii", "replace")
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _owner(file: IO[bytes]) -> str:
    file.seek(1)
    pid = file.read(20).decode("ascii", "replace")
    return f" (process {pid})" if pid.isdigit() else ""
