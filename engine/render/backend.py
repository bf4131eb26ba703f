"""How kernels are compiled and launched. Warp runs a CPU launch on one thread, so the work is cut into ranges of rows
that a thread pool launches side by side (Warp's calls release the GIL); a CUDA device takes it in one launch."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR   # no banner on stdout, and no alarm about a missing GPU where the CPU was asked for

log = logging.getLogger(__name__)
_loading = threading.Lock()
_loaded: set[tuple[str, str]] = set()

SLOW_LOAD_S = 1.0


def wrap(tensor: torch.Tensor, dtype: Any = None) -> Any:
    """The same memory as a Warp array; for a vector dtype the last axis is the vector."""
    with _loading:   # two threads that start Warp at once make it forget its kernels (KeyError at the next launch)
        wp.init()    # returns at once when it has run
    return wp.from_torch(tensor, dtype=dtype)


def prepare_kernels(kernel: Any, device: torch.device) -> None:
    """Compile the kernel's module for `device`, or take it from Warp's cache on disk. Logs when it takes a while."""
    module, name = kernel.module, str(device)
    with _loading:
        if (module.name, name) in _loaded:
            return
        started = time.perf_counter()
        log.info("Preparing kernels of %s for %s (compiled at first use, then kept on disk).", module.name, name)
        module.load(wp.device_from_torch(device))
        seconds = time.perf_counter() - started
        if seconds > SLOW_LOAD_S:
            log.info("Compiled kernels of %s for %s in %.1f s; kept in %s.", module.name, name, seconds,
                     wp.config.kernel_cache_dir)
        _loaded.add((module.name, name))


def launch_rows(kernel: Any, rows: int, dim_of: Callable[[int, int], Any], arguments: Sequence[Any],
                device: torch.device, blocks: int = 1) -> None:
    """Launch `kernel` over all (block, row range) pairs; it takes `block, first_row, end_row` after `arguments`.

    dim_of(first_row, end_row) gives the launch dimension of a range. blocks: independent leading items (views).
    A range owns its rows: two launches never write to the same place.
    """
    prepare_kernels(kernel, device)
    warp_device = wp.device_from_torch(device)

    def launch(block: int, first: int, end: int) -> None:
        wp.launch(kernel, dim=dim_of(first, end), inputs=[*arguments, block, first, end], device=warp_device)

    if device.type != "cpu":
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        with wp.ScopedStream(stream):
            for block in range(blocks):
                launch(block, 0, rows)
        return
    threads = max(1, torch.get_num_threads())
    bands = 1 if blocks >= threads else -(-threads // blocks)
    edges = [rows * band // bands for band in range(bands + 1)]
    ranges = [(block, first, end) for block in range(blocks) for first, end in zip(edges, edges[1:]) if end > first]
    if threads == 1 or len(ranges) == 1:
        for each in ranges:
            launch(*each)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="warp") as pool:
        list(pool.map(lambda each: launch(*each), ranges))
