"""Cameras around something: where they stand, and how far off so that it is in the picture. No bpy."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...bridge.errors import BadSettings

GOLDEN_ANGLE_RAD = math.pi * (3.0 - math.sqrt(5.0))
FRAME_MARGIN = 1.08          # the picture's shorter side against the bounding sphere
LOWEST_DEG, HIGHEST_DEG = -35.0, 75.0
FEWEST_VIEWS, MOST_VIEWS = 3, 512


@dataclass(frozen=True)
class Sphere:
    """Bounding sphere in the world. centre: (3,) float64. radius: scene units, above 0."""

    centre: np.ndarray
    radius: float


def orbit_directions(count: int, lowest_deg: float = LOWEST_DEG, highest_deg: float = HIGHEST_DEG) -> np.ndarray:
    """Where the cameras stand, seen from the centre: (count, 3) float64 unit vectors, Z up, spread evenly by area.

    lowest_deg, highest_deg: elevation above the horizon that they stay between, inside (-90, 90).
    Raises BadSettings. Source: Fibonacci lattice on the sphere, restricted to a zone of it.
    """
    if not FEWEST_VIEWS <= count <= MOST_VIEWS:
        raise BadSettings(f"{count} views are asked for.", f"Use {FEWEST_VIEWS} to {MOST_VIEWS}.")
    if not -90.0 < lowest_deg < highest_deg < 90.0:
        raise BadSettings(f"The cameras cannot stand between {lowest_deg:g} and {highest_deg:g} degrees.",
                          "Use two elevations between -90 and 90, the lower one first.")
    low, high = math.sin(math.radians(lowest_deg)), math.sin(math.radians(highest_deg))
    index = np.arange(count)
    z = low + (index + 0.5) / count * (high - low)
    azimuth = index * GOLDEN_ANGLE_RAD
    across = np.sqrt(1.0 - z * z)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=-1)


def orbit_distance(radius: float, focal_px: float, shorter_side_px: float) -> float:
    """How far from the centre a camera sees the whole sphere, with a margin.

    focal_px, shorter_side_px: of the picture, in the same pixels. Source: own; a sphere of radius r at distance d
    fills the half angle asin(r / d).
    """
    half_angle = math.atan(shorter_side_px / 2 / FRAME_MARGIN / focal_px)
    return radius / math.sin(half_angle)


def look_at_matrix(place: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """(4, 4) float64 matrix_world of a Blender camera at `place` that looks at `aim`, upright.

    place, aim: (3,) world; not above each other.
    """
    back = (place - aim) / np.linalg.norm(place - aim)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :4] = np.stack([right, np.cross(back, right), back, place], axis=-1)
    return matrix


def bounding_sphere(clouds: list[np.ndarray]) -> Sphere:
    """Around the middle of the bounding box of all points.

    clouds: (N, 3) float arrays, world. Raises BadSettings when there is no extent.
    """
    filled = [cloud for cloud in clouds if len(cloud)]
    if not filled:
        raise BadSettings("There is nothing to look at.",
                          "Choose something that has geometry and is not disabled in viewports.")
    low = np.min([cloud.min(axis=0) for cloud in filled], axis=0)
    high = np.max([cloud.max(axis=0) for cloud in filled], axis=0)
    centre = (low + high) / 2
    radius = float(max(np.linalg.norm(cloud - centre, axis=1).max() for cloud in filled))
    if not math.isfinite(radius) or radius <= 0:
        raise BadSettings("What is to be rendered has no size.", "Choose something that has geometry.")
    return Sphere(centre, radius)
