"""The weights of models on this disk: what is there, fetch, adopt, verify, remove. Torch-free.

    FOLDER/<model>/<file>           whole and verified when it came; appears under this name in one step
    FOLDER/<model>/<file>.part      what a broken download has brought so far; never read as weights
"""
from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ...bridge.errors import BadOutput, BadSettings, BadWeights, Conflict, NoNetwork, NoSpace, WeightsMissing
from ..pipeline.progress import Stage
from ..server.datalock import try_lock
from .download import Patience, download, size_of
from .spec import MB, ModelSpec, WeightFile

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 64 * MB      # left free on the disk
_PATIENCE = Patience()


@dataclass(frozen=True)
class Source:
    """Where to fetch from. mirror: "https://host[/path]" that stands for the host of the files' own addresses;
    offline: no network may be used (Blender's switch, or --offline)."""

    mirror: str = ""
    offline: bool = False


@dataclass(frozen=True)
class FileState:
    """state: "missing", "partial" (a download to go on with), "damaged" (another size), "ready"."""

    file: WeightFile
    state: str
    bytes_there: int


class WeightStore:
    """folder: of all models; it need not exist. patience: of downloads."""

    def __init__(self, folder: Path, patience: Patience = _PATIENCE) -> None:
        self._folder, self._patience = folder, patience

    def path(self, spec: ModelSpec, file: WeightFile) -> Path:
        """Where a file is, or will be."""
        return self._folder / spec.name / file.name

    def states(self, spec: ModelSpec) -> tuple[FileState, ...]:
        """Of each file, by its size alone; see verify."""
        return tuple(self._state(spec, file) for file in spec.files)

    def _state(self, spec: ModelSpec, file: WeightFile) -> FileState:
        path = self.path(spec, file)
        if path.is_file():
            size = size_of(path)
            return FileState(file, "ready" if size == file.size_bytes else "damaged", size)
        partial = size_of(_part(path))
        return FileState(file, "partial" if partial else "missing", partial)

    def files(self, spec: ModelSpec) -> dict[str, Path]:
        """Name -> path of all files, for SingleImageModel.load. Raises WeightsMissing, BadWeights (another size)."""
        for found in self.states(spec):
            if found.state == "damaged":
                raise BadWeights(f"{found.file.name} of {spec.title} has {found.bytes_there:,} bytes instead of "
                                 f"{found.file.size_bytes:,}.", _fetch_hint(spec))
            if found.state != "ready":
                part = f" ({found.bytes_there / MB:,.0f} MB of it are)" if found.bytes_there else ""
                raise WeightsMissing(f"{found.file.name} of {spec.title} is not on this computer yet{part}.",
                                     f"{_fetch_hint(spec)} It is {spec.download_bytes / MB:,.0f} MB.")
        return {file.name: self.path(spec, file) for file in spec.files}

    def verify(self, spec: ModelSpec, stage: Stage) -> None:
        """Read all files and compare their digests. Raises WeightsMissing, BadWeights, Cancelled."""
        paths = self.files(spec)
        stage.total = -(-spec.download_bytes // MB)
        for file in spec.files:
            if digest_of(paths[file.name], stage) != file.sha256:
                raise BadWeights(f"{file.name} of {spec.title} is damaged: these are not its author's bytes.",
                                 f"Remove it with `models remove {spec.name}`, then fetch it again.")

    def fetch(self, spec: ModelSpec, source: Source, stage: Stage) -> None:
        """Download what is missing or damaged; each file is verified before it gets its name, and so are those that
        are here already.

        Raises NoNetwork, NoSpace, BadWeights, BadOutput, BadSettings (mirror), Conflict (somebody fetches it already),
        Cancelled. What stays after NoNetwork and Cancelled is a part, to go on with.
        """
        stage.total = -(-spec.download_bytes // MB)
        wanted = [found for found in self.states(spec) if found.state != "ready"
                  or digest_of(self.path(spec, found.file), stage) != found.file.sha256]
        if not wanted:
            return
        if source.offline:
            raise NoNetwork(f"{spec.title} is not on this computer, and going online is switched off.",
                            "Allow online access in Blender's preferences (System), or give the files themselves.")
        missing = sum(found.file.size_bytes - (found.bytes_there if found.state == "partial" else 0)
                      for found in wanted)

        def fill(file: WeightFile, part: Path) -> None:
            resumed = part.exists()
            download(file, address_at(file.url, source.mirror), part, stage, self._patience)
            if resumed and digest_of(part, stage) != file.sha256:
                # the part may have been the bad half: once more, all of it
                part.unlink()
                download(file, address_at(file.url, source.mirror), part, stage, self._patience)

        self._bring(spec, [found.file for found in wanted], missing, fill, stage)

    def adopt(self, spec: ModelSpec, place: Path, stage: Stage) -> None:
        """Copy files that the person has already. place: the file, or a folder that holds all of them by name.

        Raises WeightsMissing (not at that place), BadWeights (another file), NoSpace, BadOutput, Conflict, Cancelled.
        """
        given = {file: place / file.name if place.is_dir() or len(spec.files) > 1 else place for file in spec.files}
        for file, path in given.items():
            if not path.is_file():
                raise WeightsMissing(f"There is no file {path}.", f"Give {file.name}, or the folder it is in.")
            if size_of(path) != file.size_bytes:
                raise BadWeights(f"{path.name} has {size_of(path):,} bytes; {file.name} of {spec.title} has "
                                 f"{file.size_bytes:,}.", f"Download it again from {file.url}.")
        stage.total = -(-spec.download_bytes // MB)

        def fill(file: WeightFile, part: Path) -> None:
            with given[file].open("rb") as source, part.open("wb") as out:
                while block := source.read(_BLOCK_BYTES):
                    stage.check()
                    out.write(block)

        self._bring(spec, list(given), spec.download_bytes, fill, stage)

    def remove(self, spec: ModelSpec) -> int:
        """Delete the files, parts too. Returns the bytes that this frees. Raises BadOutput."""
        freed = 0
        try:
            for file in spec.files:
                for path in (self.path(spec, file), _part(self.path(spec, file))):
                    freed += size_of(path)
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise BadOutput(f"{error.filename} cannot be removed ({error.strerror}).",
                            "End the engine that uses it, and try again.") from error
        return freed

    def _bring(self, spec: ModelSpec, files: list[WeightFile], needed: int,
               fill: Callable[[WeightFile, Path], None], stage: Stage) -> None:
        """Fill a part for each file, verify it and give it its name. Alone: one process at a time."""
        folder = self._folder / spec.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("a+b")
        except OSError as error:
            raise BadOutput(f"{folder} cannot be written ({error.strerror}).",
                            "Choose another folder for the models.") from error
        with lock:
            if not try_lock(lock):
                raise Conflict(f"{spec.title} is being fetched already.", "Wait for that, or cancel it first.")
            free = shutil.disk_usage(folder).free
            if free < needed + _SPARE_BYTES:
                raise NoSpace(f"{spec.title} needs {needed / MB:,.0f} MB, and {free / MB:,.0f} MB are free in "
                              f"{self._folder}.", "Make room, or choose another folder for the models.")
            for file in files:
                self._bring_one(spec, file, fill, stage)

    def _bring_one(self, spec: ModelSpec, file: WeightFile, fill: Callable[[WeightFile, Path], None],
                   stage: Stage) -> None:
        path = self.path(spec, file)
        part = _part(path)
        try:
            fill(file, part)
            right = digest_of(part, stage) == file.sha256
            if right:
                part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BadOutput(f"{path} cannot be written ({error.strerror}).",
                            "Choose another folder for the models.") from error
        if not right:
            part.unlink()
            raise BadWeights(f"What came as {file.name} is not the file that its author published. Nothing was kept.",
                             "Fetch it again, or from another place.")


def digest_of(path: Path, stage: Stage) -> str:
    """The sha256 of a file, as hex; stage counts its megabytes. Raises Cancelled."""
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            read += len(block)
            stage.check()
            stage.done = read // MB
        stage.report()
    return digest.hexdigest()


def address_at(url: str, mirror: str) -> str:
    """The address of a file on a mirror; without one, its own. Raises BadSettings when it is not http or https."""
    parts, other = urlsplit(url), urlsplit(mirror.rstrip("/"))
    if mirror:
        if other.scheme not in ("http", "https") or not other.netloc:
            raise BadSettings(f"{mirror!r} is no address of a mirror.", "It looks like https://example.org.")
        parts = parts._replace(scheme=other.scheme, netloc=other.netloc, path=other.path + parts.path)
    if parts.scheme not in ("http", "https"):
        raise BadSettings(f"{url!r} cannot be downloaded: it is neither http nor https.")
    return urlunsplit(parts)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _fetch_hint(spec: ModelSpec) -> str:
    return f"Fetch it in the panel, or with `python -m slipcast.engine models fetch {spec.name}`."
