"""Kernels of antialias.py that find outlines. Warp compiles these functions; they are not run by Python.

A pixel pair is two neighbours along a row or a column. Its plane goes through the eye and both pixel centres, and cuts
the mesh in lines. In a pair's own coordinates `along` is 0 at the centre of the nearer pixel and 1 at the other's, and
`side` is the distance from the plane (both times w).
"""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile

NEAREST_W = 1.0e-6
NOWHERE = -1.0e30
LEAST_TURN = 1.0e-3    # pixels; less is rounding, where the plane goes through a vertex
NEARLY = 1.0e-2        # pixels; where rounding may decide, an edge counts as a possible outline
UNKNOWN = -2           # of a pair: a possible outline crosses it
STRETCH = 32           # pixels of a row that are passed over at once where there is nothing
BEHIND = -1.0          # pixels behind the near pixel's centre at which following the cut ends


@wp.struct
class Mesh:
    screen: wp.array(dtype=wp.vec4, ndim=2)       # (N, V): x w, y w in pixels, z, w
    faces: wp.array(dtype=wp.int32, ndim=2)
    links: wp.array(dtype=wp.int32)               # opposite half-edges
    max_steps: int


@wp.struct
class Contours:
    """code: (N, H, W), for the pair right of a pixel and the one below it what find_pair tells. marked, touched: (N, H,
    stretches of a row), not 0 where pairs begin that may be contours, and where pixels are that belong to a contour's
    pair. They alone need to be looked at."""
    code: wp.array(dtype=wp.vec2i, ndim=3)
    marked: wp.array(dtype=wp.int32, ndim=3)
    touched: wp.array(dtype=wp.int32, ndim=3)


@wp.func
def pair_frame(p: wp.vec4, x: float, y: float, axis: int, sign: float) -> wp.vec3:
    """(along, side, w) of a corner for the pair whose nearer pixel is at (x, y)."""
    across = p[0] - x * p[3]
    down = p[1] - y * p[3]
    result = wp.vec3(sign * across, down, p[3])
    if axis == 1:
        result = wp.vec3(sign * down, across, p[3])
    return result


@wp.func
def crossing(a: wp.vec3, b: wp.vec3) -> float:
    """Where an edge crosses the pair's plane, in pixels along the pair; NOWHERE when that is not before the eye."""
    result = float(NOWHERE)
    depth = (a[2] * b[1] - b[2] * a[1]) / (b[1] - a[1])
    if depth > NEAREST_W:
        result = (a[0] * b[1] - b[0] * a[1]) / (a[2] * b[1] - b[2] * a[1])
    return result


@wp.struct
class Cut:
    along: float                                  # where the pair's plane cuts a half-edge; NOWHERE behind the eye
    half: int                                     # the half-edge; -1 for none


@wp.func
def first_cut(mesh: Mesh, block: int, face: int, x: float, y: float, axis: int, sign: float) -> Cut:
    """Where the way from the nearer pixel leaves its triangle."""
    a = pair_frame(mesh.screen[block, mesh.faces[face, 0]], x, y, axis, sign)
    b = pair_frame(mesh.screen[block, mesh.faces[face, 1]], x, y, axis, sign)
    c = pair_frame(mesh.screen[block, mesh.faces[face, 2]], x, y, axis, sign)
    cut = Cut()
    cut.along = float(NOWHERE)
    cut.half = int(-1)
    if (a[1] >= 0.0) != (b[1] >= 0.0):
        cut.along = crossing(a, b)
        cut.half = 3 * face
    if (b[1] >= 0.0) != (c[1] >= 0.0):
        other = crossing(b, c)
        if other > cut.along:
            cut.along = other
            cut.half = 3 * face + 1
    if (c[1] >= 0.0) != (a[1] >= 0.0):
        other = crossing(c, a)
        if other > cut.along:
            cut.along = other
            cut.half = 3 * face + 2
    return cut


@wp.func
def next_cut(mesh: Mesh, block: int, entry: int, x: float, y: float, axis: int, sign: float) -> Cut:
    """Where the line that comes in through a half-edge leaves that triangle."""
    face = entry / 3
    k = entry - 3 * face
    a = pair_frame(mesh.screen[block, mesh.faces[face, k]], x, y, axis, sign)
    b = pair_frame(mesh.screen[block, mesh.faces[face, (k + 1) % 3]], x, y, axis, sign)
    c = pair_frame(mesh.screen[block, mesh.faces[face, (k + 2) % 3]], x, y, axis, sign)
    cut = Cut()
    if (c[1] >= 0.0) == (a[1] >= 0.0):
        cut.along = crossing(b, c)
        cut.half = 3 * face + (k + 1) % 3
    else:
        cut.along = crossing(c, a)
        cut.half = 3 * face + (k + 2) % 3
    if cut.along == NOWHERE:
        cut.half = -1
    return cut


@wp.func
def contour_at(mesh: Mesh, block: int, face: int, goal: int, x: float, y: float, axis: int, sign: float) -> int:
    """The half-edge at which the surface seen at (x, y) ends on the way to the pair's other pixel; -1 if it does not.

    Follows the line in which the pair's plane cuts the mesh, from triangle to triangle. Where the line turns back the
    surface has a fold (or ends): a candidate. It goes on below the fold, since a rough surface may come out again
    further on; the farthest fold wins. A line that reaches the other pixel, or the triangle seen there (`goal`, -1 when
    there is none), is a surface that goes on there.
    """
    cut = first_cut(mesh, block, face, x, y, axis, sign)
    best = float(-LEAST_TURN)
    best_half = int(-1)
    forward = int(1)
    turn = cut.along                              # the farthest point of this way forward, or nearest of this way back
    turn_half = cut.half
    step = int(0)
    while cut.half >= 0 and step < mesh.max_steps and cut.along < 1.0 and (cut.along > BEHIND or forward == 1):
        step = step + 1
        entry = mesh.links[cut.half]
        if entry < 0:
            if forward == 1 and turn > best:
                best_half = turn_half
            cut.half = -1
        elif forward == 1 and entry / 3 == goal:
            cut.half = -1
        else:
            cut = next_cut(mesh, block, entry, x, y, axis, sign)
            if cut.half >= 0:
                if forward == 1 and cut.along < turn - LEAST_TURN:
                    if turn > best:
                        best = turn
                        best_half = turn_half
                    forward = 0
                    turn = cut.along
                elif forward == 0 and cut.along > turn + LEAST_TURN:
                    forward = 1
                    turn = cut.along
                    turn_half = cut.half
                elif (forward == 1) == (cut.along > turn):
                    turn = cut.along
                    turn_half = cut.half
    return best_half


@wp.func
def slant(mesh: Mesh, block: int, half: int) -> wp.vec2:
    """How far an edge goes across and down on the screen, times the w of both its ends."""
    face = half / 3
    k = half - 3 * face
    a = mesh.screen[block, mesh.faces[face, k]]
    b = mesh.screen[block, mesh.faces[face, (k + 1) % 3]]
    return wp.vec2(wp.abs(b[0] * a[3] - a[0] * b[3]), wp.abs(b[1] * a[3] - a[1] * b[3]))


@wp.func
def steep(mesh: Mesh, block: int, half: int, axis: int) -> int:
    """1 when an edge runs rather across the pair's axis than along it."""
    by = slant(mesh, block, half)
    result = int(0)
    if (axis == 0 and by[1] >= by[0]) or (axis == 1 and by[0] > by[1]):
        result = 1
    return result


@wp.func
def find_pair(mesh: Mesh, rast: wp.array(dtype=wp.vec4, ndim=3), block: int, row: int, column: int, axis: int) -> int:
    """2 (half-edge) + (1 when the second pixel is the nearer) for the pair of (row, column) and the pixel right of it
    (axis 0) or below it (axis 1); -1 when no surface ends between them."""
    p = rast[block, row, column]
    q = rast[block, row + axis, column + 1 - axis]
    result = int(-1)
    if p[3] != q[3]:
        second = int(0)
        if p[3] <= 0.0 or (q[3] > 0.0 and q[2] < p[2]):
            second = 1
        face = int(p[3]) - 1
        goal = int(q[3]) - 1
        x = float(column) + 0.5
        y = float(row) + 0.5
        sign = float(1.0)
        if second == 1:
            face = int(q[3]) - 1
            goal = int(p[3]) - 1
            sign = -1.0
            x = x + float(1 - axis)
            y = y + float(axis)
        half = contour_at(mesh, block, face, goal, x, y, axis, sign)
        if half >= 0:
            if steep(mesh, block, half, axis) == 1:
                result = 2 * half + second
    return result


@wp.func
def is_fold(p: wp.vec2, q: wp.vec2, own: wp.vec2, other: wp.vec2) -> int:
    """1 unless the two triangles at the edge p-q surely lie on different sides of it on the screen (NaN is unsure)."""
    along = q - p
    one = along[0] * (own[1] - p[1]) - along[1] * (own[0] - p[0])
    two = along[0] * (other[1] - p[1]) - along[1] * (other[0] - p[0])
    nearly = NEARLY * (wp.abs(along[0]) + wp.abs(along[1]))
    result = int(1)
    if (one > nearly and two < -nearly) or (one < -nearly and two > nearly):
        result = 0
    return result


@wp.func
def mark_pairs(p: wp.vec4, q: wp.vec4, axis: int, contours: Contours, block: int, first_line: int, end_line: int,
               first_place: int, end_place: int) -> int:
    """Mark the pairs along rows (axis 0) or columns (axis 1) that the edge p-q crosses. lines: rows (axis 0) or columns
    in which to look; places: columns or rows in which a pair may begin."""
    first = first_line
    end = end_line
    if wp.min(p[3], q[3]) > NEAREST_W:
        a = p[1 - axis] / p[3] - 0.5
        b = q[1 - axis] / q[3] - 0.5
        first = int(wp.clamp(wp.floor(wp.min(a, b)), float(first_line), float(end_line)))
        end = int(wp.clamp(wp.ceil(wp.max(a, b)) + 1.0, float(first_line), float(end_line)))
    for line in range(first, end):
        x = 0.5
        y = float(line) + 0.5
        if axis == 1:
            x = float(line) + 0.5
            y = 0.5
        u = pair_frame(p, x, y, axis, 1.0)
        v = pair_frame(q, x, y, axis, 1.0)
        if (u[1] >= 0.0) != (v[1] >= 0.0):
            at = crossing(u, v)
            if at > float(first_place) - 1.0 and at < float(end_place) + 1.0:
                low = int(wp.floor(at - NEARLY))
                high = int(wp.floor(at + NEARLY))
                for place in range(wp.max(low, first_place), wp.min(high + 1, end_place)):
                    if axis == 0:
                        contours.code[block, line, place][0] = UNKNOWN
                        contours.marked[block, line, place / STRETCH] = 1
                    else:
                        contours.code[block, place, line][1] = UNKNOWN
                        contours.marked[block, place, line / STRETCH] = 1
    return 0


@wp.func
def mark_edge(mesh: Mesh, contours: Contours, block: int, half: int, first_row: int, end_row: int) -> int:
    face = half / 3
    k = half - 3 * face
    p = mesh.screen[block, mesh.faces[face, k]]
    q = mesh.screen[block, mesh.faces[face, (k + 1) % 3]]
    by = slant(mesh, block, half)                # of an edge that is about as steep as flat, rounding decides
    if by[1] >= by[0] * (1.0 - NEARLY):
        mark_pairs(p, q, 0, contours, block, first_row, end_row, 0, contours.code.shape[2] - 1)
    if by[0] >= by[1] * (1.0 - NEARLY):
        mark_pairs(p, q, 1, contours, block, 0, contours.code.shape[2], first_row,
                   wp.min(end_row, contours.code.shape[1] - 1))
    return 0


@wp.kernel
def mark_contours(mesh: Mesh, flat: wp.array(dtype=wp.vec2, ndim=2), contours: Contours, block: int,
                  first_row: int, end_row: int):
    """Mark the pixel pairs that the image of a fold or a border of the mesh crosses: no surface ends in others.
    flat: (N, V) vertices on the screen in pixels, NaN for those that are not before the eye."""
    face = wp.tid()
    a = flat[block, mesh.faces[face, 0]]
    b = flat[block, mesh.faces[face, 1]]
    c = flat[block, mesh.faces[face, 2]]
    for k in range(3):
        half = 3 * face + k
        link = mesh.links[half]
        # of two half-edges that lead to each other one is enough
        if link < half or mesh.links[link] != half:
            fold = int(1)
            if link >= 0:
                across = link / 3
                other = flat[block, mesh.faces[across, (link - 3 * across + 2) % 3]]
                if k == 0:
                    fold = is_fold(a, b, c, other)
                elif k == 1:
                    fold = is_fold(b, c, a, other)
                else:
                    fold = is_fold(c, a, b, other)
            if fold == 1:
                mark_edge(mesh, contours, block, half, first_row, end_row)


@wp.func
def touch(contours: Contours, block: int, row: int, column: int, axis: int) -> int:
    contours.touched[block, row, column / STRETCH] = 1
    contours.touched[block, row + axis, (column + 1 - axis) / STRETCH] = 1
    return 0


@wp.func
def next_of(stretches: wp.array(dtype=wp.int32, ndim=3), block: int, row: int, column: int, end: int) -> int:
    """The first pixel from `column` on that is in a stretch where there is something; `end` or more: there is none."""
    at = int(column)
    while at < end and stretches[block, row, wp.min(at, end - 1) / STRETCH] == 0:     # Warp looks at both conditions
        at = (at / STRETCH + 1) * STRETCH
    return at


@wp.kernel
def find_contours(mesh: Mesh, rast: wp.array(dtype=wp.vec4, ndim=3), contours: Contours,
                  block: int, first_row: int, end_row: int, span: int):
    """What marked pairs are."""
    row, part = wp.tid()
    row = row + first_row
    end = wp.min(part * span + span, rast.shape[2])
    column = next_of(contours.marked, block, row, part * span, end)
    while column < end:
        found = contours.code[block, row, column]
        if wp.min(found[0], found[1]) == UNKNOWN:
            if found[0] == UNKNOWN:
                found[0] = find_pair(mesh, rast, block, row, column, 0)
            if found[1] == UNKNOWN:
                found[1] = find_pair(mesh, rast, block, row, column, 1)
            contours.code[block, row, column] = found
            if found[0] >= 0:
                touch(contours, block, row, column, 0)
            if found[1] >= 0:
                touch(contours, block, row, column, 1)
        column = next_of(contours.marked, block, row, column + 1, end)
