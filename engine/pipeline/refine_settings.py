"""How a mesh is refined: every knob once, default and unit beside it. Torch-free."""
from __future__ import annotations

from dataclasses import dataclass, replace

from .presets import preset_of


@dataclass(frozen=True)
class RefineLevel:
    """One step from coarse to fine: the mesh is remeshed to about `faces` triangles, then optimised.

    side_px: the object's surroundings in a view are brought down to this many pixels on their longer side.
    iterations: at most; where the time is short, all levels have fewer alike (refine_clock.py).
    uniform: 0: each vertex has a step length of its own, so that the weak pull of colours reaches hollows; 1: one for
    all, so that vertices on which nothing pulls stay where they are.
    rate: longest step of a vertex in an iteration, in mean edges.
    bending: factor of the weights of bending. Long edges of a coarse mesh round off what they should not: the crease on
    either side of a narrow valley, whose floor, where it has one colour and no view looks along it, comes with them.
    stiffness: Large Steps: how far a vertex takes its neighbours along, in edges squared.
    tension: weight of the area that views see, as a share of what it is when the level begins; it eases off to 0 in
    the level's first part.
    """

    side_px: int
    faces: int
    iterations: int
    uniform: float = 0.2
    rate: float = 0.5
    bending: float = 1.0
    stiffness: float = 2.0
    tension: float = 0.0


@dataclass(frozen=True)
class RefineSettings:
    """One refinement in free mode. Lengths are fractions of a mean edge where they say so."""

    levels: tuple[RefineLevel, ...]
    seconds: float = 180.0             # CPU seconds of one thread, on a GPU of the clock; what compiles is not counted
    views_per_step: int = 4
    last_rate: float = 0.05            # share of a level's rate that is left at its end
    fairness: float = 0.1              # weight of bending
    evenness: float = 1.0              # weight of changes of the bend
    silhouette: float = 1.0            # weights of the losses
    colour: float = 1.0
    depth: float = 1.0                 # only where views carry depth
    normals: float = 0.3               # only where views carry normals
    points: float = 2.0                # only where sparse points came with the views
    colour_rate: float = 0.01          # step of a colour
    linear_colour: bool = False        # compare linear light instead of sRGB values
    hold_out: int = 8                  # every how many views one judges the first level before it joins; 0: none
    seed: int = 0


# The iterations are the measure. The time is about three times what they take, so that it ends them only on a computer
# that is much slower: what it ends is another mesh every time (docs/decisions/0011)
REFINE_PRESETS: dict[str, RefineSettings] = {
    "draft": RefineSettings(seconds=60.0, levels=(
        RefineLevel(96, 3_000, 250, bending=0.5), RefineLevel(160, 8_000, 150, 0.8, 0.4))),
    "normal": RefineSettings(seconds=180.0, levels=(
        RefineLevel(128, 4_000, 600, bending=0.5), RefineLevel(192, 9_000, 450),
        RefineLevel(448, 40_000, 150, 0.6, 0.4))),
    "high": RefineSettings(seconds=540.0, levels=(
        RefineLevel(128, 4_000, 600, bending=0.5), RefineLevel(192, 9_000, 450),
        RefineLevel(320, 20_000, 300), RefineLevel(640, 80_000, 400, 0.6, 0.4))),
}


def refine_preset(quality: str) -> RefineSettings:
    """The row of a quality name. Raises BadSettings for a name that is not in the table."""
    return preset_of(quality, REFINE_PRESETS)


def from_hull(settings: RefineSettings) -> RefineSettings:
    """What they are where the mesh is the hull of its views: the first level is loose, so that no place is taken along
    that the hull had right, and a little tense. A hull is the largest body in its outlines: what stands out where one
    colour says nothing is drawn in, and what the views do show comes back. Source: own (docs/decisions/0009)."""
    first, *others = settings.levels
    return replace(settings, levels=(replace(first, stiffness=0.3, tension=0.02), *others))
