"""For all tests of the engine."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    """Whatever finds a device sets the threads of the whole process; two that wait for each other on a busy machine
    would slow down, and change the bits of, every test that comes after."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
