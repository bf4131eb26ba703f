"""Raw buffers: sizes are worked out before memory is touched, and every disagreement is a BadFrame."""
from __future__ import annotations

import array
import hashlib
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.bridge.arrays import (
    ITEM_BYTES,
    MAX_FRAME_BYTES,
    array_bytes,
    check_artefact,
    check_buffers,
    describe_buffer,
    flat_bytes,
    sha256_hex,
)
from slipcast.bridge.errors import BadFrame
from slipcast.bridge.messages import Artefact, BufferSpec


@given(st.sampled_from(sorted(ITEM_BYTES)), st.lists(st.integers(0, 2**63 - 1), max_size=8))
def test_the_size_is_the_exact_product_or_refused(dtype: str, shape: list[int]):
    exact = {"u1": 1, "i4": 4, "f4": 4, "f8": 8}[dtype] * math.prod(shape)
    if exact <= MAX_FRAME_BYTES:
        assert array_bytes(dtype, shape, MAX_FRAME_BYTES) == exact
    else:
        with pytest.raises(BadFrame):
            array_bytes(dtype, shape, MAX_FRAME_BYTES)


@pytest.mark.parametrize(("dtype", "shape"), [
    ("f2", (1,)), ("O", (1,)), ("", (1,)), ("f4", (-1,)), ("f4", (-1, -1)), ("f4", (2**32, 2**32)), ("u1", (1,) * 9),
    ("f4", (2**63,)), ("f4", (0, -1)),
])
def test_a_dtype_or_shape_out_of_bounds_is_bad_frame(dtype: str, shape: tuple[int, ...]):
    with pytest.raises(BadFrame):
        array_bytes(dtype, shape, 2**40)


def test_a_promise_of_terabytes_allocates_nothing():
    spec = BufferSpec("f8", (2**40,), "0" * 64)
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            check_buffers([spec], [b"x"])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_typed_memory_is_described_by_its_bytes():
    numbers = array.array("f", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    spec = describe_buffer(memoryview(numbers), "f4", (2, 3))
    assert spec == BufferSpec("f4", (2, 3), hashlib.sha256(numbers.tobytes()).hexdigest())
    [view] = check_buffers([spec], [numbers.tobytes()])
    assert view.format == "B"
    assert view.nbytes == 24
    with pytest.raises(BadFrame):
        describe_buffer(memoryview(numbers), "f4", (3, 3))


def test_empty_arrays_are_arrays():
    spec = describe_buffer(b"", "f4", (0, 3))
    assert check_buffers([spec], [b""])[0].nbytes == 0
    assert flat_bytes(memoryview(b"").cast("B")).nbytes == 0


def test_memory_with_gaps_is_refused():
    with pytest.raises(BadFrame):
        flat_bytes(memoryview(bytes(10))[::2])


def test_one_bit_changes_the_hash_and_is_noticed():
    data = bytes(range(16))
    spec = describe_buffer(data, "u1", (16,))
    damaged = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(BadFrame, match="sha256"):
        check_buffers([spec], [damaged])
    assert check_buffers([spec], [damaged], check_hash=False)[0] == damaged
    assert sha256_hex(data) == spec.sha256


def test_an_artefact_must_agree_with_itself():
    good = Artefact("faces", "array", 24, "0" * 64, "i4", (2, 3))
    check_artefact(good, 24)
    check_artefact(Artefact("base_color", "image/png", 24, "0" * 64), 24)
    for wrong in (Artefact("faces", "array", 25, "0" * 64, "i4", (2, 3)), Artefact("faces", "array", 24, "0" * 64),
                  Artefact("faces", "array", 24, "0" * 64, "i4", (2**40, 2**40)),
                  Artefact("base_color", "image/png", 25, "0" * 64)):
        with pytest.raises(BadFrame):
            check_artefact(wrong, 24)
