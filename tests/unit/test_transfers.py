"""Transfers: credits pace them, order is kept, the file must stay what it was, and damage is noticed."""
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.bridge.errors import BadFolder, BadFrame, Cancelled
from slipcast.bridge.messages import Chunk, Credit, Fetch, Put
from slipcast.bridge.transfers import Download, Upload, hash_source, read_part

HASH = "0123456789abcdef" * 4


def upload_of(data: bytes) -> Upload:
    return Upload(hashlib.sha256(data).hexdigest(), len(data), data, "a.png", "c-1")


@given(st.binary(max_size=300), st.integers(1, 50), st.integers(1, 6), st.integers(0, 300))
@settings(deadline=None)
def test_what_goes_up_comes_down_whole_and_credits_are_never_exceeded(data: bytes, chunk_bytes: int, credits: int,
                                                                      offset: int):
    offset = min(offset, len(data))
    upload, download = upload_of(data), Download(HASH, len(data), "c-2")
    download.on_ready(len(data))
    if offset:
        download.on_chunk(0, memoryview(data)[:offset])        # what the engine kept of an earlier upload
    assert upload.next_part(chunk_bytes) is None               # nothing before the engine is ready
    upload.on_ready(offset, credits)
    allowed, sent = credits, 0
    while download.missing:
        part = upload.next_part(chunk_bytes)
        assert part is not None
        sent += 1
        assert sent <= allowed
        chunk = upload.chunk_of(part[0])
        answer = download.on_chunk(chunk.offset, memoryview(read_part(data, "a.png", *part)))
        assert answer == Credit(HASH, 1)
        upload.on_credit(answer.credits)
        allowed += 1
    assert upload.next_part(chunk_bytes) is None
    assert download.data() == data
    assert sent == -(-(len(data) - offset) // chunk_bytes)


def test_without_credit_nothing_is_sent():
    upload = upload_of(bytes(100))
    upload.on_ready(0, 2)
    assert [upload.next_part(10) for _ in range(3)] == [(0, 10), (10, 10), None]
    upload.on_credit(1)
    assert [upload.next_part(10) for _ in range(2)] == [(20, 10), None]


def test_the_messages_of_a_transfer_name_its_blob():
    upload = upload_of(b"abc")
    assert upload.put() == Put(upload.sha256, 3)
    assert upload.chunk_of(2) == Chunk(upload.sha256, 2)
    assert Download(HASH, 3, "c-1").fetch(4) == Fetch(HASH, 4)


def test_an_engine_that_wants_bytes_beyond_the_end_is_refused():
    with pytest.raises(BadFrame):
        upload_of(b"abc").on_ready(4, 1)


def test_a_download_takes_no_gap_no_repeat_and_no_byte_too_many():
    download = Download(HASH, 10, "c-1")
    with pytest.raises(BadFrame):
        download.on_chunk(0, memoryview(b"xx"))        # before it was announced
    with pytest.raises(BadFrame):
        download.on_ready(11)
    download.on_ready(10)
    download.on_chunk(0, memoryview(b"0123"))
    for offset, data in ((0, b"0123"), (5, b"5"), (4, b"4567890")):
        with pytest.raises(BadFrame):
            download.on_chunk(offset, memoryview(data))
    assert (download.received, download.missing) == (4, 6)
    download.on_chunk(4, memoryview(b"456789"))
    assert download.data() == b"0123456789"


def test_an_empty_blob_is_complete_when_it_is_announced():
    download = Download(HASH, 0, "c-1")
    assert download.missing
    download.on_ready(0)
    assert not download.missing
    assert download.data() == b""


def test_bytes_and_files_have_the_same_hash(tmp_path: Path):
    data = bytes(range(256)) * 9000        # more than two blocks
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert hash_source(path, "a.png") == hash_source(data, "a.png") == (hashlib.sha256(data).hexdigest(), len(data))
    assert read_part(path, "a.png", 1000, 77) == read_part(data, "a.png", 1000, 77) == data[1000:1077]


def test_an_input_that_is_away_or_shorter_than_before_is_bad_folder(tmp_path: Path):
    path = tmp_path / "a.png"
    for attempt in (lambda: hash_source(path, "images/a.png"), lambda: read_part(path, "images/a.png", 0, 1)):
        with pytest.raises(BadFolder, match=r"images/a\.png cannot be read"):
            attempt()
    path.write_bytes(b"abc")
    with pytest.raises(BadFolder, match=r"images/a\.png changed"):
        read_part(path, "images/a.png", 0, 4)


def test_hashing_can_be_stopped(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(3 * 1024 * 1024))
    asked = []
    with pytest.raises(Cancelled):
        hash_source(path, "a.png", lambda: len(asked) == 1 or bool(asked.append(1)))
    assert len(asked) == 1       # stopped at the second block of three
