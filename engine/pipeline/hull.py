"""The visual hull: all of space that every view sees inside the object's outline, as a soft field on a grid."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from ...bridge.errors import BadCameras
from .agreement import silence_wrong_masks
from .depth_carving import carve, depth_views
from .presets import ViewsPreset
from .progress import Stage
from .silhouettes import Silhouettes, agreed_depth, build_silhouettes, measure_depths
from .types import Field, Mask, ViewSet

BAND = 2.0  # cells on either side of the surface over which the field goes from 0 to 1
CUT_OUT_SIGMA = 1.0  # cells; outlines that we cut out ourselves wobble, and so does the rank that counts
BLOCK = 4  # cells along a block, which is settled as a whole where the outlines allow it
CHUNK = 1 << 18  # points measured between two looks at "cancel"


def visual_hull(views: ViewSet, masks: Sequence[Mask], box: np.ndarray, preset: ViewsPreset, device: torch.device,
                stage: Stage) -> Field:
    """The soft visual hull of the views inside `box` ((2, 3) float64, world: low and high corner).

    The field is the signed distance to the outlines, taken through all views by their smallest value, so the surface
    lies between the samples to a fraction of a cell. Masks that came with the views count strictly, except where one
    view alone contradicts all others (it is told of and ignored there); masks we cut out ourselves may be wrong
    anywhere, so there the second or third smallest value counts once enough views see a point. Where views carry depth,
    what they look through is carved as well, so that hollows are found.
    Raises BadCameras when nothing is left, Cancelled. Source: own; visual hull: Laurentini 1994.
    """
    spacing = float((box[1] - box[0]).max()) / preset.grid
    silhouettes = build_silhouettes(views, masks, preset.silhouette_px, box.mean(axis=0), device)
    silhouettes = silence_wrong_masks(silhouettes, views, box, stage)
    deep = depth_views(views, masks, silhouettes, 2 * spacing, stage)
    blocks = np.ceil(((box[1] - box[0]) / spacing + 2) / BLOCK).astype(int)
    # centred: what the blocks stand over the box is shared by both of its sides, and is a cell at least
    low = box.mean(axis=0) - silhouettes.origin - 0.5 * spacing * (blocks * BLOCK - 1)
    corner = torch.tensor(low, dtype=torch.float32, device=device)
    limits = torch.tensor(box - silhouettes.origin, dtype=torch.float32, device=device)
    undecided, field = _settle_blocks(silhouettes, corner, blocks, spacing, limits, not deep)
    within = torch.stack(torch.meshgrid(*[torch.arange(BLOCK, device=device)] * 3, indexing="ij"), -1).reshape(-1, 3)
    step = max(1, CHUNK // len(within))
    stage.total = -(-len(undecided) // step)
    for start in range(0, len(undecided), step):
        cells = (undecided[start:start + step, None] * BLOCK + within[None]).reshape(-1, 3)
        points = corner + spacing * cells
        depth = torch.minimum(agreed_depth(silhouettes, measure_depths(silhouettes, points, 3)),
                              _depth_in_box(limits, points))
        if deep:
            depth = torch.minimum(depth, carve(deep, points))
        field[cells[:, 0], cells[:, 1], cells[:, 2]] = (0.5 + depth / (2 * BAND * spacing)).clamp(0, 1)
        stage.advance()
    values = field.cpu().numpy()
    if not silhouettes.trusted:
        values = ndimage.gaussian_filter(values, CUT_OUT_SIGMA, truncate=3.0)
    if not (values > 0.5).any():
        raise BadCameras("The outlines of the object in the views have no common volume.",
                         "Check that the cameras belong to these images and that the masks are right.")
    return Field(values, silhouettes.origin + low, spacing, by_depth=2 * len(deep) >= len(silhouettes.views))


def _settle_blocks(silhouettes: Silhouettes, corner: torch.Tensor, blocks: np.ndarray, spacing: float,
                   limits: torch.Tensor, outlines_only: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill the blocks that bounds show to be wholly out or wholly in; the others come back as (M, 3) int64.
    outlines_only: nothing else carves, so that a block deep inside them is in."""
    axes = [torch.arange(int(count), device=corner.device) for count in blocks]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    centres = corner + spacing * (index * BLOCK + 0.5 * (BLOCK - 1))
    reach = 0.5 * np.sqrt(3) * (BLOCK - 1) * spacing
    above = measure_depths(silhouettes, centres, 3, reach, 1)
    below = measure_depths(silhouettes, centres, 1, reach, -1)
    worst_rank = 0 if silhouettes.trusted else 2
    in_box = _depth_in_box(limits, centres)
    outside = (above.smallest[worst_rank] < -BAND * spacing) | (in_box + reach < -BAND * spacing)
    inside = (below.smallest[0] > BAND * spacing) & (in_box - reach > BAND * spacing)
    inside &= (above.seen >= silhouettes.needed_views) & (above.seen > above.missed)
    inside &= outlines_only
    coarse = inside.float().reshape(*map(int, blocks))
    field = coarse.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    return index[~outside & ~inside], field


def _depth_in_box(limits: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N,) how deep points (N, 3) lie inside the box `limits` (2, 3); negative outside. It cuts like an outline."""
    return torch.minimum(points - limits[0], limits[1] - points).amin(dim=1)
