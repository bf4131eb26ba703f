"""The connection file is private, whole or not there, and checked when it is read."""
from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from slipcast.bridge.connection import Connection, default_connection_path, read_connection, write_connection
from slipcast.bridge.errors import BadHeader, EngineNotFound

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
CONNECTION = Connection("tcp://127.0.0.1:5001", "tcp://127.0.0.1:5002", KEY, KEY, KEY, 4711, "e-1", "0.1.0")

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


def test_what_was_written_is_read(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "engine.json"
    write_connection(path, CONNECTION)
    assert read_connection(path) == CONNECTION
    assert [child.name for child in path.parent.iterdir()] == ["engine.json"]


@posix_only
def test_the_file_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path):
    path = tmp_path / "slipcast" / "engine.json"
    before = os.umask(0)
    try:
        write_connection(path, CONNECTION)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix_only
def test_it_is_private_before_the_key_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modes = []
    real_fsync = os.fsync

    def look(handle: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        real_fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    write_connection(tmp_path / "engine.json", CONNECTION)
    assert modes == [0o600]


@posix_only
def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path):
    target, path = tmp_path / "target", tmp_path / "engine.json"
    target.write_text("untouched")
    path.symlink_to(target)
    write_connection(path, CONNECTION)
    assert target.read_text() == "untouched"
    assert not path.is_symlink()
    assert read_connection(path) == CONNECTION


@posix_only
def test_a_link_planted_where_the_draft_will_be_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "guessed")
    target = tmp_path / "target"
    (tmp_path / ".engine.json.guessed").symlink_to(target)
    with pytest.raises(FileExistsError):
        write_connection(tmp_path / "engine.json", CONNECTION)
    assert not target.exists()


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "engine.json"
    write_connection(path, CONNECTION)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_connection(path, dataclasses.replace(CONNECTION, epoch="e-2"))
    assert [child.name for child in tmp_path.iterdir()] == ["engine.json"]
    assert read_connection(path).epoch == "e-1"


def test_no_file_means_no_engine(tmp_path: Path):
    with pytest.raises(EngineNotFound):
        read_connection(tmp_path / "away.json")
    with pytest.raises(EngineNotFound):
        read_connection(tmp_path)


@pytest.mark.parametrize("change", [
    {"ctl": "ipc:///tmp/x"}, {"blob": "http://127.0.0.1"}, {"server_public": KEY[1:]}, {"client_secret": ""},
    {"pid": "4711"}, {"pid": -1}, {"epoch": None}, {"more": 1},
])
def test_a_file_with_wrong_content_is_bad_header(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(dataclasses.asdict(CONNECTION) | change))
    with pytest.raises(BadHeader, match=r"engine\.json"):
        read_connection(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}" + b" " * 20_000])
def test_a_file_that_is_no_connection_file_is_bad_header(tmp_path: Path, content: bytes):
    path = tmp_path / "engine.json"
    path.write_bytes(content)
    with pytest.raises(BadHeader):
        read_connection(path)


def test_the_secret_is_in_no_repr():
    assert KEY not in repr(CONNECTION)
    assert KEY not in str(CONNECTION)


def test_the_default_place_is_in_the_home_folder():
    assert Path.home() in default_connection_path().parents
