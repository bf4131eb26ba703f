"""Kernels of interpolate.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import Any

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
        else:
            for c in range(attributes.shape[2]):
                result[block, row, column, c] = 0.0


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
        else:
            to_rast[block, row, column] = wp.vec4()


@wp.kernel
def mix_vectors(attributes: wp.array(dtype=Any, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2),
                rast: wp.array(dtype=wp.vec4, ndim=3), per_view: int, result: wp.array(dtype=Any, ndim=3),
                block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    item = block * per_view
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        mixed = attributes.dtype()
        if here[3] > 0.0:
            face = int(here[3]) - 1
            rest = 1.0 - here[0] - here[1]
            mixed = (attributes[item, faces[face, 0]] * here[0] + attributes[item, faces[face, 1]] * here[1]
                     + attributes[item, faces[face, 2]] * rest)
        result[block, row, column] = mixed


@wp.kernel
def spread_vectors(attributes: wp.array(dtype=Any, ndim=2), faces: wp.array(dtype=wp.int32, ndim=2),
                   rast: wp.array(dtype=wp.vec4, ndim=3), grad: wp.array(dtype=Any, ndim=3), per_view: int,
                   to_rast: wp.array(dtype=wp.vec4, ndim=3), found: wp.array(dtype=Any, ndim=2),
                   slot: int, block: int, first_row: int, end_row: int, span: int):
    """Neighbouring pixels often show one face: what they give its corners is added up before it is written."""
    row, part = wp.tid()
    row = row + first_row
    item = block * per_view
    last = int(-1)
    i0 = int(0)
    i1 = int(0)
    i2 = int(0)
    to_0 = attributes.dtype()
    to_1 = attributes.dtype()
    to_2 = attributes.dtype()
    along_u = attributes.dtype()
    along_v = attributes.dtype()
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        if here[3] > 0.0:
            face = int(here[3]) - 1
            if face != last:
                if last >= 0:
                    wp.atomic_add(found, slot, i0, to_0)
                    wp.atomic_add(found, slot, i1, to_1)
                    wp.atomic_add(found, slot, i2, to_2)
                last = face
                i0 = faces[face, 0]
                i1 = faces[face, 1]
                i2 = faces[face, 2]
                to_0 = attributes.dtype()
                to_1 = attributes.dtype()
                to_2 = attributes.dtype()
                corner = attributes[item, i2]
                along_u = attributes[item, i0] - corner
                along_v = attributes[item, i1] - corner
            g = grad[block, row, column]
            to_0 = to_0 + g * here[0]
            to_1 = to_1 + g * here[1]
            to_2 = to_2 + g * (1.0 - here[0] - here[1])
            to_rast[block, row, column] = wp.vec4(wp.dot(g, along_u), wp.dot(g, along_v), 0.0, 0.0)
        else:
            to_rast[block, row, column] = wp.vec4()
    if last >= 0:
        wp.atomic_add(found, slot, i0, to_0)
        wp.atomic_add(found, slot, i1, to_1)
        wp.atomic_add(found, slot, i2, to_2)


def _kernels_for(vector: Any) -> tuple[Any, Any, Any]:
    """(mix, spread, vector)."""
    flat, pixels = wp.array(dtype=vector, ndim=2), wp.array(dtype=vector, ndim=3)
    return (wp.overload(mix_vectors, {"attributes": flat, "result": pixels}),
            wp.overload(spread_vectors, {"attributes": flat, "grad": pixels, "found": flat}), vector)


# channels -> (kernels, the type of a vertex' attributes): a vector at once costs a fraction of as many numbers
KERNELS: dict[int, tuple[Any, Any, Any]] = {3: _kernels_for(wp.vec3), 4: _kernels_for(wp.vec4)}
ANY_CHANNELS = (mix_corners, spread_corners, None)
