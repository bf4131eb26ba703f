"""A file over HTTP into a part file: continued where it broke off, never longer than it should be, soon cancelled."""
from __future__ import annotations

import errno
import http.client
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ...bridge.errors import BadOutput, BadWeights, BridgeError, NoNetwork, NoSpace
from ..pipeline.progress import Stage
from .spec import MB, WeightFile

_BLOCK_BYTES = 1 << 18
_BLOCKS_AHEAD = 8
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
MIRROR_HINT = "Try another mirror, or give the file itself if you have it."


@dataclass(frozen=True)
class Patience:
    """tries: connections in a row that bring nothing. pause_s: between two, times the fruitless ones so far."""

    tries: int = 5
    pause_s: float = 1.0
    timeout_s: float = 20.0     # without a byte
    poll_s: float = 0.1         # how soon a cancellation is seen


def download(file: WeightFile, url: str, part: Path, stage: Stage, patience: Patience) -> None:
    """Bring `part` to the file's size; what it holds already is kept and continued. Its content is not checked here.

    stage: counts megabytes. url: http or https.
    Raises NoNetwork (part stays, to be continued), BadWeights (another length: part is gone), NoSpace (part is gone),
    BadOutput, Cancelled (part stays).
    """
    stage.total = -(-file.size_bytes // MB)
    fruitless, reason = 0, ""
    while (before := size_of(part)) != file.size_bytes:
        if before > file.size_bytes:
            part.unlink()
            continue
        if fruitless >= patience.tries:
            raise NoNetwork(f"{file.name} could not be downloaded: {reason}. {before / MB:,.0f} of "
                            f"{file.size_bytes / MB:,.0f} MB are here.", "Check the connection and fetch again: it "
                            f"goes on from there. {MIRROR_HINT}")
        _wait(patience.pause_s * fruitless, stage, patience.poll_s)
        reason = _Try(file, url, part, stage, patience).run(before) or "the connection broke off"
        fruitless = 0 if size_of(part) > before else fruitless + 1


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is not there."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _wait(seconds: float, stage: Stage, poll_s: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        stage.check()
        time.sleep(min(left, poll_s))


class _Try:
    """One connection. A thread of its own reads, so that nothing it waits for can hold up a cancellation."""

    def __init__(self, file: WeightFile, url: str, part: Path, stage: Stage, patience: Patience) -> None:
        self._file, self._url, self._part, self._stage, self._patience = file, url, part, stage, patience
        self._blocks: queue.Queue[bytes | int | str | BridgeError] = queue.Queue(_BLOCKS_AHEAD)
        self._abandoned = threading.Event()

    def run(self, start: int) -> str:
        """Append to the part from byte `start` on. Returns why it ended early; empty: the other side just stopped."""
        threading.Thread(target=self._read, args=(start,), daemon=True, name="download").start()
        try:
            return self._write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise BadOutput(f"{self._part} cannot be written ({error.strerror}).",
                                "Choose another folder for the models.") from error
            self._part.unlink(missing_ok=True)
            raise NoSpace(f"The disk became full while {self._file.name} was downloaded.",
                          "Make room and fetch again; the part that was there is removed.") from error
        finally:
            self._abandoned.set()

    def _write(self) -> str:
        first = self._next()
        if isinstance(first, str):
            return first
        assert isinstance(first, int)
        told_s = 0.0
        with self._part.open("ab") as out:
            out.truncate(first)     # a server that does not continue begins again
            while isinstance(block := self._next(), bytes):
                out.write(block)
                if out.tell() > self._file.size_bytes:
                    break
                if time.monotonic() - told_s > self._patience.poll_s:
                    told_s = time.monotonic()
                    self._stage.done = out.tell() // MB
                    self._stage.report()
            length = out.tell()
        if length > self._file.size_bytes:
            self._part.unlink()
            raise BadWeights(f"The server sends more than the {self._file.size_bytes:,} bytes of {self._file.name}.",
                             f"{MIRROR_HINT} Nothing was kept.")
        return block if isinstance(block, str) else ""

    def _next(self) -> bytes | int | str:
        """The next of what the thread hands over: where it starts, blocks, in the end a text. Raises what it met."""
        while True:
            self._stage.check()
            try:
                found = self._blocks.get(timeout=self._patience.poll_s)
            except queue.Empty:
                continue
            if isinstance(found, BridgeError):
                if isinstance(found, BadWeights):
                    self._part.unlink(missing_ok=True)
                raise found
            return found

    # on the thread

    def _read(self, start: int) -> None:
        try:
            self._hand_over_file(start)
        except BridgeError as error:
            self._hand_over(error)
        except urllib.error.URLError as error:
            self._hand_over(f"{error.reason}")
        except (OSError, http.client.HTTPException, ValueError) as error:     # resets, timeouts, nonsense for HTTP
            self._hand_over(f"{error}" or type(error).__name__)

    def _hand_over_file(self, start: int) -> None:
        request = urllib.request.Request(self._url, headers={"User-Agent": "slipcast"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            answer = urllib.request.urlopen(request, timeout=self._patience.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                self._hand_over_refusal(error.code)
            return
        with answer:
            self._hand_over(self._start_of(answer, start))
            while (block := answer.read1(_BLOCK_BYTES)) and self._hand_over(block):
                pass
        self._hand_over("")

    def _hand_over_refusal(self, status: int) -> None:
        if status == 416:       # it cannot continue where we are: begin again
            self._hand_over(0)
            self._hand_over("the server cannot continue the download")
        elif status in (408, 425, 429) or status >= 500:
            self._hand_over(f"the server is busy (HTTP {status})")
        else:
            self._hand_over(NoNetwork(f"The server does not give {self._file.name} (HTTP {status}).", MIRROR_HINT))

    def _start_of(self, answer: http.client.HTTPResponse, wanted: int) -> int:
        """The byte at which the answer starts. Raises BadWeights when it belongs to a file of another length."""
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        start, total = (int(found[1]), found[2]) if found else (0, answer.headers.get("Content-Length", "*"))
        if start != wanted and start:
            raise NoNetwork(f"The server continues {self._file.name} at another place than asked for.", MIRROR_HINT)
        if total.strip() not in ("*", str(self._file.size_bytes)):
            raise BadWeights(f"The server has {total} bytes under the name {self._file.name}; the model's are "
                             f"{self._file.size_bytes:,}.", f"{MIRROR_HINT} Nothing was kept.")
        return start

    def _hand_over(self, item: bytes | int | str | BridgeError) -> bool:
        """False when nobody wants it any more."""
        while not self._abandoned.is_set():
            try:
                self._blocks.put(item, timeout=self._patience.poll_s)
                return True
            except queue.Full:
                continue
        return False
