"""Kernels of rasterize.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from .raster_kernels import corner_at, hit_inside, seen_from

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile


@wp.kernel
def resolve_rast(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), empty: wp.uint64,
                 nearest: wp.array(dtype=wp.uint64, ndim=3), rast: wp.array(dtype=wp.vec4, ndim=3),
                 slot: int, block: int, first_row: int, end_row: int, span: int):
    """Takes what `cover` found, and leaves `nearest` empty."""
    row, part = wp.tid()
    row = row + first_row
    y = float(row) + 0.5
    last = int(-1)
    p = wp.vec4()
    q = wp.vec4()
    r = wp.vec4()
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        key = nearest[slot, row, column]
        here = wp.vec4(0.0, 0.0, 0.0, 0.0)
        if key != empty:
            nearest[slot, row, column] = empty
            face = int(key & wp.uint64(4294967295))
            if face != last:
                last = face
                p = screen[block, faces[face, 0]]
                q = screen[block, faces[face, 1]]
                r = screen[block, faces[face, 2]]
            hit = hit_inside(p, q, r, float(column) + 0.5, y)
            here = wp.vec4(hit[0], hit[1], hit[2], float(face + 1))
        rast[block, row, column] = here


@wp.func
def turned(p: wp.vec4, q: wp.vec4, share: float) -> wp.vec2:
    """Gradient of  share * (p.x q.y - p.y q.x)  to p's x and y; with p and q exchanged and -share, to q's."""
    return wp.vec2(share * q[1], -share * q[0])


@wp.func
def corner_gradient(xy: wp.vec2, z: float, w: float, x: float, y: float) -> wp.vec4:
    """Gradient to a corner on the screen from the one to it as seen from the pixel (x - pixel_x w, ...)."""
    return wp.vec4(xy[0], xy[1], z, w - x * xy[0] - y * xy[1])


@wp.struct
class Corners:
    """Gradients to a triangle's corners on the screen."""
    a: wp.vec4
    b: wp.vec4
    c: wp.vec4


@wp.func
def corners_of(p: wp.vec4, q: wp.vec4, r: wp.vec4, here: wp.vec4, g: wp.vec4, x: float, y: float) -> Corners:
    """What the gradient g to a pixel's (u, v, z/w) gives the corners of the triangle that it shows."""
    a = seen_from(p, x, y)
    b = seen_from(q, x, y)
    c = seen_from(r, x, y)
    u = here[0]
    v = here[1]
    rest = 1.0 - u - v
    zw = here[2]
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    scale = float(0.0)
    if area != 0.0:
        scale = 1.0 / area
    along = (g[0] * u + g[1] * v) * scale
    g0 = g[0] * scale - along
    g1 = g[1] * scale - along
    g2 = -along
    deep = float(0.0)
    if g[2] != 0.0:
        deep = g[2] / (u * a[3] + v * b[3] + rest * c[3])
        g0 = g0 + deep * scale * (a[2] - zw * a[3])
        g1 = g1 + deep * scale * (b[2] - zw * b[3])
        g2 = g2 + deep * scale * (c[2] - zw * c[3])
    to = Corners()
    to.a = corner_gradient(turned(a, b, g2) + turned(a, c, -g1), deep * u, -deep * u * zw, x, y)
    to.b = corner_gradient(turned(b, c, g0) + turned(b, a, -g2), deep * v, -deep * v * zw, x, y)
    to.c = corner_gradient(turned(c, a, g1) + turned(c, b, -g0), deep * rest, -deep * rest * zw, x, y)
    return to


@wp.kernel
def spread_rast(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2),
                rast: wp.array(dtype=wp.vec4, ndim=3), grad: wp.array(dtype=wp.vec4, ndim=3),
                found: wp.array(dtype=wp.vec4, ndim=2), slot: int, block: int, first_row: int, end_row: int, span: int):
    # neighbouring pixels often show one face: what they give its corners is added up before it is written
    row, part = wp.tid()
    row = row + first_row
    y = float(row) + 0.5
    last = int(-1)
    i0 = int(0)
    i1 = int(0)
    i2 = int(0)
    p = wp.vec4()
    q = wp.vec4()
    r = wp.vec4()
    sum_0 = wp.vec4()
    sum_1 = wp.vec4()
    sum_2 = wp.vec4()
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        g = grad[block, row, column]
        if here[3] > 0.0 and (g[0] != 0.0 or g[1] != 0.0 or g[2] != 0.0):
            face = int(here[3]) - 1
            if face != last:
                if last >= 0:
                    wp.atomic_add(found, slot, i0, sum_0)
                    wp.atomic_add(found, slot, i1, sum_1)
                    wp.atomic_add(found, slot, i2, sum_2)
                last = face
                i0 = faces[face, 0]
                i1 = faces[face, 1]
                i2 = faces[face, 2]
                p = screen[block, i0]
                q = screen[block, i1]
                r = screen[block, i2]
                sum_0 = wp.vec4()
                sum_1 = wp.vec4()
                sum_2 = wp.vec4()
            to = corners_of(p, q, r, here, g, float(column) + 0.5, y)
            sum_0 = sum_0 + to.a
            sum_1 = sum_1 + to.b
            sum_2 = sum_2 + to.c
    if last >= 0:
        wp.atomic_add(found, slot, i0, sum_0)
        wp.atomic_add(found, slot, i1, sum_1)
        wp.atomic_add(found, slot, i2, sum_2)


@wp.kernel
def derive_pixels(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2),
                  rast: wp.array(dtype=wp.vec4, ndim=3), result: wp.array(dtype=wp.vec4, ndim=3),
                  block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        change = wp.vec4(0.0, 0.0, 0.0, 0.0)
        if here[3] > 0.0:
            face = int(here[3]) - 1
            x = float(column) + 0.5
            y = float(row) + 0.5
            a = corner_at(screen, block, faces[face, 0], x, y)
            b = corner_at(screen, block, faces[face, 1], x, y)
            c = corner_at(screen, block, faces[face, 2], x, y)
            # e0 = bX cY - bY cX with X' = X - x w: its slope in x is -bw cY + bY cw, in y -bX cw + bw cX
            e0x = b[1] * c[3] - b[3] * c[1]
            e1x = c[1] * a[3] - c[3] * a[1]
            e2x = a[1] * b[3] - a[3] * b[1]
            e0y = b[3] * c[0] - b[0] * c[3]
            e1y = c[3] * a[0] - c[0] * a[3]
            e2y = a[3] * b[0] - a[0] * b[3]
            scale = 1.0 / (b[0] * c[1] - b[1] * c[0] + c[0] * a[1] - c[1] * a[0] + a[0] * b[1] - a[1] * b[0])
            sx = e0x + e1x + e2x
            sy = e0y + e1y + e2y
            change = wp.vec4((e0x - here[0] * sx) * scale, (e0y - here[0] * sy) * scale,
                             (e1x - here[1] * sx) * scale, (e1y - here[1] * sy) * scale)
        result[block, row, column] = change
