"""Kernels of texture.py. Warp compiles these functions; they are not run by Python.

All levels of a texture lie one after the other: level l has size[l] = (height, width) and begins at texel start[l].
"""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile


@wp.struct
class Pyramid:
    texels: wp.array(dtype=wp.float32, ndim=3)     # (1 or N, T, C)
    size: wp.array(dtype=wp.vec2i)
    start: wp.array(dtype=wp.int32)
    per_view: int
    wraps: int


@wp.struct
class Taps:
    at: wp.vec4i                                   # upper left, upper right, lower left, lower right
    fx: float
    fy: float
    width: float
    height: float


@wp.func
def inside(i: int, n: int, wraps: int) -> int:
    result = wp.clamp(i, 0, n - 1)
    if wraps == 1:
        result = i % n                             # C's remainder: below 0 for i below 0
        if result < 0:
            result = result + n
    return result


@wp.func
def taps_at(pyramid: Pyramid, level: int, uv: wp.vec2) -> Taps:
    height = pyramid.size[level][0]
    width = pyramid.size[level][1]
    u = uv[0]
    v = uv[1]
    if pyramid.wraps == 1:
        u = u - wp.floor(u)
        v = v - wp.floor(v)
    x = wp.clamp(u * float(width), -1.0, float(width) + 1.0) - 0.5
    y = wp.clamp(v * float(height), -1.0, float(height) + 1.0) - 0.5
    left = int(wp.floor(x))
    top = int(wp.floor(y))
    column0 = inside(left, width, pyramid.wraps)
    column1 = inside(left + 1, width, pyramid.wraps)
    row0 = pyramid.start[level] + inside(top, height, pyramid.wraps) * width
    row1 = pyramid.start[level] + inside(top + 1, height, pyramid.wraps) * width
    taps = Taps()
    taps.at = wp.vec4i(row0 + column0, row0 + column1, row1 + column0, row1 + column1)
    taps.fx = x - wp.floor(x)
    taps.fy = y - wp.floor(y)
    taps.width = float(width)
    taps.height = float(height)
    return taps


@wp.func
def read(pyramid: Pyramid, item: int, taps: Taps, channel: int) -> float:
    upper = (pyramid.texels[item, taps.at[0], channel] * (1.0 - taps.fx)
             + pyramid.texels[item, taps.at[1], channel] * taps.fx)
    lower = (pyramid.texels[item, taps.at[2], channel] * (1.0 - taps.fx)
             + pyramid.texels[item, taps.at[3], channel] * taps.fx)
    return upper * (1.0 - taps.fy) + lower * taps.fy


@wp.func
def slope(pyramid: Pyramid, item: int, taps: Taps, channel: int) -> wp.vec2:
    """Change of `read` with u and v."""
    a = pyramid.texels[item, taps.at[0], channel]
    b = pyramid.texels[item, taps.at[1], channel]
    c = pyramid.texels[item, taps.at[2], channel]
    d = pyramid.texels[item, taps.at[3], channel]
    return wp.vec2(((b - a) * (1.0 - taps.fy) + (d - c) * taps.fy) * taps.width,
                   ((c - a) * (1.0 - taps.fx) + (d - b) * taps.fx) * taps.height)


@wp.func
def add_taps(found: wp.array(dtype=wp.float32, ndim=3), slot: int, taps: Taps, channel: int, share: float):
    wp.atomic_add(found, slot, taps.at[0], channel, share * (1.0 - taps.fx) * (1.0 - taps.fy))
    wp.atomic_add(found, slot, taps.at[1], channel, share * taps.fx * (1.0 - taps.fy))
    wp.atomic_add(found, slot, taps.at[2], channel, share * (1.0 - taps.fx) * taps.fy)
    wp.atomic_add(found, slot, taps.at[3], channel, share * taps.fx * taps.fy)


@wp.kernel
def sample_texels(pyramid: Pyramid, uv: wp.array(dtype=wp.vec2, ndim=3), level: wp.array(dtype=wp.float32, ndim=3),
                  result: wp.array(dtype=wp.float32, ndim=4),
                  block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    item = block * pyramid.per_view
    levels = pyramid.size.shape[0]
    for column in range(part * span, wp.min(part * span + span, uv.shape[2])):
        place = uv[block, row, column]
        lower = int(0)
        blend = float(0.0)
        if levels > 1:
            wanted = wp.clamp(level[block, row, column], 0.0, float(levels - 1))
            lower = wp.min(int(wanted), levels - 2)
            blend = wanted - float(lower)
        taps = taps_at(pyramid, lower, place)
        for c in range(result.shape[3]):
            result[block, row, column, c] = read(pyramid, item, taps, c) * (1.0 - blend)
        if blend > 0.0:
            coarse = taps_at(pyramid, lower + 1, place)
            for c in range(result.shape[3]):
                result[block, row, column, c] = result[block, row, column, c] + read(pyramid, item, coarse, c) * blend


@wp.kernel
def spread_texels(pyramid: Pyramid, uv: wp.array(dtype=wp.vec2, ndim=3), level: wp.array(dtype=wp.float32, ndim=3),
                  grad: wp.array(dtype=wp.float32, ndim=4), to_uv: wp.array(dtype=wp.vec2, ndim=3),
                  to_level: wp.array(dtype=wp.float32, ndim=3), found: wp.array(dtype=wp.float32, ndim=3),
                  slot: int, block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    item = block * pyramid.per_view
    levels = pyramid.size.shape[0]
    for column in range(part * span, wp.min(part * span + span, uv.shape[2])):
        place = uv[block, row, column]
        lower = int(0)
        blend = float(0.0)
        free = float(0.0)                          # 1 where the level is not held at the first or last
        if levels > 1:
            wanted = level[block, row, column]
            if wanted > 0.0 and wanted < float(levels - 1):
                free = 1.0
            wanted = wp.clamp(wanted, 0.0, float(levels - 1))
            lower = wp.min(int(wanted), levels - 2)
            blend = wanted - float(lower)
        taps = taps_at(pyramid, lower, place)
        coarse = taps
        if levels > 1:
            coarse = taps_at(pyramid, lower + 1, place)
        pull = wp.vec2(0.0, 0.0)
        deeper = float(0.0)
        for c in range(grad.shape[3]):
            g = grad[block, row, column, c]
            if g != 0.0:
                pull = pull + slope(pyramid, item, taps, c) * (g * (1.0 - blend))
                add_taps(found, slot, taps, c, g * (1.0 - blend))
                if levels > 1:
                    pull = pull + slope(pyramid, item, coarse, c) * (g * blend)
                    add_taps(found, slot, coarse, c, g * blend)
                    deeper = deeper + g * (read(pyramid, item, coarse, c) - read(pyramid, item, taps, c))
        to_uv[block, row, column] = pull
        to_level[block, row, column] = deeper * free
