"""How kernels are compiled and launched. Warp runs a CPU launch on one thread, so the work is cut into ranges of rows
that a thread pool launches side by side (Warp's calls release the GIL); a CUDA device takes it in one launch."""
from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR   # no banner on stdout; that no GPU was found its library says on stderr regardless

log = logging.getLogger(__name__)
_loading = threading.Lock()
_loaded: set[tuple[str, str]] = set()

SLOW_LOAD_S = 1.0
LARGEST_KEPT = 128 << 20                        # bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3     # of mallopt(3)


def wrap(tensor: torch.Tensor, dtype: Any = None) -> Any:
    """The same memory as a Warp array; for a vector dtype the last axis is the vector."""
    with _loading:   # two threads that start Warp at once make it forget its kernels (KeyError at the next launch)
        wp.init()    # returns at once when it has run
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False)


def prepare_kernels(kernel: Any, device: torch.device) -> None:
    """Compile the kernel's module for `device`, or take it from Warp's cache on disk. Logs when it takes a while."""
    module, name = kernel.module, str(device)
    with _loading:
        if (module.name, name) in _loaded:
            return
        wp.init()
        if not _loaded:
            _keep_large_buffers()
        started = time.perf_counter()
        log.info("Preparing kernels of %s for %s (compiled at first use, then kept on disk).", module.name, name)
        # as the launches will ask for it, or it is compiled a second time: on the CPU a block is one thread
        module.load(wp.device_from_torch(device), block_dim=1 if device.type == "cpu" else None)
        seconds = time.perf_counter() - started
        if seconds > SLOW_LOAD_S:
            log.info("Compiled kernels of %s for %s in %.1f s; kept in %s.", module.name, name, seconds,
                     wp.config.kernel_cache_dir)
        _loaded.add((module.name, name))


def torch_stream(device: torch.device) -> AbstractContextManager[Any]:
    """What Warp does inside comes after what PyTorch was asked for before, on CUDA too."""
    if device.type == "cpu":
        return nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))


def _keep_large_buffers() -> None:
    """glibc gives a buffer of 32 MiB or more (8 views of 512 px) back to the system as soon as it is freed, and filling
    the next one page by page takes a third of a step's time. Ask it to keep up to twice LARGEST_KEPT. Other libraries
    than glibc have nothing to ask."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_KEPT)


@cache
def _helpers(count: int) -> ThreadPoolExecutor:
    """Threads that stay: starting them anew for each of a step's nine launches took a tenth of its time."""
    return ThreadPoolExecutor(count, thread_name_prefix="warp")


def _side_by_side(work: Callable[[Any], Any], shares: Sequence[Any]) -> None:
    """Each share in a thread, the first in this one. Raises what a share raised, after all have ended."""
    if len(shares) <= 1:
        for share in shares:
            work(share)
        return
    others = [_helpers(len(shares) - 1).submit(work, share) for share in shares[1:]]
    try:
        work(shares[0])
    finally:
        wait(others)
    for other in others:
        other.result()


@dataclass(frozen=True)
class Piece:
    """A range of rows of one block that one thread works through. index: its place in the plan, unique. thread: pieces
    of one thread run one after the other, so they may add into one buffer."""

    block: int
    first: int
    end: int
    thread: int
    index: int


def plan_pieces(blocks: int, rows: int, device: torch.device) -> tuple[Piece, ...]:
    """Cut blocks x rows into equal shares, one a thread; on CUDA one piece a block. Depends on no timing."""
    if device.type != "cpu":
        return tuple(Piece(block, 0, rows, 0, block) for block in range(blocks))
    threads = max(1, torch.get_num_threads())
    edges = [blocks * rows * each // threads for each in range(threads + 1)]
    pieces: list[Piece] = []
    for thread, (first, end) in enumerate(zip(edges, edges[1:])):
        while first < end:
            block, row = divmod(first, rows)
            stop = min(rows, row + end - first)
            pieces.append(Piece(block, row, stop, thread, len(pieces)))
            first += stop - row
    return tuple(pieces)


@dataclass(frozen=True)
class Work:
    """A kernel for launch_pieces: it takes `arguments`, `[slot,] block, first_row, end_row` of a piece, and `last`.
    dim_of(first_row, end_row): the dimension of its launch."""

    kernel: Any
    dim_of: Callable[[int, int], Any]
    arguments: Sequence[Any]
    last: Sequence[Any] = ()


def over_faces(kernel: Any, count: int, arguments: Sequence[Any]) -> Work:
    """Over `count` faces for each piece, which looks for those that reach its rows."""
    return Work(kernel, lambda first, end: count, arguments)


def over_pixels(kernel: Any, width: int, arguments: Sequence[Any], device: torch.device) -> Work:
    """Over the pixels of each piece's rows; the kernel loops over `span` pixels, its last argument.

    A CPU thread takes a row at a time: starting Warp's kernel anew for every pixel would cost as much as the work.
    """
    span = width if device.type == "cpu" else 1
    parts = -(-width // span)
    return Work(kernel, lambda first, end: (end - first, parts), arguments, (span,))


def launch_pieces(works: Sequence[Work], plan: Sequence[Piece], device: torch.device,
                  slot_of: Callable[[Piece], int] | None = None) -> None:
    """Do the works one after the other on each piece, whose part of the memory stays in the cache meanwhile. A work may
    use what those before it did on its own piece only.

    slot_of: the number of the buffer that a piece uses, where the kernels have one.
    """
    for work in works:
        prepare_kernels(work.kernel, device)
    warp_device = wp.device_from_torch(device)

    def launch_all(pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            slot = () if slot_of is None else (slot_of(piece),)
            for work in works:
                wp.launch(work.kernel, dim=work.dim_of(piece.first, piece.end), device=warp_device,
                          inputs=[*work.arguments, *slot, piece.block, piece.first, piece.end, *work.last])

    if device.type != "cpu":
        with torch_stream(device):
            launch_all(plan)
        return
    shares: dict[int, list[Piece]] = {}
    for piece in plan:
        shares.setdefault(piece.thread, []).append(piece)
    _side_by_side(launch_all, list(shares.values()))


def launch_pixels(kernel: Any, plan: Sequence[Piece], width: int, arguments: Sequence[Any], device: torch.device,
                  slot_of: Callable[[Piece], int] | None = None) -> None:
    """launch_pieces of one work over pixels."""
    launch_pieces([over_pixels(kernel, width, arguments, device)], plan, device, slot_of)


def launch_rows(kernel: Any, rows: int, dim_of: Callable[[int, int], Any], arguments: Sequence[Any],
                device: torch.device) -> None:
    """launch_pieces of one work over rows of a single block, points for example."""
    launch_pieces([Work(kernel, dim_of, arguments)], plan_pieces(1, rows, device), device)


def threads_of(plan: Sequence[Piece]) -> int:
    """How many threads work on it side by side."""
    return 1 + max((piece.thread for piece in plan), default=0)


class Scatter:
    """Buffers that kernels add gradients into, and their sum.

    Warp's additions on the CPU are not atomic across threads: each thread (for a target that all blocks share) or each
    piece (for a target with one item a block) has a buffer of its own, and they are summed in a fixed order. On CUDA
    the additions are atomic, so there is one buffer, and the last bits depend on their order.
    """

    def __init__(self, plan: Sequence[Piece], items: int, rows: int, channels: int, like: torch.Tensor,
                 shared: bool) -> None:
        self._plan, self._items, self._shared = plan, items, shared
        cuda = like.device.type != "cpu"
        count = (1 if cuda else threads_of(plan)) if self._shared else len(plan)
        self.buffers = torch.zeros((count, rows, channels), dtype=torch.float32, device=like.device)

    def slot_of(self, piece: Piece) -> int:
        return piece.thread if self._shared else piece.index

    def sum(self) -> torch.Tensor:
        """(items, rows, channels) float32."""
        if len(self.buffers) == self._items:
            return self.buffers
        if self._shared:
            return self.buffers.sum(0, keepdim=True)
        block = torch.tensor([piece.block for piece in self._plan], dtype=torch.int64, device=self.buffers.device)
        total = torch.zeros((self._items, *self.buffers.shape[1:]), device=self.buffers.device)
        return total.index_add_(0, block, self.buffers)
