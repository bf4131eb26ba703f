"""Messages survive the way there; anything else is refused with a ProtocolError, in bounded time and memory."""
from __future__ import annotations

import dataclasses
import json
import tracemalloc
import types
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.bridge import PROTOCOL_VERSION, messages, model_messages
from slipcast.bridge.arrays import describe_buffer, sha256_hex
from slipcast.bridge.codec import (
    BLOB_FROM_CLIENT,
    BLOB_FROM_ENGINE,
    CTL_FROM_CLIENT,
    CTL_FROM_ENGINE,
    Envelope,
    decode,
    decode_body,
    decode_header,
    encode,
    wire_name,
)
from slipcast.bridge.errors import BadFrame, BadHeader, ProtocolError, TooLarge, VersionMismatch
from slipcast.bridge.messages import BufferSpec, Chunk, InputRef, JobInfo, Limits, Preview, Progress, Submit

ALL = {**CTL_FROM_CLIENT, **CTL_FROM_ENGINE, **BLOB_FROM_CLIENT, **BLOB_FROM_ENGINE}
JOB, HASH = "0123456789abcdef" * 2, "0123456789abcdef" * 4

# --- messages of every kind, made from the type hints --------------------------------------------------------------
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
hex_digits = "0123456789abcdef"
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63 + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6)
NAMED = {
    "job": st.text(hex_digits, min_size=32, max_size=32),
    "source": st.text(hex_digits, min_size=32, max_size=32),
    "before": st.text(hex_digits, min_size=32, max_size=32),
    "sha256": st.text(hex_digits, min_size=64, max_size=64),
    "model": st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,39}\Z"),
    "label": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
}
CHOSEN = {(JobInfo, "state"): st.sampled_from(messages.JOB_STATES),
          (messages.EngineState, "state"): st.sampled_from(["starting", "ready", "failed"]),
          (model_messages.ModelProgress, "state"): st.sampled_from(["running", "done", "failed", "cancelled"])}


def values_of(hint: Any, name: str) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is str:
        return NAMED.get(name, text)
    if dataclasses.is_dataclass(hint):
        return instances_of(hint)
    if origin is tuple:
        return st.lists(values_of(arguments[0], name), max_size=3).map(tuple)
    if origin is types.UnionType:
        return st.none() | values_of(arguments[0], name)
    if origin is Mapping:
        return st.dictionaries(text, plain, max_size=3)
    return {int: st.integers(0, 2**63 - 1), bool: st.booleans(),
            float: st.floats(allow_nan=False, allow_infinity=False)}[hint]


def instances_of(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    chosen = {name: values for (owner, name), values in CHOSEN.items() if owner is kind}
    return st.builds(kind, **{knob.name: values_of(hints[knob.name], knob.name)
                              for knob in dataclasses.fields(kind) if knob.name not in chosen}, **chosen)


@st.composite
def envelopes(draw: st.DrawFn, kinds: tuple[type, ...] = tuple(ALL.values())) -> Envelope:
    """A message with frames that fit it."""
    message = draw(instances_of(draw(st.sampled_from(kinds))))
    frames: tuple[memoryview, ...] = ()
    if isinstance(message, Chunk):
        frames = (memoryview(draw(st.binary(min_size=1, max_size=50))),)
    elif isinstance(message, Preview):
        data = draw(st.lists(st.binary(max_size=4).map(lambda piece: piece * 8), max_size=3))
        frames = tuple(memoryview(item) for item in data)
        specs = tuple(BufferSpec("f8", (len(item) // 8,), sha256_hex(item)) for item in data)
        message = dataclasses.replace(message, buffers=specs)
    ids = st.text("abcXYZ019-_", min_size=1, max_size=64) | st.just("")
    return Envelope(message, draw(ids), draw(ids), frames)


@given(envelopes())
@settings(deadline=None, max_examples=200)
def test_every_message_survives_the_way_there(sent: Envelope):
    parts = encode(sent.message, id=sent.id, re=sent.re, frames=sent.frames)
    assert decode([bytes(part) for part in parts], ALL) == sent


def test_every_message_of_messages_py_has_a_socket_that_takes_it():
    nouns = {"Limits", "BufferSpec", "InputRef", "Artefact", "ErrorInfo", "ModelInfo"}       # parts of messages
    known = {**vars(messages), **vars(model_messages)}
    kinds = {name for name, kind in known.items() if dataclasses.is_dataclass(kind)} - nouns
    assert {kind.__name__ for kind in ALL.values()} == kinds


def test_wire_names_are_snake_case():
    assert wire_name(messages.NeedBlobs) == "need_blobs"
    assert wire_name(messages.Hello) == "hello"


def test_absent_fields_take_their_defaults():
    [raw] = encode(messages.ListJobs())
    header = json.loads(bytes(raw))
    del header["body"]
    assert decode([json.dumps(header).encode()], CTL_FROM_CLIENT).message == messages.ListJobs(limit=100)


# --- hostile input ---------------------------------------------------------------------------------------------------
def submit_header(**changes: Any) -> dict[str, Any]:
    [raw] = encode(Submit(JOB, "views", {"seed": 1}, (InputRef("a.png", HASH, 3),)), id="c-1")
    return json.loads(bytes(raw)) | changes


def read(raw: bytes, *frames: bytes) -> Envelope:
    return decode([raw, *frames], ALL)


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(deadline=None, max_examples=200)
def test_random_bytes_are_refused_and_nothing_else_happens(parts: list[bytes]):
    with pytest.raises(ProtocolError):
        decode(parts, ALL)


@given(envelopes(), st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_message_is_read_or_refused(sent: Envelope, data: st.DataObject):
    parts = [bytearray(part) for part in encode(sent.message, id=sent.id, frames=sent.frames)]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from([part for part in parts if part] or [bytearray(b"x")]))
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    if cut:
        del parts[0][-cut:]
    try:
        read_back = decode([bytes(part) for part in parts], ALL)
    except ProtocolError:
        return
    assert type(read_back.message) in ALL.values()


@given(st.sampled_from(sorted(ALL)),
       st.dictionaries(text | st.sampled_from(["job", "sha256", "state", "buffers"]), plain))
@settings(deadline=None, max_examples=200)
def test_any_json_as_a_body_is_read_or_refused(kind: str, body: dict[str, Any]):
    raw = json.dumps({"v": PROTOCOL_VERSION, "type": kind, "body": body}).encode()
    try:
        assert type(read(raw).message) is ALL[kind]
    except ProtocolError as error:
        assert isinstance(error, (BadHeader, BadFrame))


@pytest.mark.parametrize("raw", [
    b"", b"not json", b"[]", b"1", b"null", b'"text"', b"\xff\xfe", b"{",
    b"[" * 100_000, b'{"v":' * 100_000, b'{"v":3,"type":"ping","body":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"v":3,"type":"ping","body":{"x":' + b"9" * 5000 + b"}}",
    b'{"v":3,"type":"list_jobs","body":{"limit":9223372036854775808}}',
    b'{"v":3,"type":"list_jobs","body":{"limit":1e999}}',
    b'{"v":NaN,"type":"ping"}', b'{"v":3,"type":"ping","body":{"x":Infinity}}',
    b'{"v":3,"v":3,"type":"ping"}', b'{"v":3,"type":"ping","body":{"a":1,"a":1}}',
    b'{"v":3,"type":"hello","body":{"protocol":2,"version":"\\ud800","name":"x"}}',
    b'{"v":3,"type":"hello","body":{"protocol":2,"version":"\\uDC00x","name":"x"}}',
    b'{"v":3,"type":"ping","\\ud800":1}',
    b'{"v":1}', b'{"type":"ping"}', b'{"v":"1","type":"ping"}', b'{"v":true,"type":"ping"}',
    b'{"v":-1,"type":"ping"}', b'{"v":3,"type":5}', b'{"v":3,"type":"nonsense"}', b'{"v":3,"type":"__class__"}',
    b'{"v":3,"type":"ping","body":[]}',
    b'{"v":3,"type":"ping","id":5}', b'{"v":3,"type":"ping","id":"a b"}', b'{"v":3,"type":"ping","extra":1}',
    b'{"v":3,"type":"ping","id":"' + b"a" * 65 + b'"}', b'{"v":3,"type":"ping","id":null}',
], ids=lambda raw: raw[:40].decode("latin-1"))
def test_a_header_that_is_not_strict_json_or_no_envelope_is_bad_header(raw: bytes):
    with pytest.raises(BadHeader):
        read(raw)


@pytest.mark.parametrize("body", [
    {}, {"job": JOB}, {"job": JOB, "method": "views", "settings": {}, "inputs": [], "more": 1},
    {"job": JOB.upper(), "method": "views", "settings": {}, "inputs": []},
    {"job": JOB + "0", "method": "views", "settings": {}, "inputs": []},
    {"job": JOB + "\n", "method": "views", "settings": {}, "inputs": []},
    {"job": 5, "method": "views", "settings": {}, "inputs": []},
    {"job": JOB, "method": None, "settings": {}, "inputs": []},
    {"job": JOB, "method": "views", "settings": [], "inputs": []},
    {"job": JOB, "method": "views", "settings": {}, "inputs": {}},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [5]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "", "sha256": HASH, "size": 1}]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "x" * 1025, "sha256": HASH, "size": 1}]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "a", "sha256": "../../x", "size": 1}]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "a", "sha256": HASH, "size": -1}]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "a", "sha256": HASH, "size": 1.0}]},
    {"job": JOB, "method": "views", "settings": {}, "inputs": [{"label": "a", "sha256": HASH, "size": True}]},
])
def test_a_body_with_wrong_fields_is_bad_header(body: dict[str, Any]):
    with pytest.raises(BadHeader, match="submit"):
        read(json.dumps(submit_header(body=body)).encode())


def test_what_is_wrong_is_named_with_its_place():
    header = submit_header()
    header["body"]["inputs"][0]["size"] = "3"
    with pytest.raises(BadHeader, match=r"submit\.inputs\[0\]\.size must be a whole number"):
        read(json.dumps(header).encode())


def test_labels_that_look_like_paths_are_text_and_nothing_more():
    for label in ("../../x", "C:\\x", "/etc/passwd", "images/ü.png"):
        sent = Submit(JOB, "views", {}, (InputRef(label, HASH, 1),))
        assert decode([bytes(part) for part in encode(sent)], CTL_FROM_CLIENT).message == sent


def test_a_message_for_the_other_side_is_unknown_here():
    with pytest.raises(BadHeader, match="job_info"):
        decode(encode(JobInfo(JOB, "views", "done", 1, 1, 0.0)), CTL_FROM_CLIENT)


def test_another_version_is_a_version_mismatch_that_can_be_answered():
    raw = json.dumps({"v": PROTOCOL_VERSION + 1, "type": "greeting", "id": "x-1", "new_key": 1}).encode()
    header = decode_header([raw])
    assert header.id == "x-1"
    with pytest.raises(VersionMismatch):
        decode_body(header, [], CTL_FROM_CLIENT)


def test_numbers_are_not_converted_save_whole_ones_to_seconds():
    progress = Progress(JOB, 1, 1, "hull", 0, 1, 0, 0, "views", 1.5, 2.0)
    header = json.loads(bytes(encode(progress)[0]))
    header["body"]["seconds"] = 2
    read_back = read(json.dumps(header).encode()).message
    assert read_back == progress
    assert type(read_back.seconds) is float
    for wrong in ("2", None, True, [2]):
        header["body"]["seconds"] = wrong
        with pytest.raises(BadHeader, match="seconds"):
            read(json.dumps(header).encode())


# --- raw frames ------------------------------------------------------------------------------------------------------
def preview_of(*specs: BufferSpec) -> Preview:
    return Preview(JOB, 1, 1, "hull", False, specs)


def test_frames_that_differ_from_what_was_said_are_bad_frame():
    data = bytes(range(24))
    good = describe_buffer(data, "f4", (2, 3))
    assert decode(encode(preview_of(good), frames=[data]), ALL).frames[0] == data
    wrong_shape = dataclasses.replace(good, shape=(2, 4))
    wrong_type = dataclasses.replace(good, dtype="f2")
    negative = dataclasses.replace(good, shape=(-2, -3))
    overflow = dataclasses.replace(good, shape=(2**62, 2**62, 2**62))
    for spec in (wrong_shape, wrong_type, overflow, dataclasses.replace(good, sha256=HASH)):
        with pytest.raises(BadFrame):
            decode(encode(preview_of(spec), frames=[data]), ALL)
    with pytest.raises(BadHeader):      # the header's integers are 0 or above
        decode(encode(preview_of(negative), frames=[data]), ALL)
    for frames in ([], [data, data], [data[:-1]], [data + b"x"]):
        with pytest.raises(BadFrame):
            decode(encode(preview_of(good), frames=frames), ALL)


@pytest.mark.parametrize("frames", [[], [b""], [b"x" * 11], [b"x", b"y"]])
def test_a_chunk_has_one_frame_within_the_limit(frames: list[bytes]):
    with pytest.raises(BadFrame):
        decode(encode(Chunk(HASH, 0), frames=frames), ALL, Limits(chunk_bytes=10))


def test_a_message_without_buffers_takes_no_frames():
    with pytest.raises(BadFrame):
        decode(encode(messages.Ping(), frames=[b"x"]), ALL)
    with pytest.raises(BadFrame):
        decode(encode(messages.Ping(), frames=[b""] * 100), ALL)


def test_frames_are_handed_on_without_a_copy():
    data = bytearray(24)
    envelope = decode(encode(preview_of(describe_buffer(data, "u1", (24,))), frames=[data]), ALL)
    data[0] = 255
    assert envelope.frames[0][0] == 255
    assert envelope.frames[0].readonly


# --- bounds ----------------------------------------------------------------------------------------------------------
def test_a_header_above_the_limit_is_refused_before_it_is_read():
    raw = b'{"v":3,"type":"ping"}' + b" " * 1000
    with pytest.raises(BadHeader, match="1021 bytes"):
        decode([raw], ALL, Limits(header_bytes=1000))
    assert decode([raw], ALL, Limits(header_bytes=1021)).message == messages.Ping()


def test_encode_refuses_what_the_other_side_would_not_read():
    inputs = tuple(InputRef(f"{index:03d}.png", HASH, 1) for index in range(100))
    with pytest.raises(TooLarge):
        encode(Submit(JOB, "views", {}, inputs), limits=Limits(header_bytes=5000))
    for wrong in ({"a": float("nan")}, {"a": object()}, {"a": "\ud800"}, {"a": b"bytes"}):
        with pytest.raises(BadHeader):
            encode(Submit(JOB, "views", wrong, ()))
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadHeader):
        encode(Submit(JOB, "views", {"a": deep}, ()))


def test_a_header_has_room_for_as_many_inputs_as_a_job_may_have():
    limits = Limits()
    inputs = tuple(InputRef(f"./photographs/IMG_20260101_{index:06d}.jpeg", HASH, 10**8)
                   for index in range(limits.inputs_per_job))
    assert len(encode(Submit(JOB, "views", {}, inputs), id="c-1")) == 1


@pytest.mark.parametrize("raw", [
    b'{"v":3,"type":"' + b'\\"' * 500_000,                       # quotes that open and never close
    b'"' + b'\\"' * 500_000 + b"\\", b"[{" * 500_000, b'["' * 500_000, b"9" * 1_000_000, b"-" * 1_000_000,
    b'{"v":3,"type":"ping","body":{"a":"' + b"\\ud800" * 160_000 + b'"}}',
], ids=["quotes", "escapes", "brackets", "brackets and quotes", "digits", "signs", "surrogates"])
def test_the_worst_headers_of_a_megabyte_take_bounded_memory(raw: bytes):
    assert len(raw) <= 1024 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(BadHeader):
            read(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # bytes, text (1 or 4 bytes a character) and the parsed text: under 16 times the 1 MiB that may come.
    assert peak < 16 * 1024 * 1024
