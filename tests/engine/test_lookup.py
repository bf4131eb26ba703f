"""Reading images at places: as many as a mesh has."""
from __future__ import annotations

import numpy as np
import pytest

from slipcast.engine.pipeline.lookup import read_pixels


@pytest.mark.parametrize("count", [0, 1, 32_767, 100_000])    # OpenCV's own call stops at 32,767
@pytest.mark.parametrize("channels", [(), (3,)])
def test_as_many_places_as_asked_for_are_read_and_a_slope_is_read_as_it_is(count, channels):
    random = np.random.default_rng(count)
    x, y = random.uniform(0.5, 39.5, count), random.uniform(0.5, 29.5, count)
    rows, columns = np.mgrid[:30, :40] + 0.5
    image = (columns + 2 * rows).astype(np.float32)
    image = np.repeat(image[..., None], 3, axis=2) if channels else image
    read = read_pixels(image, x, y)
    assert read.shape == (count, *channels)
    # OpenCV rounds places to 1/32 of a pixel: 1/64 off at most, along slopes of 1 and 2
    assert np.abs(read - (x + 2 * y).reshape(-1, *[1] * len(channels))).max(initial=0) <= 3 / 64 + 1e-4


def test_outside_is_the_border():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert read_pixels(image, np.array([-9.0, 50.0]), np.array([-9.0, 50.0])).tolist() == [0, 11]
