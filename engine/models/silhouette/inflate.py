"""From a mask to a closed surface: how thick the object is at each place of its outline, and the lattice in between.

The squared half thickness q solves  -laplace(q) = PUFF  inside, q = 0 on the outline. So the shape is round at its rim,
smooth everywhere else, and as deep as its parts are wide: of a disc of radius r it makes an ellipsoid of depth
2 r sqrt(PUFF / 4), of a long bar of width 2 w a rod of depth 2 w sqrt(PUFF / 2).
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve
from skimage.measure import marching_cubes

from ....bridge.errors import BadMasks
from ...pipeline.fill import pad_with_nearest
from ...pipeline.images import OPAQUE
from ...pipeline.silhouettes import signed_distance_px
from ...pipeline.types import Mesh

PUFF = 3.0          # between 4 (discs become balls) and 2 (bars become round rods)
_MARGIN = 3         # cells around the object
_LEAST_PX = 8       # of the outline's longer side: less is no picture of anything
_LEAST_SHARE = 0.05  # of a cell, between its centre and the outline: nearer makes the equations stiff


@dataclass(frozen=True)
class Frame:
    """Where the lattice lies in the picture. origin_px: the TOP left CORNER of its first cell. cell_px: side of a cell.

    centre_px: middle of the object's box, x and y. units_px: pixels that are one unit of the world.
    """

    origin_px: tuple[float, float]
    cell_px: float
    centre_px: tuple[float, float]
    units_px: float


def lattice_of(alpha: np.ndarray, resolution: int) -> tuple[np.ndarray, Frame]:
    """The object's outline on a lattice: signed distance in cells, positive inside, (R, C) float32; and where it lies.

    alpha: (H, W) uint8, 255 = object. resolution: cells along the longer side of the object.
    Raises BadMasks when nothing is inside, or too little to have a shape.
    """
    rows, columns = np.nonzero((alpha > 127).any(1))[0], np.nonzero((alpha > 127).any(0))[0]
    if not len(rows):
        raise BadMasks("The mask leaves nothing of the picture.", "Paint it white on the object.")
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    side = max(height, width)
    if side < _LEAST_PX:
        raise BadMasks(f"The object is only {width}x{height} pixels large.", "Use a larger picture of it.")
    cell = max(side / resolution, 0.5)      # finer than half a pixel shows nothing new
    origin = (left - _MARGIN * cell, top - _MARGIN * cell)
    shape = [int(np.ceil(length / cell)) + 2 * _MARGIN for length in (width, height)]
    # bring each cell's mean to its centre: blurred first where cells are larger than pixels
    soft = alpha.astype(np.float32) / 255
    if cell > 1:
        soft = cv2.GaussianBlur(soft, (0, 0), 0.4 * cell, borderType=cv2.BORDER_CONSTANT)
    at = [(first + cell * (np.arange(count) + 0.5) - 0.5).astype(np.float32) for first, count in zip(origin, shape)]
    across, down = np.meshgrid(*at)
    values = cv2.remap(soft, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    distance = signed_distance_px(values)
    if not (distance > 0).any():
        raise BadMasks("The mask shows lines only, too thin for a shape.", "Paint it white on the whole object.")
    return distance, Frame(origin, cell, (left + width / 2, top + height / 2), float(side))


def inflate(distance: np.ndarray) -> np.ndarray:
    """Squared half thickness in squared cells, (R, C) float64; negative outside, and zero where `distance` is.

    distance: (R, C) float32, signed, in cells; negative along the border.
    Source: own; unequal arms at the outline after Shortley and Weller 1938.
    """
    inside = distance > 0
    number = np.full(distance.shape, -1, np.int64)
    number[inside] = np.arange(int(inside.sum()))
    depth = distance[inside].astype(np.float64)
    cells = np.argwhere(inside)
    diagonal = np.zeros(len(cells))
    rows, columns = [], []
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside = tuple((cells + step).T)
        other = number[beside]
        arm = np.clip(depth / (depth - np.minimum(distance[beside], 0)), _LEAST_SHARE, 1)
        diagonal += np.where(other >= 0, 1.0, 1 / arm)
        rows.append(np.flatnonzero(other >= 0))
        columns.append(other[other >= 0])
    row, column = np.concatenate(rows), np.concatenate(columns)
    system = sparse.coo_matrix((-np.ones(len(row)), (row, column)), shape=(len(cells),) * 2) + sparse.diags(diagonal)
    squared = np.zeros(distance.shape)
    squared[inside] = spsolve(system.tocsc(), np.full(len(cells), PUFF))
    return np.where(inside, squared, _continued(squared, distance))


def _continued(squared: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Beyond the outline: falling as steeply as it rises within, so that it is zero where the outline is."""
    near = np.zeros(distance.shape)
    count = np.zeros(distance.shape)
    slope = np.where(distance > 0, squared / np.maximum(distance, _LEAST_SHARE), 0)
    for axis in (0, 1):
        for step in (1, -1):
            near += np.roll(slope, step, axis)
            count += np.roll(distance > 0, step, axis)
    return np.minimum(distance, -1e-3) * np.where(count > 0, near / np.maximum(count, 1), PUFF)


def surface_between(squared: np.ndarray, frame: Frame) -> tuple[Mesh, float]:
    """The closed surface at plus and minus the half thickness: (mesh, how high the object's middle is over the ground).

    squared: as `inflate` makes it. The mesh is in Blender's world: front -Y, up Z, lowest point at z = 0, its longer
    side one unit, x = 0 and y = 0 in the middle of the object.
    """
    vertices, faces = _front_and_back(*_behind_middle(squared.astype(np.float32)))
    row, column, depth = vertices.T
    unit = frame.cell_px / frame.units_px
    x = (column + 0.5) * unit + (frame.origin_px[0] - frame.centre_px[0]) / frame.units_px
    z = (frame.centre_px[1] - frame.origin_px[1]) / frame.units_px - (row + 0.5) * unit
    lift = -float(z.min())
    places = np.stack([x, depth * unit, z + lift], 1).astype(np.float32)
    # rows go down and z goes up, which turns every face over
    return Mesh(places, np.ascontiguousarray(faces[:, ::-1], np.int32)), lift


def _behind_middle(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half of the surface at and behind the plane in its middle, open there: vertices (V, 3) float32 in cells (row,
    column, depth from 0 on), faces (F, 3). At the finest setting a lattice of the whole takes a gigabyte."""
    level = np.arange(int(np.ceil(np.sqrt(max(float(squared.max()), 1.0)))) + 3, dtype=np.float32)
    values = np.empty((*squared.shape, len(level)), np.float32)
    for row, own in zip(values, squared[:, :, None]):
        # as a difference of lengths it is straight along y, where the lattice would make stairs of squares
        np.divide(own - level**2, np.sqrt(np.maximum(own, 0)) + level + 1, out=row)
    return marching_cubes(values, 0.0, gradient_direction="ascent", allow_degenerate=False)[:2]


def _front_and_back(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A half of the surface and its mirror image, which share the vertices at depth 0."""
    behind = vertices[:, 2] > 0
    front = np.where(behind, len(vertices) + np.cumsum(behind) - 1, np.arange(len(vertices)))
    mirrored = vertices[behind] * np.array([1, 1, -1], np.float32)
    return np.concatenate([vertices, mirrored]), np.concatenate([faces, front[faces[:, ::-1]]])


def without_rim(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the object's colours, carried outwards from where nothing of the background is mixed in.

    image: (H, W, 4) uint8, straight alpha.
    """
    alpha = np.pad(image[:, :, 3], 1)
    for sure in ((cv2.erode(alpha, np.ones((3, 3), np.uint8)) >= OPAQUE), alpha >= OPAQUE, alpha > 127):
        if sure.any():
            return pad_with_nearest(np.ascontiguousarray(image[:, :, :3]), np.ascontiguousarray(sure[1:-1, 1:-1]))
    return np.ascontiguousarray(image[:, :, :3])
