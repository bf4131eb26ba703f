"""Raw buffers: what a BufferSpec or an Artefact promises, checked against the bytes before anything is allocated.

All arrays are little-endian and C-contiguous. Buffers are handed on as flat byte views without a copy; the receiver
reads them with e.g. `numpy.frombuffer(frame, "<f4").reshape(spec.shape)`.
"""
from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .errors import BadFrame
from .messages import Artefact, BufferSpec

Bytes = bytes | bytearray | memoryview

ITEM_BYTES = {"u1": 1, "i4": 4, "f4": 4, "f8": 8}
MAX_DIMENSIONS = 8
MAX_FRAMES = 16
MAX_FRAME_BYTES = 64 * 1024**2     # one buffer of a Preview; larger arrays travel as blobs


def array_bytes(dtype: str, shape: Sequence[int], max_bytes: int) -> int:
    """Size of an array in bytes.

    Raises BadFrame when the dtype is not on the list, the shape has a negative or too many axes, or the size is above
    `max_bytes` (Python's integers do not overflow, and the product stops at the first axis that is too much).
    """
    if dtype not in ITEM_BYTES:
        raise BadFrame(f"Arrays of dtype {dtype!r} are not sent; known: {', '.join(ITEM_BYTES)}.")
    if len(shape) > MAX_DIMENSIONS:
        raise BadFrame(f"An array has {len(shape)} axes; at most {MAX_DIMENSIONS} are read.")
    if any(axis < 0 for axis in shape):
        raise BadFrame(f"An array has a negative axis: {tuple(shape)}.")
    size = ITEM_BYTES[dtype]
    if 0 in shape:
        return 0
    for axis in shape:
        size *= axis
        if size > max_bytes:
            raise BadFrame(f"An array of shape {tuple(shape)} and dtype {dtype} is above {max_bytes} bytes.")
    return size


def flat_bytes(data: Bytes) -> memoryview:
    """The same memory as a flat, read-only view of bytes. Raises BadFrame when it is not C-contiguous."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BadFrame("A buffer is not contiguous.")
    if view.nbytes == 0:
        return memoryview(b"")
    return view.cast("B").toreadonly()


def sha256_hex(data: Bytes) -> str:
    """Lower-case hex sha256 of the bytes."""
    return hashlib.sha256(flat_bytes(data)).hexdigest()


def describe_buffer(data: Bytes, dtype: str, shape: Sequence[int]) -> BufferSpec:
    """The BufferSpec of an array's bytes. Raises BadFrame when dtype, shape and size do not agree."""
    view = flat_bytes(data)
    _check_size("buffer", view, array_bytes(dtype, shape, MAX_FRAME_BYTES))
    return BufferSpec(dtype, tuple(shape), sha256_hex(view))


def check_buffers(specs: Sequence[BufferSpec], frames: Sequence[Bytes],
                  check_hash: bool = True) -> tuple[memoryview, ...]:
    """Check raw frames against what was said of them; nothing is copied.

    Raises BadFrame when the number of frames, a size or (if check_hash) a sha256 differs.
    """
    if len(specs) != len(frames):
        raise BadFrame(f"{len(frames)} raw buffers came, {len(specs)} were announced.")
    views = tuple(flat_bytes(frame) for frame in frames)
    for index, (spec, view) in enumerate(zip(specs, views, strict=True)):
        _check_size(f"buffer {index}", view, array_bytes(spec.dtype, spec.shape, MAX_FRAME_BYTES))
        if check_hash and sha256_hex(view) != spec.sha256:
            raise BadFrame(f"buffer {index} arrived damaged: its sha256 differs.")
    return views


def check_artefact(artefact: Artefact, max_bytes: int) -> None:
    """Check that size, dtype and shape of an Artefact agree, before room is made for it. Raises BadFrame."""
    if artefact.size > max_bytes:
        raise BadFrame(f"{artefact.name} has {artefact.size} bytes; at most {max_bytes} are fetched.")
    if artefact.media_type == "array" and array_bytes(artefact.dtype, artefact.shape, max_bytes) != artefact.size:
        raise BadFrame(f"{artefact.name}: {artefact.size} bytes are not shape {artefact.shape} of {artefact.dtype}.")


def _check_size(name: str, view: memoryview, expected: int) -> None:
    if view.nbytes != expected:
        raise BadFrame(f"{name} has {view.nbytes} bytes, its shape says {expected}.")
