"""The history as the add-on knows it: the engine's list of jobs, their pictures, and errands with results. No bpy."""
from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bridge.errors import BridgeError, Conflict, EngineGone, InternalError, UnknownJob
from ..bridge.events import Connected, Event, Fetched, JobChanged, JobsListed, Result, TurnedDown
from ..bridge.messages import TERMINAL_STATES, JobInfo
from .background import BackgroundCall

if TYPE_CHECKING:
    from ..bridge.client import Client

log = logging.getLogger(__name__)

PAGE = 50
PICTURE = "thumbnail"
PICTURES_AT_ONCE = 2
MESH_NAMES = ("vertices", "faces", "corner_uvs", "base_color")
TURN = ("turntable_mp4", *(f"turntable_{index:03}" for index in range(30)))
FILE_NAMES = (*MESH_NAMES, "normal_map", "cameras", "mask", "cutout", PICTURE, "input_thumbnail", *TURN)


@dataclass
class Errand:
    """Something to do with the results of `jobs`: `work` gets them on a thread of its own, `finish` what it returned,
    on the main thread, once `why_not_now` says "". names: of the artefacts that are needed."""

    words: str
    jobs: tuple[str, ...]
    names: tuple[str, ...]
    work: Callable[[Sequence[Result]], Any]
    finish: Callable[[Any], None]
    why_not_now: Callable[[], str] = str      # "" at any time
    asked: bool = False
    waiting_for: str = ""                     # what it said last
    results: dict[str, Result] = field(default_factory=dict)
    working: BackgroundCall[Any] | None = None


class HistoryDesk:
    """A Desk (seams.py) for the list of jobs. Panels read `jobs`, `more`, `loaded`, `pictures`, `errand`, `error`."""

    def __init__(self) -> None:
        self.jobs: tuple[JobInfo, ...] = ()       # newest first
        self.more = False                         # the engine has older ones
        self.loaded = False
        self.pictures: dict[str, Path] = {}       # sha256 -> PNG file
        self.errand: Errand | None = None
        self.error: BridgeError | None = None
        self.revision = 0                         # grows whenever there is something new to show
        self._list_wanted, self._list_asked = False, False
        self._before: str | None = None
        self._deleting: dict[str, bool] = {}      # job -> asked
        self._coming: dict[str, str] = {}         # job -> sha256 of its picture
        self._without: set[str] = set()           # pictures that could not be had
        self._folder: Path | None = None

    # --- asked for by a person ---------------------------------------------------------------------------------
    def refresh(self, older: bool = False) -> None:
        """Get the newest jobs, or the page after the last one that is here."""
        self._before = self.jobs[-1].job if older and self.jobs else None
        self._list_wanted, self._list_asked, self.error = True, False, None
        self.revision += 1

    def delete(self, job: str) -> None:
        """Delete a job that has ended, with its files. Raises Conflict while it has not."""
        info = self.find(job)
        if info is not None and info.state not in TERMINAL_STATES:
            raise Conflict("This job has not ended.", "Cancel it first, or wait for it.")
        self.error = None
        self._deleting[job] = False
        self.revision += 1

    def begin(self, errand: Errand) -> None:
        """Fetch results and do something with them. Raises Conflict while another one is under way."""
        if self.errand is not None:
            raise Conflict(f"{self.errand.words}: not done yet.", "Wait for it.")
        self.errand, self.error = errand, None
        self.revision += 1

    def find(self, job: str) -> JobInfo | None:
        """What is known of a job; None when it is not in the list."""
        return next((info for info in self.jobs if info.job == job), None)

    def picture_of(self, info: JobInfo) -> str:
        """sha256 of the job's picture; "" when it has none."""
        return next((item.sha256 for item in info.artefacts if item.name == PICTURE), "")

    def close(self) -> None:
        """Remove the files of the pictures."""
        folder, self._folder = self._folder, None
        self.pictures.clear()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    # --- a Desk ------------------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return (self._list_wanted or bool(self._deleting) or self.errand is not None or bool(self._coming)
                or self._next_picture() is not None)

    def advance(self, client: Client) -> None:
        if self._list_wanted and not self._list_asked:
            self._list_asked = True
            client.list_jobs(PAGE, self._before)
        for job in [job for job, asked in self._deleting.items() if not asked]:
            self._deleting[job] = True
            client.forget(job)
        if self.errand is not None:
            self._advance_errand(self.errand, client)
        while len(self._coming) < PICTURES_AT_ONCE and (info := self._next_picture()) is not None:
            self._coming[info.job] = self.picture_of(info)
            client.fetch(info.job, (PICTURE,))

    def handle(self, event: Event) -> bool:
        before = self.revision
        self.revision += 1
        match event:
            case Connected():
                self._before, self._list_wanted, self._list_asked = None, True, False
                return False
            case JobsListed(jobs=page):
                self._take_page(page.jobs, page.before, page.more)
                return True
            case Fetched(result=result) if result.info.job in self._coming and set(result.data) <= {PICTURE}:
                self._take_picture(result)
                return True
            case Fetched(result=result) if self.errand is not None and result.info.job in self.errand.jobs:
                self._take_result(self.errand, result)
                return True
            case TurnedDown(job=job, error=error):
                return self._turned_down(job, error)
            case JobChanged(info=info) if self.loaded:
                self._merge(info)
                return False
        self.revision = before
        return False

    def down(self) -> None:
        self._list_asked = False
        self._deleting = dict.fromkeys(self._deleting, False)
        self._coming.clear()
        if self.errand is not None:
            self.errand.asked = False

    def give_up(self) -> None:
        if self._list_wanted or self._deleting or self.errand is not None:
            self.error = EngineGone("The engine stopped before this was done.", "Try again: it is started then.")
        self._list_wanted, self.errand = False, None
        self._deleting.clear()
        self._coming.clear()
        self._without.update(filter(None, map(self.picture_of, self.jobs)))
        self.revision += 1

    # --- the list ----------------------------------------------------------------------------------------------
    def _take_page(self, jobs: tuple[JobInfo, ...], before: str | None, more: bool) -> None:
        if before is None:
            self.jobs = jobs
        else:
            known = {info.job for info in self.jobs}
            self.jobs += tuple(info for info in jobs if info.job not in known)
        here = {info.job for info in jobs}
        for job in [job for job, asked in self._deleting.items() if asked and job not in here]:
            del self._deleting[job]
        self.more, self.loaded = more, True
        if before == self._before:
            self._list_wanted = False
        self._without.clear()

    def _merge(self, info: JobInfo) -> None:
        known = self.find(info.job)
        if known is None:
            self.jobs = (info, *self.jobs)
        elif known.revision <= info.revision:
            self.jobs = tuple(info if one.job == info.job else one for one in self.jobs)

    def _turned_down(self, job: str, error: BridgeError) -> bool:
        if job == "" and self._list_wanted:
            self._list_wanted, self.error = False, error
        elif job in self._deleting:
            del self._deleting[job]
            self.error = error
        elif self.errand is not None and job in self.errand.jobs:
            self.errand, self.error = None, error
        elif job in self._coming:
            self._without.add(self._coming.pop(job))
        else:
            return False
        return True

    # --- pictures ----------------------------------------------------------------------------------------------
    def _next_picture(self) -> JobInfo | None:
        for info in self.jobs:
            sha256 = self.picture_of(info)
            if sha256 and sha256 not in self.pictures and sha256 not in self._without and info.job not in self._coming:
                return info
        return None

    def _take_picture(self, result: Result) -> None:
        sha256 = self._coming.pop(result.info.job)
        if PICTURE not in result.data:
            self._without.add(sha256)
            return
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="slipcast-"))
            path = self._folder / f"{sha256}.png"
            path.write_bytes(result.data[PICTURE])
        except OSError as error:     # a list without pictures is as good
            log.warning("a picture of the history cannot be kept: %s", error)
            self._without.add(sha256)
            return
        self.pictures[sha256] = path

    # --- errands -----------------------------------------------------------------------------------------------
    def _advance_errand(self, errand: Errand, client: Client) -> None:
        if not errand.asked:
            errand.asked = True
            for job in dict.fromkeys(errand.jobs):
                if job not in errand.results:
                    client.fetch(job, errand.names)
        if errand.working is None and all(job in errand.results for job in errand.jobs):
            results = [errand.results[job] for job in errand.jobs]
            errand.working = BackgroundCall(lambda: errand.work(results), "result")
        if errand.working is not None and errand.working.done:
            self._finish(errand, errand.working)

    def _finish(self, errand: Errand, working: BackgroundCall[Any]) -> None:
        try:
            made = working.result()
            before, errand.waiting_for = errand.waiting_for, errand.why_not_now()
            if errand.waiting_for:
                self.revision += errand.waiting_for != before
                return
            errand.finish(made)
        except BridgeError as error:
            self.error = error
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:   # what Blender raises
            log.exception("%s", errand.words)
            self.error = InternalError(f"{errand.words}: {error}.", "Blender's terminal says more.")
        self.errand = None
        self.revision += 1

    def _take_result(self, errand: Errand, result: Result) -> None:
        missing = [name for name in MESH_NAMES if name not in result.data]
        if missing:
            self.errand = None
            self.error = UnknownJob(f"{result.info.label or 'This job'} ({result.info.state}) has no result.",
                                    "Choose one that is done.")
            return
        errand.results[result.info.job] = result


def differing_settings(one: JobInfo, other: JobInfo) -> tuple[str, str]:
    """The settings in which two jobs differ, for each of them: "seed 3, quality draft"."""
    names = [name for name in {**one.settings, **other.settings}
             if one.settings.get(name) != other.settings.get(name)]
    texts = [", ".join(f"{name} {info.settings[name]}" for name in names if name in info.settings)
             for info in (one, other)]
    return texts[0], texts[1]
