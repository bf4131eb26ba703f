"""Do the same piece of work for many views on a few threads, with progress and cancel between pieces."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .progress import Stage

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MAX_THREADS = 8  # decoding and cutting out are bound by memory beyond this


def map_views(work: Callable[[Item], Answer], items: Sequence[Item], stage: Stage) -> list[Answer]:
    """`work` of each item, in order; it must let go of Python's lock in its long calls (Pillow, OpenCV and numpy do).

    The stage advances by one for each item. The first error, or a cancel, drops the pieces not yet begun.
    """
    pool = ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1))
    try:
        answers = []
        for future in [pool.submit(work, item) for item in items]:
            answers.append(future.result())
            stage.advance()
        return answers
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
