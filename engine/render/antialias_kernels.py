"""Kernels of antialias.py that blend across outlines. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from .contour_kernels import Contours, Mesh, crossing, next_of, pair_frame

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile


@wp.func
def reach(mesh: Mesh, block: int, row: int, column: int, axis: int, code: int) -> float:
    """How far the nearer surface reaches, in pixels from the nearer pixel's centre towards the other's, in [0, 1]."""
    half = code / 2
    second = code - 2 * half
    face = half / 3
    k = half - 3 * face
    x = float(column) + 0.5 + float(second * (1 - axis))
    y = float(row) + 0.5 + float(second * axis)
    sign = 1.0 - 2.0 * float(second)
    a = pair_frame(mesh.screen[block, mesh.faces[face, k]], x, y, axis, sign)
    b = pair_frame(mesh.screen[block, mesh.faces[face, (k + 1) % 3]], x, y, axis, sign)
    return wp.clamp(crossing(a, b), 0.0, 1.0)


@wp.func
def share_of(mesh: Mesh, block: int, row: int, column: int, axis: int, code: int, of_second: int) -> float:
    """How much of the pair's other pixel the first (of_second = 0) or second pixel of a pair takes on."""
    result = float(0.0)
    if code >= 0:
        over = reach(mesh, block, row, column, axis, code) - 0.5
        if (code & 1) == of_second:
            result = wp.max(-over, 0.0)        # the nearer pixel gives way
        else:
            result = wp.max(over, 0.0)
    return result


@wp.func
def blend_pixel(mesh: Mesh, code: wp.array(dtype=wp.vec2i, ndim=3), color: wp.array(dtype=wp.float32, ndim=4),
                transposed: int, result: wp.array(dtype=wp.float32, ndim=4), block: int, row: int, column: int):
    for side in range(4):
        axis = side / 2
        back = side - 2 * axis                 # 0: the pair that starts here, 1: the pair that ends here
        r = row - back * axis
        c = column - back * (1 - axis)
        if r >= 0 and c >= 0:
            found = code[block, r, c]
            which = found[axis]
            if which >= 0:
                own = share_of(mesh, block, r, c, axis, which, back)
                given = own
                if transposed == 1:
                    given = share_of(mesh, block, r, c, axis, which, 1 - back)
                other_row = r + (1 - back) * axis
                other_column = c + (1 - back) * (1 - axis)
                if own != 0.0 or given != 0.0:
                    for channel in range(color.shape[3]):
                        change = given * color[block, other_row, other_column, channel]
                        change = change - own * color[block, row, column, channel]
                        result[block, row, column, channel] = result[block, row, column, channel] + change


@wp.kernel
def blend_contours(mesh: Mesh, contours: Contours, color: wp.array(dtype=wp.float32, ndim=4), transposed: int,
                   result: wp.array(dtype=wp.float32, ndim=4), block: int, first_row: int, end_row: int, span: int):
    """result starts as a copy of color. Forward: each pixel takes on a share of its four neighbours. transposed: the
    same matrix transposed, which takes a gradient to the result back to one to the colours."""
    row, part = wp.tid()
    row = row + first_row
    end = wp.min(part * span + span, color.shape[2])
    column = next_of(contours.touched, block, row, part * span, end)
    while column < end:
        own = contours.code[block, row, column]
        left = contours.code[block, row, wp.max(column - 1, 0)]
        upper = contours.code[block, wp.max(row - 1, 0), column]
        if (own[0] & own[1] & left[0] & upper[1]) != -1:
            blend_pixel(mesh, contours.code, color, transposed, result, block, row, column)
        column = next_of(contours.touched, block, row, column + 1, end)


@wp.func
def corner_push(along: float, side: float, w: float, x: float, y: float, axis: int, sign: float) -> wp.vec4:
    """Gradient to a corner on the screen from the one to its pair_frame."""
    across = sign * along
    down = side
    if axis == 1:
        across = side
        down = sign * along
    return wp.vec4(across, down, 0.0, w - x * across - y * down)


@wp.func
def push_pair(mesh: Mesh, color: wp.array(dtype=wp.float32, ndim=4), grad: wp.array(dtype=wp.float32, ndim=4),
              found: wp.array(dtype=wp.vec4, ndim=2), slot: int, block: int, row: int, column: int, axis: int,
              code: int) -> int:
    half = code / 2
    second = code - 2 * half
    near_row = row + second * axis
    near_column = column + second * (1 - axis)
    far_row = row + (1 - second) * axis
    far_column = column + (1 - second) * (1 - axis)
    row_hit = near_row                          # the pixel through which the contour goes takes on the other's colour
    column_hit = near_column
    if reach(mesh, block, row, column, axis, code) > 0.5:
        row_hit = far_row
        column_hit = far_column
    pull = float(0.0)
    for c in range(color.shape[3]):
        pull = pull + grad[block, row_hit, column_hit, c] * (
            color[block, near_row, near_column, c] - color[block, far_row, far_column, c])
    if pull != 0.0:
        face = half / 3
        k = half - 3 * face
        i = mesh.faces[face, k]
        j = mesh.faces[face, (k + 1) % 3]
        x = float(near_column) + 0.5
        y = float(near_row) + 0.5
        sign = 1.0 - 2.0 * float(second)
        a = pair_frame(mesh.screen[block, i], x, y, axis, sign)
        b = pair_frame(mesh.screen[block, j], x, y, axis, sign)
        # d = (a.along b.side - b.along a.side) / (a.w b.side - b.w a.side)
        low = a[2] * b[1] - b[2] * a[1]
        d = (a[0] * b[1] - b[0] * a[1]) / low
        scale = pull / low
        wp.atomic_add(found, slot, i, corner_push(scale * b[1], scale * (d * b[2] - b[0]), -scale * d * b[1],
                                                  x, y, axis, sign))
        wp.atomic_add(found, slot, j, corner_push(-scale * a[1], scale * (a[0] - d * a[2]), scale * d * a[1],
                                                  x, y, axis, sign))
    return 0


@wp.kernel
def push_contours(mesh: Mesh, contours: Contours, color: wp.array(dtype=wp.float32, ndim=4),
                  grad: wp.array(dtype=wp.float32, ndim=4), found: wp.array(dtype=wp.vec4, ndim=2),
                  slot: int, block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    end = wp.min(part * span + span, color.shape[2])
    column = next_of(contours.touched, block, row, part * span, end)
    while column < end:
        which = contours.code[block, row, column]
        if which[0] >= 0:
            push_pair(mesh, color, grad, found, slot, block, row, column, 0, which[0])
        if which[1] >= 0:
            push_pair(mesh, color, grad, found, slot, block, row, column, 1, which[1])
        column = next_of(contours.touched, block, row, column + 1, end)
