"""The way of a result back: all artefacts of a finished job are fetched, checked against their hashes, handed over."""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .arrays import check_artefact, sha256_hex
from .errors import BadFrame, BridgeError, EngineGone, TimedOut, error_from_code
from .events import Failed, Fetched, Fetching, Finished, Result, TurnedDown
from .messages import Artefact, Chunk, Error, FetchReady, JobInfo, Stop
from .post import Post
from .transfers import Download

_MAX_TRIES = 2
_ACTIVE_DOWNLOADS = 2
_STALLED_S = 30.0


@dataclass
class _Fetch:
    """A job whose artefacts are coming. names: those asked for; empty: all, as the end of a job. sizes: of the blobs it
    needs. have: those that are here and right."""

    info: JobInfo
    names: tuple[str, ...]
    artefacts: tuple[Artefact, ...]
    sizes: dict[str, int]
    have: dict[str, memoryview] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)


class Fetcher:
    def __init__(self, post: Post) -> None:
        self._post = post
        self._jobs: dict[tuple[str, tuple[str, ...]], _Fetch] = {}    # by job and names
        self._downloads: dict[str, Download] = {}
        self._queue: deque[str] = deque()       # hashes

    def start(self, info: JobInfo, names: tuple[str, ...] = ()) -> None:
        """Fetch the artefacts of a job in state done; ends in Finished or Failed.

        names: fetch only those of them that the job has; ends in Fetched or TurnedDown.
        """
        if (info.job, names) in self._jobs:
            return
        artefacts = tuple(item for item in info.artefacts if not names or item.name in names)
        fetch = _Fetch(info, names, artefacts, {item.sha256: item.size for item in artefacts})
        try:
            for artefact in artefacts:
                check_artefact(artefact, self._post.limits.blob_bytes)
        except BadFrame as error:
            self._end_badly(fetch, error)
            return
        self._jobs[info.job, names] = fetch
        self._queue.extend(fetch.sizes)
        self._tell(fetch)
        self._start_downloads()
        self._finish_complete()

    def on_up(self) -> None:
        self._queue = deque(dict.fromkeys(sha256 for fetch in self._jobs.values() for sha256 in fetch.sizes
                                          if sha256 not in fetch.have))
        self._start_downloads()

    def on_down(self) -> None:
        self._downloads.clear()
        self._queue.clear()

    def on_blob(self, message: Any, re: str, frames: tuple[memoryview, ...]) -> None:
        """What belongs to no download of now is stale and dropped."""
        if isinstance(message, (FetchReady, Chunk, Stop)):
            download = self._downloads.get(message.sha256)
        else:
            download = next((found for found in self._downloads.values() if found.id == re), None)
        if download is None or (re and re != download.id):
            return
        download.moved_s = self._post.now()
        try:
            self._advance(download, message, frames)
        except BadFrame as error:
            self._post.send_blob(Stop(download.sha256), download.id, ())
            self._again(download, error)
        except BridgeError as error:
            self._give_up(download.sha256, error)

    def on_time(self) -> None:
        now = self._post.now()
        for download in list(self._downloads.values()):
            if now - download.moved_s > _STALLED_S:
                self._again(download, TimedOut("The engine stopped sending the result.", "Fetch the job again."))

    def _advance(self, download: Download, message: Any, frames: tuple[memoryview, ...]) -> None:
        if isinstance(message, FetchReady):
            download.on_ready(message.size)
        elif isinstance(message, Chunk):
            self._post.send_blob(download.on_chunk(message.offset, frames[0]), download.id, ())
            for fetch in self._jobs_of(download.sha256):
                self._tell(fetch)
        elif isinstance(message, Error):
            raise error_from_code(message.code, message.message, message.hint)
        else:
            raise EngineGone("The engine broke off the result.", "Fetch the job again.")
        if not download.missing:
            data = download.data()
            self._post.hashing.ask(lambda: sha256_hex(data), lambda found: self._hashed(download, data, found))

    def _hashed(self, download: Download, data: memoryview, found: Any) -> None:
        if self._downloads.get(download.sha256) is not download:
            return      # the link was lost meanwhile: it is being fetched again
        if found != download.sha256:
            self._again(download, BadFrame("A result arrived damaged: its sha256 differs.", "Fetch the job again."))
            return
        del self._downloads[download.sha256]
        for fetch in self._jobs_of(download.sha256):
            fetch.have[download.sha256] = data
        self._start_downloads()
        self._finish_complete()

    def _finish_complete(self) -> None:
        for key, fetch in list(self._jobs.items()):
            if len(fetch.have) == len(fetch.sizes):
                del self._jobs[key]
                named = {artefact.name: artefact for artefact in fetch.artefacts}
                data = {name: fetch.have[artefact.sha256] for name, artefact in named.items()}
                result = Result(fetch.info, named, data)
                self._post.emit(Fetched(result) if fetch.names else Finished(result))

    def _again(self, download: Download, error: BridgeError) -> None:
        self._downloads.pop(download.sha256, None)
        for fetch in self._jobs_of(download.sha256):
            fetch.tries[download.sha256] = fetch.tries.get(download.sha256, 0) + 1
        if any(fetch.tries[download.sha256] >= _MAX_TRIES for fetch in self._jobs_of(download.sha256)):
            self._give_up(download.sha256, error)
            return
        self._queue.append(download.sha256)
        self._start_downloads()

    def _give_up(self, sha256: str, error: BridgeError) -> None:
        self._downloads.pop(sha256, None)
        for fetch in self._jobs_of(sha256):
            del self._jobs[fetch.info.job, fetch.names]
            self._end_badly(fetch, error)
        wanted = {name for fetch in self._jobs.values() for name in fetch.sizes if name not in fetch.have}
        self._queue = deque(name for name in self._queue if name in wanted)
        for download in [found for found in self._downloads.values() if found.sha256 not in wanted]:
            del self._downloads[download.sha256]
            self._post.send_blob(Stop(download.sha256), download.id, ())
        self._start_downloads()

    def _end_badly(self, fetch: _Fetch, error: BridgeError) -> None:
        ended = TurnedDown if fetch.names else Failed
        self._post.emit(ended(fetch.info.job, error))

    def _start_downloads(self) -> None:
        while self._post.up and self._queue and len(self._downloads) < _ACTIVE_DOWNLOADS:
            sha256 = self._queue.popleft()
            fetches = self._jobs_of(sha256)
            if not fetches or sha256 in self._downloads:
                continue
            download = Download(sha256, fetches[0].sizes[sha256], self._post.new_id(), self._post.now())
            self._downloads[sha256] = download
            self._post.send_blob(download.fetch(self._post.limits.credits), download.id, ())

    def _jobs_of(self, sha256: str) -> list[_Fetch]:
        return [fetch for fetch in self._jobs.values() if sha256 in fetch.sizes and sha256 not in fetch.have]

    def _tell(self, fetch: _Fetch) -> None:
        if fetch.names:
            return      # a thumbnail: nobody watches it come
        done = sum(fetch.sizes[sha256] for sha256 in fetch.have)
        done += sum(self._downloads[name].received for name in fetch.sizes if name in self._downloads)
        self._post.emit(Fetching(fetch.info.job, done, sum(fetch.sizes.values())))
