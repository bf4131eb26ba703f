"""Kernels of fragments.py and rasterize.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # Warp would compile gradients that nobody asks for

DEPTH_STEPS = 2147483647.0     # 31 bits of depth above 32 bits of face index


@wp.func
def seen_from(c: wp.vec4, x: float, y: float) -> wp.vec4:
    return wp.vec4(c[0] - x * c[3], c[1] - y * c[3], c[2], c[3])


@wp.func
def corner_at(screen: wp.array(dtype=wp.vec4, ndim=2), block: int, index: int, x: float, y: float) -> wp.vec4:
    """A corner (X, Y, z, w in pixels times w) as seen from the pixel at (x, y)."""
    return seen_from(screen[block, index], x, y)


@wp.func
def edge(a: wp.vec4, b: wp.vec4, ia: int, ib: int) -> float:
    """Signed edge function at the pixel. Taken from the lower to the higher index, so that two triangles that share an
    edge get the same number with opposite sign and leave no gap."""
    e = float(0.0)
    if ia < ib:
        e = a[0] * b[1] - a[1] * b[0]
    else:
        e = -(b[0] * a[1] - b[1] * a[0])
    return e


@wp.func
def weights_at(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), block: int, face: int,
               x: float, y: float) -> wp.vec4:
    """(weight of corner 0, of corner 1, z/w, w) at a pixel; w <= 0 when the pixel is outside."""
    i0 = faces[face, 0]
    i1 = faces[face, 1]
    i2 = faces[face, 2]
    a = corner_at(screen, block, i0, x, y)
    b = corner_at(screen, block, i1, x, y)
    c = corner_at(screen, block, i2, x, y)
    e0 = edge(b, c, i1, i2)
    e1 = edge(c, a, i2, i0)
    e2 = edge(a, b, i0, i1)
    total = e0 + e1 + e2
    outside = wp.vec4(0.0, 0.0, 0.0, -1.0)
    if total == 0.0:
        return outside
    if wp.min(e0, wp.min(e1, e2)) < 0.0 and wp.max(e0, wp.max(e1, e2)) > 0.0:
        return outside
    w0 = e0 / total
    w1 = e1 / total
    w2 = e2 / total
    w = w0 * a[3] + w1 * b[3] + w2 * c[3]
    if w <= 0.0:
        return outside
    return wp.vec4(w0, w1, (w0 * a[2] + w1 * b[2] + w2 * c[2]) / w, w)


@wp.func
def grow(box: wp.vec4, p: wp.vec4) -> wp.vec4:
    x = p[0] / p[3]
    y = p[1] / p[3]
    return wp.vec4(wp.min(box[0], x), wp.min(box[1], y), wp.max(box[2], x), wp.max(box[3], y))


@wp.func
def grow_by_crossing(box: wp.vec4, a: wp.vec4, b: wp.vec4, near_w: float) -> wp.vec4:
    """Add where the edge a-b crosses w = near_w, if it does."""
    result = box
    if (a[3] < near_w) != (b[3] < near_w):
        t = (near_w - a[3]) / (b[3] - a[3])
        p = a + (b - a) * t
        result = grow(box, wp.vec4(p[0], p[1], p[2], near_w))
    return result


@wp.func
def bounds(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), block: int, face: int,
           near_w: float) -> wp.vec4:
    """(low x, low y, high x, high y) in pixels of the part of a triangle in front of w = near_w."""
    a = screen[block, faces[face, 0]]
    b = screen[block, faces[face, 1]]
    c = screen[block, faces[face, 2]]
    box = wp.vec4(1.0e30, 1.0e30, -1.0e30, -1.0e30)
    if a[3] >= near_w:
        box = grow(box, a)
    if b[3] >= near_w:
        box = grow(box, b)
    if c[3] >= near_w:
        box = grow(box, c)
    box = grow_by_crossing(box, a, b, near_w)
    box = grow_by_crossing(box, b, c, near_w)
    box = grow_by_crossing(box, c, a, near_w)
    return box


@wp.func
def offer(nearest: wp.array(dtype=wp.uint64, ndim=3), block: int, row: int, column: int, depth: float, face: int):
    """Let a face have a pixel when it is nearer than what is there; of equal depth the lower face wins."""
    step = wp.uint64((wp.float64(depth) * wp.float64(0.5) + wp.float64(0.5)) * wp.float64(DEPTH_STEPS))
    key = (step << wp.uint64(32)) | wp.uint64(face)
    if key < nearest[block, row, column]:
        wp.atomic_min(nearest, block, row, column, key)


@wp.func
def on_screen(p: wp.vec4) -> wp.vec3:
    """(x, y) in pixels and z/w."""
    scale = 1.0 / p[3]
    return wp.vec3(p[0] * scale, p[1] * scale, p[2] * scale)


@wp.func
def edge_line(a: wp.vec3, b: wp.vec3, ia: int, ib: int) -> wp.vec4:
    """(x, y, dx, dy) of the edge a-b on the screen, from the lower to the higher index as in `edge`; the caller turns
    the sign. Measured from the edge's own corner, so that float32 keeps its digits on large images."""
    line = wp.vec4(a[0], a[1], b[0] - a[0], b[1] - a[1])
    if ia > ib:
        line = wp.vec4(b[0], b[1], a[0] - b[0], a[1] - b[1])
    return line


@wp.func
def turn_of(ia: int, ib: int, sign: float) -> float:
    result = sign
    if ia > ib:
        result = -sign
    return result


@wp.func
def cover_whole(a: wp.vec3, b: wp.vec3, c: wp.vec3, i0: int, i1: int, i2: int,
                nearest: wp.array(dtype=wp.uint64, ndim=3), block: int, face: int, left: int, right: int, top: int,
                bottom: int):
    """All pixels of a triangle that lies in front of the near plane: on the screen everything is linear. Along a row
    every edge function only rises or only falls, so the pixels inside follow each other: after the last one it ends."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area == 0.0:
        return
    l0 = edge_line(b, c, i1, i2)
    l1 = edge_line(c, a, i2, i0)
    l2 = edge_line(a, b, i0, i1)
    sign = wp.sign(area)
    t0 = turn_of(i1, i2, sign)
    t1 = turn_of(i2, i0, sign)
    t2 = turn_of(i0, i1, sign)
    d0 = t0 * l0[3]
    d1 = t1 * l1[3]
    d2 = t2 * l2[3]
    row = int(top)
    while row < bottom:
        y = float(row) + 0.5
        r0 = t0 * l0[2] * (y - l0[1])
        r1 = t1 * l1[2] * (y - l1[1])
        r2 = t2 * l2[2] * (y - l2[1])
        inside = int(0)
        column = int(left)
        while column < right:
            x = float(column) + 0.5
            e0 = r0 - d0 * (x - l0[0])
            e1 = r1 - d1 * (x - l1[0])
            e2 = r2 - d2 * (x - l2[0])
            least = wp.where(e1 < e0, e1, e0)         # one branch instead of three
            least = wp.where(e2 < least, e2, least)
            if least >= 0.0:
                inside = 1
                depth = (e0 * a[2] + e1 * b[2] + e2 * c[2]) / (e0 + e1 + e2)
                if depth >= -1.0 and depth <= 1.0:
                    offer(nearest, block, row, column, depth, face)
            elif inside == 1:
                column = right
            column = column + 1
        row = row + 1


@wp.func
def cover_cut(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), near_w: float,
              nearest: wp.array(dtype=wp.uint64, ndim=3), slot: int, block: int, face: int, left: int, right: int,
              top: int, bottom: int):
    """All pixels of a triangle that crosses the near plane."""
    for row in range(top, bottom):
        for column in range(left, right):
            hit = weights_at(screen, faces, block, face, float(column) + 0.5, float(row) + 0.5)
            if hit[3] >= near_w and hit[2] >= -1.0 and hit[2] <= 1.0:
                offer(nearest, slot, row, column, hit[2], face)


@wp.func
def clip_box(box: wp.vec4, width: int, first_row: int, end_row: int) -> wp.vec4i:
    """(left, right, top, bottom): the pixels whose centres are in the box. Centres lie at +0.5: the first at or after x
    is ceil(x - 0.5)."""
    return wp.vec4i(int(wp.clamp(wp.ceil(box[0] - 0.5), 0.0, float(width))),
                    int(wp.clamp(wp.floor(box[2] - 0.5) + 1.0, 0.0, float(width))),
                    int(wp.clamp(wp.ceil(box[1] - 0.5), float(first_row), float(end_row))),
                    int(wp.clamp(wp.floor(box[3] - 0.5) + 1.0, float(first_row), float(end_row))))


@wp.kernel
def cover(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), width: int, near_w: float,
          nearest: wp.array(dtype=wp.uint64, ndim=3), slot: int, block: int, first_row: int, end_row: int):
    face = wp.tid()
    i0 = faces[face, 0]
    i1 = faces[face, 1]
    i2 = faces[face, 2]
    p = screen[block, i0]
    q = screen[block, i1]
    r = screen[block, i2]
    if p[3] >= near_w and q[3] >= near_w and r[3] >= near_w:
        a = on_screen(p)
        b = on_screen(q)
        c = on_screen(r)
        box = wp.vec4(wp.min(a[0], wp.min(b[0], c[0])), wp.min(a[1], wp.min(b[1], c[1])),
                      wp.max(a[0], wp.max(b[0], c[0])), wp.max(a[1], wp.max(b[1], c[1])))
        at = clip_box(box, width, first_row, end_row)
        if at[0] < at[1] and at[2] < at[3]:
            cover_whole(a, b, c, i0, i1, i2, nearest, slot, face, at[0], at[1], at[2], at[3])
    else:
        at = clip_box(bounds(screen, faces, block, face, near_w), width, first_row, end_row)
        if at[0] < at[1] and at[2] < at[3]:
            cover_cut(screen, faces, near_w, nearest, slot, block, face, at[0], at[1], at[2], at[3])


@wp.func
def hit_inside(p: wp.vec4, q: wp.vec4, r: wp.vec4, x: float, y: float) -> wp.vec4:
    """(weight of corner p, of q, z/w, w) at a pixel that `cover` found inside: weights that are not in [0, 1] are
    rounding."""
    a = seen_from(p, x, y)
    b = seen_from(q, x, y)
    c = seen_from(r, x, y)
    e0 = b[0] * c[1] - b[1] * c[0]
    e1 = c[0] * a[1] - c[1] * a[0]
    total = e0 + e1 + (a[0] * b[1] - a[1] * b[0])
    u = float(0.0)
    v = float(0.0)
    if total != 0.0:
        u = wp.clamp(e0 / total, 0.0, 1.0)
        v = wp.clamp(e1 / total, 0.0, 1.0 - u)
    rest = 1.0 - u - v
    w = u * a[3] + v * b[3] + rest * c[3]
    return wp.vec4(u, v, (u * a[2] + v * b[2] + rest * c[2]) / w, w)


@wp.kernel
def resolve(screen: wp.array(dtype=wp.vec4, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2), empty: wp.uint64,
            nearest: wp.array(dtype=wp.uint64, ndim=3), face_at: wp.array(dtype=wp.int32, ndim=3),
            weights: wp.array(dtype=wp.vec2, ndim=3), depth: wp.array(dtype=wp.float32, ndim=3),
            slot: int, block: int, first_row: int, end_row: int, span: int):
    """Takes what `cover` found, and leaves `nearest` empty."""
    row, part = wp.tid()
    row = row + first_row
    for column in range(part * span, wp.min(part * span + span, face_at.shape[2])):
        key = nearest[slot, row, column]
        if key != empty:
            nearest[slot, row, column] = empty
            face = int(key & wp.uint64(4294967295))
            hit = hit_inside(screen[block, faces[face, 0]], screen[block, faces[face, 1]],
                             screen[block, faces[face, 2]], float(column) + 0.5, float(row) + 0.5)
            face_at[block, row, column] = face
            weights[block, row, column] = wp.vec2(hit[0], hit[1])
            depth[block, row, column] = hit[3]
