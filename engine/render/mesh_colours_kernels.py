"""Kernels of mesh_colours.py. Warp compiles these functions; they are not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # gradients are written by hand; Warp's own would double the compile


@wp.func
def halved(cell: int, u: float, v: float, turned: float):
    """Of the four cells that halved sides make of one, that which holds the place (u, v): its number, the weights of
    its first two corners, and by how much they change with the face's u and v. The first three are at the corners, the
    last is in the middle."""
    if u >= 0.5:
        return 4 * cell, 2.0 * u - 1.0, 2.0 * v, 2.0 * turned
    if v >= 0.5:
        return 4 * cell + 1, 2.0 * u, 2.0 * v - 1.0, 2.0 * turned
    if 1.0 - u - v >= 0.5:
        return 4 * cell + 2, 2.0 * u, 2.0 * v, 2.0 * turned
    return 4 * cell + 3, 1.0 - 2.0 * u, 1.0 - 2.0 * v, -2.0 * turned


@wp.func
def cell_of(here: wp.vec4, halvings: int):
    """The cell that a pixel of `rast` shows, as in `halved`."""
    cell = int(here[3]) - 1
    u = float(here[0])
    v = float(here[1])
    turned = float(1.0)
    for _ in range(halvings):
        cell, u, v, turned = halved(cell, u, v, turned)
    return cell, u, v, turned


@wp.func
def light_of(light: wp.array(dtype=wp.vec3, ndim=2), corner: wp.vec3i, view: int):
    """How a face's light changes with u and with v, and what it is at the last corner."""
    last = light[view, corner[2]]
    return light[view, corner[0]] - last, light[view, corner[1]] - last, last


@wp.kernel
def mix_colours(colours: wp.array(dtype=wp.vec3), cells: wp.array(dtype=wp.vec3i), halvings: int,
                light: wp.array(dtype=wp.vec3, ndim=2), faces: wp.array(dtype=wp.vec3i),
                rast: wp.array(dtype=wp.vec4, ndim=3), result: wp.array(dtype=wp.vec4, ndim=3),
                block: int, first_row: int, end_row: int, span: int):
    row, part = wp.tid()
    row = row + first_row
    face = int(-1)
    light_u = wp.vec3()
    light_v = wp.vec3()
    light_w = wp.vec3()
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        shown = wp.vec4()
        if here[3] > 0.0:
            if int(here[3]) - 1 != face:        # neighbouring pixels often show one face
                face = int(here[3]) - 1
                light_u, light_v, light_w = light_of(light, faces[face], block)
            cell, u, v, _ = cell_of(here, halvings)
            at = cells[cell]
            own = colours[at[0]] * u + colours[at[1]] * v + colours[at[2]] * (1.0 - u - v)
            lit = wp.cw_mul(own, light_w + light_u * here[0] + light_v * here[1])
            shown = wp.vec4(lit[0], lit[1], lit[2], 1.0)
        result[block, row, column] = shown


@wp.kernel
def spread_colours(cells: wp.array(dtype=wp.vec3i), halvings: int, smooth: wp.array(dtype=wp.vec3),
                   coarse_cells: wp.array(dtype=wp.vec3i), coarse_halvings: int,
                   light: wp.array(dtype=wp.vec3, ndim=2), faces: wp.array(dtype=wp.vec3i),
                   rast: wp.array(dtype=wp.vec4, ndim=3), grad: wp.array(dtype=wp.vec4, ndim=3),
                   to_rast: wp.array(dtype=wp.vec4, ndim=3), found: wp.array(dtype=wp.vec3, ndim=2),
                   slot: int, block: int, first_row: int, end_row: int, span: int):
    """smooth: colours whose slopes count, at the corners of coarse_cells."""
    row, part = wp.tid()
    row = row + first_row
    face = int(-1)
    light_u = wp.vec3()
    light_v = wp.vec3()
    light_w = wp.vec3()
    for column in range(part * span, wp.min(part * span + span, rast.shape[2])):
        here = rast[block, row, column]
        to_place = wp.vec4()
        if here[3] > 0.0:
            if int(here[3]) - 1 != face:
                face = int(here[3]) - 1
                light_u, light_v, light_w = light_of(light, faces[face], block)
            g = grad[block, row, column]
            to_own = wp.cw_mul(wp.vec3(g[0], g[1], g[2]), light_w + light_u * here[0] + light_v * here[1])
            cell, u, v, turned = cell_of(here, coarse_halvings)
            at = coarse_cells[cell]
            last = smooth[at[2]]
            own = smooth[at[0]] * u + smooth[at[1]] * v + last * (1.0 - u - v)
            to_light = wp.cw_mul(wp.vec3(g[0], g[1], g[2]), own)
            to_place = wp.vec4(wp.dot(to_own, smooth[at[0]] - last) * turned + wp.dot(to_light, light_u),
                               wp.dot(to_own, smooth[at[1]] - last) * turned + wp.dot(to_light, light_v), 0.0, 0.0)
            for _ in range(halvings - coarse_halvings):
                cell, u, v, turned = halved(cell, u, v, turned)
            at = cells[cell]
            wp.atomic_add(found, slot, at[0], to_own * u)
            wp.atomic_add(found, slot, at[1], to_own * v)
            wp.atomic_add(found, slot, at[2], to_own * (1.0 - u - v))
        to_rast[block, row, column] = to_place
