"""Kernels of observe.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # nobody asks for gradients; Warp's would double the compile

MAX_SIDE_COSINE = 0.08         # surfaces turned away further than this (85 degrees) say nothing
BEST = 8                       # so many views of highest weight take part in a texel's colour
DARKEST = 0.01                 # added before the logarithm: noise in black is no highlight
vec3b = wp.types.vector(length=3, dtype=wp.uint8)
best_floats = wp.types.vector(length=BEST, dtype=wp.float32)
best_ints = wp.types.vector(length=BEST, dtype=wp.int32)


@wp.func
def tap(pixels: wp.array(dtype=vec3b), linear: wp.array(dtype=wp.float32), at: wp.int64) -> wp.vec3:
    p = pixels[at]
    return wp.vec3(linear[int(p[0])], linear[int(p[1])], linear[int(p[2])])


@wp.func
def sample(pixels: wp.array(dtype=vec3b), linear: wp.array(dtype=wp.float32), start: wp.int64, width: int, height: int,
           x: float, y: float) -> wp.vec3:
    """Bilinear, in linear light; clamped at the frame."""
    u = wp.clamp(x - 0.5, 0.0, float(width - 1))
    v = wp.clamp(y - 0.5, 0.0, float(height - 1))
    left = wp.min(int(u), width - 1)
    top = wp.min(int(v), height - 1)
    right = wp.min(left + 1, width - 1)
    bottom = wp.min(top + 1, height - 1)
    fu = u - float(left)
    fv = v - float(top)
    row0 = start + wp.int64(top) * wp.int64(width)
    row1 = start + wp.int64(bottom) * wp.int64(width)
    upper = tap(pixels, linear, row0 + wp.int64(left)) * (1.0 - fu) + tap(pixels, linear, row0 + wp.int64(right)) * fu
    lower = tap(pixels, linear, row1 + wp.int64(left)) * (1.0 - fu) + tap(pixels, linear, row1 + wp.int64(right)) * fu
    return upper * (1.0 - fv) + lower * fv


@wp.kernel
def look(points: wp.array(dtype=wp.vec3), normals: wp.array(dtype=wp.vec3),
         pose: wp.array(dtype=wp.mat44), lens: wp.array(dtype=wp.vec4), size: wp.array(dtype=wp.int32, ndim=2),
         start: wp.array(dtype=wp.int64), pixels: wp.array(dtype=vec3b), depth: wp.array(dtype=wp.float32),
         trust: wp.array(dtype=wp.uint8), linear: wp.array(dtype=wp.float32),
         color: wp.array(dtype=wp.vec3, ndim=2), weight: wp.array(dtype=wp.float32, ndim=2),
         block: int, first_row: int, end_row: int):
    row, view = wp.tid()
    row = row + first_row
    from_world = pose[view]
    p = wp.transform_point(from_world, points[row])
    weight[row, view] = 0.0
    if p[2] > 0.0:
        k = lens[view]
        x = k[0] * p[0] / p[2] + k[2]
        y = k[1] * p[1] / p[2] + k[3]
        width = size[view, 0]
        height = size[view, 1]
        if x >= 0.0 and y >= 0.0 and x < float(width) and y < float(height):
            n = wp.transform_vector(from_world, normals[row])
            cosine = -wp.dot(n, p) / wp.max(wp.length(p) * wp.length(n), 1.0e-20)
            at = start[view] + wp.int64(int(y)) * wp.int64(width) + wp.int64(int(x))
            trusted = float(trust[at]) / 255.0
            footprint = p[2] / k[0]
            slope = wp.min(wp.sqrt(wp.max(1.0 - cosine * cosine, 0.0)) / wp.max(cosine, 1.0e-3), 8.0)
            if cosine > MAX_SIDE_COSINE and trusted > 0.0 and p[2] <= depth[at] + footprint * (1.5 + 1.5 * slope):
                weight[row, view] = cosine * cosine * trusted / (footprint * footprint)
                color[row, view] = sample(pixels, linear, start[view], width, height, x, y)


@wp.func
def luminance(c: wp.vec3) -> float:
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]


@wp.kernel
def blend(color: wp.array(dtype=wp.vec3, ndim=2), weight: wp.array(dtype=wp.float32, ndim=2), sharpness: float,
          brighter: float, darker: float, result: wp.array(dtype=wp.vec3), confidence: wp.array(dtype=wp.float32),
          block: int, first_row: int, end_row: int):
    row = wp.tid() + first_row
    w = best_floats()
    v = best_ints()
    count = int(0)
    total = float(0.0)
    for view in range(weight.shape[1]):          # keep the best, in falling order of weight
        new = weight[row, view]
        if new > 0.0 and (count < BEST or new > w[BEST - 1]):
            slot = wp.min(count, BEST - 1)
            while slot > 0 and w[wp.max(slot - 1, 0)] < new:
                w[slot] = w[slot - 1]
                v[slot] = v[slot - 1]
                slot = slot - 1
            w[slot] = new
            v[slot] = view
            count = wp.min(count + 1, BEST)
    light = best_floats()
    for i in range(count):
        light[i] = wp.log(luminance(color[row, v[i]]) + DARKEST)
        total = total + w[i]
    middle = float(0.0)                          # weighted lower median of log luminance
    found = float(1.0e30)
    for i in range(count):
        below = float(0.0)
        for j in range(count):
            if light[j] <= light[i]:
                below = below + w[j]
        if below >= 0.5 * total and light[i] < found:
            found = light[i]
            middle = light[i]
    top = float(0.0)
    for i in range(count):
        off = light[i] - middle
        scale = darker
        if off > 0.0:
            scale = brighter
        w[i] = w[i] / (1.0 + (off / scale) * (off / scale))
        top = wp.max(top, w[i])
    sum_color = wp.vec3(0.0, 0.0, 0.0)
    sum_weight = float(0.0)
    for i in range(count):
        share = wp.pow(w[i] / top, sharpness)
        sum_color = sum_color + color[row, v[i]] * share
        sum_weight = sum_weight + share
    confidence[row] = top
    result[row] = sum_color / wp.max(sum_weight, 1.0e-20)
