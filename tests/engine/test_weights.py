"""Weights come whole or not at all: from servers that drop, lie, corrupt and refuse, from disks that are full."""
from __future__ import annotations

import errno
import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lying_server import Behaviour, serving
from scenes import make_stage

from slipcast.bridge.errors import (
    BadOutput,
    BadSettings,
    BadWeights,
    Cancelled,
    Conflict,
    NoNetwork,
    NoSpace,
    WeightsMissing,
)
from slipcast.engine.__main__ import main
from slipcast.engine.models import download
from slipcast.engine.models.download import Patience
from slipcast.engine.models.spec import ModelSpec, WeightFile, knob
from slipcast.engine.models.weights import Source, WeightStore, address_at

CONTENT = hashlib.shake_256(b"weights").digest(3_000_000)


@pytest.fixture()
def server() -> Iterator[tuple[Behaviour, str]]:
    with serving(CONTENT) as served:
        yield served


@dataclass(frozen=True)
class NoSettings:
    size: int = knob(1, "nothing", label="Size")


def spec_of(content: bytes = CONTENT, url: str = "https://example.org/models/a.ckpt") -> ModelSpec:
    return ModelSpec(name="toy", title="Toy", licence="MIT", licence_url="https://example.org", commercial_use=True,
                     ram_bytes=1, vram_bytes=1, stages=(), settings=NoSettings,
                     files=(WeightFile("a.ckpt", len(content), hashlib.sha256(content).hexdigest(), url),))


SPEC = spec_of()
FAST = Patience(tries=3, pause_s=0.01, timeout_s=2.0, poll_s=0.02)


@pytest.fixture()
def store(tmp_path: Path) -> WeightStore:
    return WeightStore(tmp_path / "models", FAST)


def files_below(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def fetch(store: WeightStore, url: str, spec: ModelSpec = SPEC) -> None:
    store.fetch(spec, Source(mirror=url), make_stage())


def test_a_file_is_fetched_verified_and_then_left_alone(server, store, tmp_path: Path):
    behaviour, url = server
    with pytest.raises(WeightsMissing, match="models fetch toy"):
        store.files(SPEC)
    stage = make_stage()
    store.fetch(SPEC, Source(mirror=url), stage)
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT
    assert files_below(tmp_path) == {"a.ckpt": len(CONTENT)}
    store.verify(SPEC, make_stage())
    fetch(store, url)
    assert len(behaviour.asked) == 1 and stage.total == 3


def test_a_server_that_drops_the_connection_is_asked_for_the_rest(server, store):
    behaviour, url = server
    behaviour.drops = [500_000, 1_000_000, 0, 1]
    fetch(store, url)
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT
    assert behaviour.asked == [None, "bytes=500000-", "bytes=1500000-", "bytes=1500000-", "bytes=1500001-"]


def test_a_server_that_never_gets_further_ends_in_no_network_and_the_part_is_kept(server, store, tmp_path: Path):
    behaviour, url = server
    behaviour.drops = [700_000, *[0] * 10]
    with pytest.raises(NoNetwork, match=r"1 of 3 MB are here.*goes on from there"):
        fetch(store, url)
    assert files_below(tmp_path) == {"a.ckpt.part": 700_000}
    assert len(behaviour.asked) == 1 + FAST.tries
    with pytest.raises(WeightsMissing, match="1 MB of it are"):
        store.files(SPEC)
    behaviour.drops = []
    fetch(store, url)
    assert behaviour.asked[-1] == "bytes=700000-"
    assert files_below(tmp_path) == {"a.ckpt": len(CONTENT)}


def test_a_server_that_cannot_continue_begins_again(server, store):
    behaviour, url = server
    behaviour.drops, behaviour.ranges = [500_000], False
    fetch(store, url)
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_a_server_that_refuses_to_continue_is_asked_for_the_whole(server, store, tmp_path: Path):
    behaviour, url = server
    part = tmp_path / "models" / "toy" / "a.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    behaviour.status = [416]
    fetch(store, url)
    assert behaviour.asked == ["bytes=1000-", None]
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


@pytest.mark.parametrize("said", [2_999_999, 4_000_000])
def test_a_server_that_lies_about_the_length_is_not_believed(server, store, tmp_path: Path, said: int):
    behaviour, url = server
    behaviour.length = said
    with pytest.raises(BadWeights, match=f"{said} bytes"):
        fetch(store, url)
    assert files_below(tmp_path) == {}


def test_a_body_that_does_not_end_is_cut_off(server, store, tmp_path: Path):
    behaviour, url = server
    behaviour.chunked, behaviour.content = True, CONTENT * 4
    with pytest.raises(BadWeights, match="sends more than"):
        fetch(store, url)
    assert files_below(tmp_path) == {}


def test_a_server_that_says_no_length_is_good_enough(server, store):
    behaviour, url = server
    behaviour.chunked = True
    fetch(store, url)
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_corrupted_bytes_are_not_kept(server, store, tmp_path: Path):
    behaviour, url = server
    behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(BadWeights, match=r"not the file .* Nothing was kept"):
        fetch(store, url)
    assert files_below(tmp_path) == {}


def test_a_bad_part_of_an_earlier_download_is_thrown_away_and_all_is_fetched_again(server, store, tmp_path: Path):
    behaviour, url = server
    part = tmp_path / "models" / "toy" / "a.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1_000_000))
    fetch(store, url)
    assert behaviour.asked == ["bytes=1000000-", None]
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_a_busy_server_is_tried_again_a_missing_file_is_not(server, store):
    behaviour, url = server
    behaviour.status = [503, 429]
    fetch(store, url)
    store.remove(SPEC)
    behaviour.status, behaviour.asked[:] = [404, 404], []
    with pytest.raises(NoNetwork, match="HTTP 404"):
        fetch(store, url)
    assert len(behaviour.asked) == 1


def test_a_redirect_is_followed_and_keeps_the_range(server, store):
    behaviour, url = server
    behaviour.drops = [400_000]
    fetch(store, f"{url}/moved")
    assert behaviour.asked == [None, None, "bytes=400000-", "bytes=400000-"]
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_nobody_there_is_no_network(store, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
    with pytest.raises(NoNetwork, match=r"0 of 3 MB"):
        fetch(store, f"http://127.0.0.1:{port}")
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("when", ["silent", "between"])
def test_cancel_ends_a_download_within_a_second_and_keeps_the_part(server, store, tmp_path: Path, when: str):
    behaviour, url = server
    if when == "silent":
        behaviour.stall = threading.Event()
    else:
        behaviour.drops = [100_000, *[0] * 1000]
        store = WeightStore(tmp_path / "models", replace(FAST, tries=1000, pause_s=30.0))
    cancelled = threading.Event()
    stage = make_stage(is_cancelled=cancelled.is_set)
    threading.Timer(0.5, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        store.fetch(SPEC, Source(mirror=url), stage)
    assert 0.4 < time.monotonic() - started < 1.5
    assert files_below(tmp_path) == {"a.ckpt.part": 100_000}


def test_offline_never_opens_a_connection(server, store):
    behaviour, url = server
    with pytest.raises(NoNetwork, match=r"online is switched off.*preferences"):
        store.fetch(SPEC, Source(mirror=url, offline=True), make_stage())
    assert behaviour.asked == []


def test_a_disk_without_room_is_told_before_the_download(server, store, tmp_path: Path, monkeypatch):
    behaviour, url = server
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2_000_000))
    with pytest.raises(NoSpace, match=r"needs 3 MB, and 2 MB are free"):
        fetch(store, url)
    assert behaviour.asked == [] and files_below(tmp_path) == {}


def test_a_disk_that_becomes_full_leaves_nothing_behind(server, store, tmp_path: Path, monkeypatch):
    _, url = server
    plain_open = Path.open

    class Full:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, block):
            if self._file.tell() > 1_000_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(block)

    monkeypatch.setattr(Path, "open", lambda self, mode="r", *rest: Full(plain_open(self, mode, *rest))
                        if self.suffix == ".part" and mode == "ab" else plain_open(self, mode, *rest))
    with pytest.raises(NoSpace, match="became full"):
        fetch(store, url)
    assert files_below(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_said_so(server, tmp_path: Path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(BadOutput, match="Choose another folder"):
        fetch(WeightStore(tmp_path / "models", FAST), server[1])


def test_two_do_not_fetch_the_same_model_at_once(server, store):
    behaviour, url = server
    behaviour.stall = threading.Event()
    first = threading.Thread(target=fetch, args=(store, url))
    first.start()
    while not behaviour.asked:
        time.sleep(0.01)
    with pytest.raises(Conflict, match="already"):
        fetch(store, url)
    behaviour.stall.set()
    first.join()
    assert store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_verify_sees_a_single_bit_and_files_sees_another_size(server, store):
    fetch(store, server[1])
    path = store.files(SPEC)["a.ckpt"]
    spoiled = bytearray(CONTENT)
    spoiled[1234567] ^= 16
    path.write_bytes(spoiled)
    with pytest.raises(BadWeights, match=r"damaged.*models remove toy"):
        store.verify(SPEC, make_stage())
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(BadWeights, match="2,999,995 bytes instead of 3,000,000"):
        store.files(SPEC)
    fetch(store, server[1])     # replaces what is damaged
    store.verify(SPEC, make_stage())


def test_files_that_one_has_are_copied_and_checked(store, tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(WeightsMissing, match="no file"):
        store.adopt(SPEC, mine, make_stage())
    (mine / "a.ckpt").write_bytes(CONTENT[:-1])
    with pytest.raises(BadWeights, match="2,999,999 bytes"):
        store.adopt(SPEC, mine / "a.ckpt", make_stage())
    (mine / "a.ckpt").write_bytes(bytes(len(CONTENT)))
    with pytest.raises(BadWeights, match="Nothing was kept"):
        store.adopt(SPEC, mine, make_stage())
    assert files_below(tmp_path / "models") == {}
    (mine / "a.ckpt").write_bytes(CONTENT)
    store.adopt(SPEC, mine, make_stage())
    assert (mine / "a.ckpt").exists() and store.files(SPEC)["a.ckpt"].read_bytes() == CONTENT


def test_remove_takes_parts_too(server, store, tmp_path: Path):
    fetch(store, server[1])
    (tmp_path / "models" / "toy" / "a.ckpt.part").write_bytes(b"123")
    assert store.remove(SPEC) == len(CONTENT) + 3
    assert files_below(tmp_path) == {} and store.remove(SPEC) == 0


@pytest.mark.parametrize(("mirror", "wanted"), [
    ("", "https://example.org/models/a.ckpt"), ("http://127.0.0.1:80", "http://127.0.0.1:80/models/a.ckpt"),
    ("https://mirror.example/deep/", "https://mirror.example/deep/models/a.ckpt")])
def test_a_mirror_stands_for_the_host(mirror: str, wanted: str):
    assert address_at(SPEC.files[0].url, mirror) == wanted


@pytest.mark.parametrize("mirror", ["ftp://example.org", "file:///etc", "example.org", "/home"])
def test_what_is_no_web_address_is_no_mirror(mirror: str):
    with pytest.raises(BadSettings):
        address_at(SPEC.files[0].url, mirror)


def test_the_default_patience_sees_a_cancellation_in_time():
    assert Patience().poll_s <= 0.2 and download.Patience is Patience


# the command

def test_the_command_lists_verifies_and_removes(tmp_path: Path, capfd):
    folder = str(tmp_path / "models")
    assert main(["models", "list", "--folder", folder]) == 0
    out = capfd.readouterr().out
    assert "triposr: TripoSR, licence MIT" in out and "1,677 MB" in out and "not fetched" in out
    assert "needs 3.0 GB of memory on the CPU or 4.0 GB on a GPU;" in out
    assert "needs 0.6 GB of memory on the CPU;" in out
    for action in ("verify", "remove"):
        assert main(["models", action, "triposr", "--folder", folder]) == 1
    assert main(["models", "fetch", "triposr", "--offline", "--folder", folder]) == 1
    assert "switched off" in capfd.readouterr().err
    assert main(["models", "fetch", "nosuch", "--folder", folder]) == 2
    assert "Known: triposr, silhouette, u2net" in capfd.readouterr().err
    (tmp_path / "model.ckpt").write_bytes(b"short")
    assert main(["models", "fetch", "triposr", "--from", str(tmp_path), "--folder", folder]) == 1
    assert "5 bytes" in capfd.readouterr().err
    assert files_below(tmp_path / "models") == {}
