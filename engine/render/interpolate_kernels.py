"""Kernels of interpolate.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile


@wp.kernel
def mix_corners(attributes: wp.array(dtype=wp.float32, ndim=3), faces: wp.array(dtype=wp.int32, ndim=2),
                rast: wp.array(dtype=wp.vec4, ndim=3), per_view: int, result: wp.array(dtype=wp.float32, ndim=4),
                block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        if here[3] > 0.0:
            face = int(here[3]) - 1
            item = block * per_view
            i0 = faces[face, 0]
            i1 = faces[face, 1]
            i2 = faces[face, 2]
            rest = 1.0 - here[0] - here[1]
            for c in range(attributes.shape[2]):
                result[block, row, column, c] = (attributes[item, i0, c] * here[0] + attributes[item, i1, c] * here[1]
                                                 + attributes[item, i2, c] * rest)


@wp.kernel
def spread_corners(attributes: wp.array(dtype=wp.float32, ndim=3), faces: wp.array(dtype=wp.int32, ndim=2),
                   rast: wp.array(dtype=wp.vec4, ndim=3), grad: wp.array(dtype=wp.float32, ndim=4), per_view: int,
                   to_rast: wp.array(dtype=wp.vec4, ndim=3), found: wp.array(dtype=wp.float32, ndim=3),
                   slot: int, block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        if here[3] > 0.0:
            face = int(here[3]) - 1
            item = block * per_view
            i0 = faces[face, 0]
            i1 = faces[face, 1]
            i2 = faces[face, 2]
            rest = 1.0 - here[0] - here[1]
            to_u = float(0.0)
            to_v = float(0.0)
            for c in range(attributes.shape[2]):
                g = grad[block, row, column, c]
                if g != 0.0:
                    last = attributes[item, i2, c]
                    to_u = to_u + g * (attributes[item, i0, c] - last)
                    to_v = to_v + g * (attributes[item, i1, c] - last)
                    wp.atomic_add(found, slot, i0, c, g * here[0])
                    wp.atomic_add(found, slot, i1, c, g * here[1])
                    wp.atomic_add(found, slot, i2, c, g * rest)
            to_rast[block, row, column] = wp.vec4(to_u, to_v, 0.0, 0.0)
