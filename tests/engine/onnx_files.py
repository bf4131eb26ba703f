"""Tiny networks as files: just enough of ONNX, written byte by byte, so that the tests need no package for it."""
from __future__ import annotations

from pathlib import Path


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor_of(name: str, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_part(1, _number(1, size)) for size in shape)
    return _part(1, name) + _part(2, _part(1, _number(1, 1) + _part(2, sizes)))       # 1: float32


def write_network(path: Path, side: int, operation: str = "mean") -> None:
    """A network from (1, 3, side, side) float32. operation: "mean" of the channels -> (1, 1, side, side), or "shape":
    its answer is the single number 3 * side**2."""
    if operation == "mean":
        axes = _part(1, "axes") + _number(8, 1) + _number(20, 7)                       # 7: a list of whole numbers
        node = _part(1, "x") + _part(2, "y") + _part(4, "ReduceMean") + _part(5, axes)
        answer = _tensor_of("y", (1, 1, side, side))
    else:
        node = _part(1, "x") + _part(2, "y") + _part(4, "ReduceSum")
        answer = _tensor_of("y", (1, 1, 1, 1))
    graph = _part(1, node) + _part(2, "g") + _part(11, _tensor_of("x", (1, 3, side, side))) + _part(12, answer)
    path.write_bytes(_number(1, 7) + _part(7, graph) + _part(8, _part(1, "") + _number(2, 11)))
