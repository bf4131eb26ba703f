"""What "draft", "normal" and "high" mean: one frozen row per quality, units beside the numbers."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ...bridge.errors import BadSettings

Row = TypeVar("Row")


@dataclass(frozen=True)
class ViewsPreset:
    """Sizes of the method "views" at one quality.

    working_px: photos are brought down to this many pixels on their longer side.
    cutout_px: longer side at which the object is cut out of a photo that has no mask of its own.
    silhouette_px: masks are brought down to this many pixels on their longer side for the shape.
    grid: cells along the longest side of the working volume.
    smooth_rounds: rounds of surface smoothing (a round is one step in and one step out: it does not shrink).
    outline_px: longer side at which the surface's outlines are compared with the masks'.
    outline_rounds: rounds of relaxing the surface and bringing its outlines back.
    """

    working_px: int
    cutout_px: int
    silhouette_px: int
    grid: int
    smooth_rounds: int
    outline_px: int
    outline_rounds: int


VIEWS_PRESETS: dict[str, ViewsPreset] = {
    "draft": ViewsPreset(working_px=640, cutout_px=400, silhouette_px=512, grid=96, smooth_rounds=4,
                         outline_px=400, outline_rounds=12),
    "normal": ViewsPreset(working_px=1200, cutout_px=640, silhouette_px=768, grid=176, smooth_rounds=6,
                          outline_px=640, outline_rounds=20),
    "high": ViewsPreset(working_px=2048, cutout_px=960, silhouette_px=1280, grid=288, smooth_rounds=8,
                        outline_px=960, outline_rounds=30),
}


def preset_of(quality: str, table: Mapping[str, Row]) -> Row:
    """The row of a quality name. Raises BadSettings for a name that is not in the table."""
    if quality not in table:
        raise BadSettings(f"There is no quality called {quality!r}.", f"Choose one of {', '.join(table)}.")
    return table[quality]


def views_preset(quality: str) -> ViewsPreset:
    """The row of a quality name. Raises BadSettings for a name that is not in the table."""
    return preset_of(quality, VIEWS_PRESETS)
