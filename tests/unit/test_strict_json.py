"""parse_json takes strict JSON and nothing of what the stdlib takes beyond it."""
from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.bridge.errors import BadHeader
from slipcast.bridge.strict_json import MAX_DEPTH, dump_json, parse_json

ROOM = 1024 * 1024
text = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63 + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=10)


def depth_of(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (1 if isinstance(value, (dict, list)) else 0) + max(map(depth_of, inside), default=0)


@given(plain)
def test_plain_data_comes_back_as_it_was(value: Any):
    if depth_of(value) <= MAX_DEPTH:
        assert parse_json(dump_json(value), ROOM) == value
        assert parse_json(json.dumps(value).encode(), ROOM) == value        # escapes and spaces


@pytest.mark.parametrize("raw", [
    b"NaN", b"[NaN]", b"-Infinity", b'{"a":Infinity}', b"1e999", b"[-1e999]", b'{"a":{"b":1,"b":1}}', b'{"":1,"":2}',
    b"9223372036854775808", b"[-9223372036854775808]", b"1" * 5000, b'"\\ud800"', b'["\\uDFFF"]', b'{"\\ud800":1}',
    b'"\\udc00\\ud800"', b"\xed\xa0\x80", b'"\xed\xa0\x80"', b"[1,]", b"{'a':1}", b"01", b"1 2", b"", b"\xef\xbb\xbf1",
    b'"a\nb"',
], ids=repr)
def test_what_is_not_strict_json_is_refused(raw: bytes):
    with pytest.raises(BadHeader):
        parse_json(raw, ROOM)


@pytest.mark.parametrize(("raw", "value"), [
    (b'"\\ud83d\\ude00"', "\U0001f600"), (b"9223372036854775807", 2**63 - 1), (b"-9223372036854775807", 1 - 2**63),
    (b"1e300", 1e300), (b"-0", 0), (b' {"a" : [1 , 2.5] } ', {"a": [1, 2.5]}), (b'"[[[[[[[[[[[[[[[[[[["', "[" * 19),
    (b'"\\\\"', "\\"), (b'["\\"[","\\\\",[]]', ['"[', "\\", []]),
], ids=repr)
def test_what_is_strict_json_is_read(raw: bytes, value: Any):
    assert parse_json(raw, ROOM) == value


def test_nesting_is_counted_outside_of_strings_only():
    deepest = b'[{"]":' * (MAX_DEPTH // 2) + b"0" + b"}]" * (MAX_DEPTH // 2)
    assert depth_of(parse_json(deepest, ROOM)) == MAX_DEPTH
    with pytest.raises(BadHeader, match="nested"):
        parse_json(b"[" + deepest + b"]", ROOM)
    wide = b"[" + b",".join([b"[]"] * 1000) + b"]"
    assert len(parse_json(wide, ROOM)) == 1000


def test_the_size_is_checked_first():
    assert parse_json(b"1234", 4) == 1234
    with pytest.raises(BadHeader, match="5 bytes"):
        parse_json(b"\xff" * 5, 4)


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": b"x"}, {(1, 2): 1}, "\ud800", {1, 2}], ids=repr)
def test_what_cannot_be_json_is_not_written(value: Any):
    with pytest.raises(BadHeader):
        dump_json(value)
