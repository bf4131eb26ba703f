"""Messages <-> frames. A message is one JSON header and its raw buffers, each a frame of one multipart message.

Header: {"v": 1, "type": "submit", "id": "...", "re": "...", "body": {...}}; docs/protocol.md says what each means.
What a body may hold follows from the type hints of its dataclass, so that there is no second list to keep.
"""
from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import PROTOCOL_VERSION, messages, model_messages
from .arrays import MAX_FRAMES, Bytes, check_buffers, flat_bytes
from .errors import BadFrame, BadHeader, TooLarge, VersionMismatch
from .messages import JOB_STATES, Limits
from .strict_json import MAX_DEPTH, MAX_INT, dump_json, parse_json

T = TypeVar("T")
Registry = Mapping[str, type]
Convert = Callable[[Any, str], Any]
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Header:
    """An envelope whose keys are checked; its body is not yet. `id` or `re` may be empty."""

    version: int
    type: str
    id: str
    re: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Envelope:
    """A checked message. id: to be repeated in a reply's `re`. frames: its raw buffers, flat views of bytes."""

    message: Any
    id: str = ""
    re: str = ""
    frames: tuple[memoryview, ...] = field(default=())


def wire_name(kind: type) -> str:
    """NeedBlobs -> need_blobs."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def registry(kinds: Iterable[type]) -> dict[str, type]:
    """Wire name -> dataclass, for `decode`. Messages that are not in it are refused as unknown."""
    return {wire_name(kind): kind for kind in kinds}


CTL_FROM_CLIENT = registry((messages.Hello, messages.Submit, messages.Rerun, messages.Subscribe, messages.Get,
                            messages.ListJobs, messages.Cancel, messages.FinishEarly, messages.Forget, messages.Ping,
                            messages.Shutdown, model_messages.Models, model_messages.FetchModel,
                            model_messages.VerifyModel, model_messages.RemoveModel, model_messages.CancelFetch))
CTL_FROM_ENGINE = registry((messages.Welcome, messages.NeedBlobs, messages.JobInfo, messages.JobList,
                            messages.EngineState, messages.Progress, messages.Preview, messages.Error, messages.Pong,
                            messages.Goodbye, model_messages.ModelList, model_messages.ModelProgress))
BLOB_FROM_CLIENT = registry((messages.Put, messages.Chunk, messages.Credit, messages.Fetch, messages.Stop))
BLOB_FROM_ENGINE = registry((messages.PutReady, messages.Chunk, messages.Credit, messages.Stored, messages.FetchReady,
                             messages.Stop, messages.Error))


def encode(message: Any, *, id: str = "", re: str = "", frames: Sequence[Bytes] = (),
           limits: Limits = DEFAULT_LIMITS) -> list[bytes | memoryview]:
    """The frames of a message, ready for send_multipart(copy=False).

    Raises TooLarge when the header is above limits.header_bytes (libzmq would drop it without an error), BadHeader when
    the message holds something that is not JSON, BadFrame when a buffer is not contiguous.
    """
    header: dict[str, Any] = {"v": PROTOCOL_VERSION, "type": wire_name(type(message))}
    header.update({key: value for key, value in (("id", id), ("re", re)) if value})
    header["body"] = to_plain(message)
    raw = dump_json(header)
    if len(raw) > limits.header_bytes:
        raise TooLarge(f"This {header['type']} message has {len(raw)} bytes; the engine reads {limits.header_bytes}.",
                       "Use fewer input files or shorter names.")
    return [raw, *(flat_bytes(frame) for frame in frames)]


def decode(parts: Sequence[Bytes], accept: Registry, limits: Limits = DEFAULT_LIMITS,
           check_hash: bool = True) -> Envelope:
    """Read a whole message. Raises BadHeader, BadFrame or VersionMismatch and nothing else."""
    return decode_body(decode_header(parts, limits), parts[1:], accept, limits, check_hash)


def decode_header(parts: Sequence[Bytes], limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read the envelope only. What it raises cannot be answered with a `re`; what decode_body raises can.

    Of another protocol version only v, type, id and re are looked at: these four never change.
    """
    if not parts:
        raise BadHeader("A message without a header came.")
    value = parse_json(parts[0], limits.header_bytes)
    if not isinstance(value, dict):
        raise BadHeader("The message header is not a JSON object.")
    version = value.get("v")
    if type(version) is not int or version < 0:
        raise BadHeader("The message header says no protocol version.")
    unknown = value.keys() - {"v", "type", "id", "re", "body"}
    if version == PROTOCOL_VERSION and unknown:
        raise BadHeader(f"The message header has an unknown key {min(unknown)[:64]!r}.")
    kind, body = value.get("type"), value.get("body", {})
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise BadHeader("The message header needs a type (text) and a body (object).")
    return Header(version, kind, _read_id(value, "id"), _read_id(value, "re"), body)


def decode_body(header: Header, frames: Sequence[Bytes], accept: Registry, limits: Limits = DEFAULT_LIMITS,
                check_hash: bool = True) -> Envelope:
    """Read the body and check the raw frames. Raises BadHeader, BadFrame or VersionMismatch."""
    if header.version != PROTOCOL_VERSION:
        raise VersionMismatch(f"The other side speaks protocol {header.version}, this side {PROTOCOL_VERSION}.",
                              "Use the same version of Slipcast on both sides.")
    kind = accept.get(header.type)
    if kind is None:
        raise BadHeader(f"No message {header.type[:64]!r} is known here.")
    message = from_plain(kind, header.body, header.type)
    return Envelope(message, header.id, header.re, _checked_frames(message, frames, limits, check_hash))


def to_plain(value: Any, depth: int = 0) -> Any:
    """Dataclasses to dicts, tuples to lists, deep; the rest stays. Raises BadHeader when nested too deep."""
    if depth > MAX_DEPTH:
        raise BadHeader(f"The message is nested more than {MAX_DEPTH} deep.")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {knob.name: to_plain(getattr(value, knob.name), depth + 1) for knob in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, depth + 1) for item in value]
    return value


def from_plain(kind: type[T], value: Any, where: str = "") -> T:
    """Build dataclass `kind` from what parse_json gave; absent fields keep their defaults.

    Raises BadHeader, which names the field, for an unknown or missing field, a wrong type or a value out of bounds.
    """
    where = where or wire_name(kind)
    if not isinstance(value, dict):
        raise BadHeader(f"{where} must be an object.")
    known = _fields_of(kind)
    unknown = value.keys() - known.keys()
    if unknown:
        raise BadHeader(f"{where} has an unknown field {min(unknown)[:64]!r}.")
    missing = [name for name, (_, required) in known.items() if required and name not in value]
    if missing:
        raise BadHeader(f"{where} lacks {', '.join(missing)}.")
    return kind(**{name: known[name][0](item, f"{where}.{name}") for name, item in value.items()})


# --- envelope -------------------------------------------------------------------------------------------------------
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _read_id(header: Mapping[str, Any], key: str) -> str:
    value = header.get(key, "")
    if value != "" and (not isinstance(value, str) or not _ID.fullmatch(value)):
        raise BadHeader(f"{key} must be 1 to 64 letters, digits, - or _.")
    return value


def _checked_frames(message: Any, frames: Sequence[Bytes], limits: Limits, check_hash: bool) -> tuple[memoryview, ...]:
    if len(frames) > MAX_FRAMES:
        raise BadFrame(f"{len(frames)} raw buffers came; at most {MAX_FRAMES} are read.")
    if isinstance(message, messages.Chunk):
        if len(frames) != 1:
            raise BadFrame(f"A chunk has one raw buffer, {len(frames)} came.")
        chunk = flat_bytes(frames[0])
        if not 0 < chunk.nbytes <= limits.chunk_bytes:
            raise BadFrame(f"A chunk has {chunk.nbytes} bytes; 1 to {limits.chunk_bytes} are allowed.")
        return (chunk,)
    return check_buffers(getattr(message, "buffers", ()), frames, check_hash)


# --- type hints -> checks -------------------------------------------------------------------------------------------
_MAX_LABEL_CHARS = 1024
_JOB = (re.compile(r"[0-9a-f]{32}"), "32 hex digits")
_PATTERNS = {"job": _JOB, "source": _JOB, "before": _JOB,
             "model": (re.compile(r"[a-z0-9][a-z0-9_-]{0,39}"), "the name of a model: a-z 0-9 - _"),
             "sha256": (re.compile(r"[0-9a-f]{64}"), "64 hex digits"),
             "label": (re.compile(rf".{{1,{_MAX_LABEL_CHARS}}}", re.DOTALL), f"1 to {_MAX_LABEL_CHARS} characters")}
_CHOICES = {(messages.JobInfo, "state"): JOB_STATES, (messages.EngineState, "state"): ("starting", "ready", "failed"),
            (model_messages.ModelProgress, "state"): ("running", "done", "failed", "cancelled")}


@functools.cache
def _fields_of(kind: type) -> dict[str, tuple[Convert, bool]]:
    """Field name -> (check, required)."""
    hints = typing.get_type_hints(kind)
    found: dict[str, tuple[Convert, bool]] = {}
    for knob in dataclasses.fields(kind):
        required = knob.default is dataclasses.MISSING and knob.default_factory is dataclasses.MISSING
        found[knob.name] = (_converter(hints[knob.name], knob.name, _CHOICES.get((kind, knob.name))), required)
    return found


def _converter(hint: Any, name: str, choices: Sequence[str] | None = None) -> Convert:
    """The check of one type hint. Raises TypeError for a hint this codec does not speak: a bug in messages.py."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is str:
        return functools.partial(_text, pattern=_PATTERNS.get(name), choices=choices)
    if hint in (int, float, bool):
        return {int: _whole, float: _number, bool: _flag}[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return functools.partial(_nested, kind=hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return functools.partial(_items, item=_converter(arguments[0], name))
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and type(None) in arguments:
        present = _converter(next(a for a in arguments if a is not type(None)), name)
        return lambda value, where: None if value is None else present(value, where)
    if origin is Mapping:
        return _object
    raise TypeError(f"{name}: the codec does not know the type {hint!r}")


def _nested(value: Any, where: str, kind: type) -> Any:
    return from_plain(kind, value, where)


def _text(value: Any, where: str, pattern: tuple[re.Pattern[str], str] | None, choices: Sequence[str] | None) -> str:
    if not isinstance(value, str):
        raise BadHeader(f"{where} must be text.")
    if pattern is not None and not pattern[0].fullmatch(value):
        raise BadHeader(f"{where} must be {pattern[1]}.")
    if choices is not None and value not in choices:
        raise BadHeader(f"{where} must be one of {', '.join(choices)}.")
    return value


def _whole(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise BadHeader(f"{where} must be a whole number, 0 or above.")
    return value


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise BadHeader(f"{where} must be a number.")
    return float(value)


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise BadHeader(f"{where} must be true or false.")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadHeader(f"{where} must be an object.")
    return value


def _items(value: Any, where: str, item: Convert) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise BadHeader(f"{where} must be a list.")
    return tuple(item(entry, f"{where}[{index}]") for index, entry in enumerate(value))
