"""JSON from outside, read strictly. The stdlib parser accepts more than JSON is: NaN, duplicate keys, integers of any
length, lone surrogates and nesting until the stack ends. All of these are refused here, and size is checked first."""
from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from .errors import BadHeader

MAX_DEPTH = 16
MAX_INT = 2**63 - 1
_MAX_INT_DIGITS = 19
# A string (closed, or running to the end of the text), or a bracket. Every quote is consumed by some match, so the scan
# is linear whatever the text is.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def parse_json(raw: bytes | bytearray | memoryview, max_bytes: int) -> Any:
    """Parse UTF-8 JSON of at most `max_bytes`, nested at most MAX_DEPTH deep.

    Raises BadHeader for anything else than strict JSON with finite numbers, 64 bit integers, unique keys and valid
    Unicode. Time and memory are linear in the size.
    """
    size = memoryview(raw).nbytes
    if size > max_bytes:
        raise BadHeader(f"The message header has {size} bytes; at most {max_bytes} are read.")
    try:
        text = bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadHeader("The message header is not UTF-8.") from error
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant,
                           parse_int=_bounded_int, parse_float=_finite_float)
    except ValueError as error:
        raise BadHeader("The message header is not JSON.") from error
    if "\\ud" in text.lower():
        _check_surrogates(value)
    return value


def dump_json(value: Any) -> bytes:
    """Compact UTF-8 JSON. Raises BadHeader when `value` is not plain data with finite numbers and valid Unicode."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise BadHeader(f"This cannot be written as JSON: {error}") from error


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadHeader(f"The message header is nested more than {MAX_DEPTH} deep.")
        elif first in "]}":
            depth -= 1


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadHeader("The message header names a key twice.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BadHeader(f"The message header holds {name}, which is not JSON.")


def _bounded_int(digits: str) -> int:
    # The length is checked first: int() of a very long text is slow, and refused by Python with its own error.
    if len(digits.lstrip("-")) > _MAX_INT_DIGITS or abs(int(digits)) > MAX_INT:
        raise BadHeader("The message header holds an integer of more than 64 bits.")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadHeader("The message header holds a number that is too large.")
    return value


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadHeader("The message header holds half a surrogate pair.") from error
