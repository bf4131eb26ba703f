"""Kernel of normal_map.py. Warp compiles it; it is not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # nobody asks for gradients; Warp's would double the compile


@wp.func
def looks_along(mesh: wp.uint64, face: int, way: wp.vec3) -> bool:
    return wp.dot(wp.mesh_eval_face_normal(mesh, face), way) > 0.0


@wp.func
def shaded(normals: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.int32, ndim=2), face: int, u: float,
           v: float) -> wp.vec3:
    return (normals[faces[face, 0]] * u + normals[faces[face, 1]] * v + normals[faces[face, 2]] * (1.0 - u - v))


@wp.kernel
def find_fine_normals(mesh: wp.uint64, normals: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.int32, ndim=2),
                      points: wp.array(dtype=wp.vec3), ways: wp.array(dtype=wp.vec3), reach: float,
                      found: wp.array(dtype=wp.vec3), block: int, first_row: int, end_row: int):
    """Normal of the fine mesh where the line through a point along its normal meets it: the nearer side of the two,
    never a wall seen from behind; else of its nearest place within reach; else 0."""
    i = wp.tid() + first_row
    p = points[i]
    way = wp.normalize(ways[i])
    best = wp.vec3(0.0, 0.0, 0.0)
    near = reach
    for side in range(2):
        # a hair back, so that a point on the fine surface itself is met
        sign = 1.0 - 2.0 * float(side)
        hit = wp.mesh_query_ray(mesh, p - way * (sign * reach * 1.0e-4), way * sign, near)
        if hit.result:
            if looks_along(mesh, hit.face, way):
                near = hit.t
                best = shaded(normals, faces, hit.face, hit.u, hit.v)
    if wp.length_sq(best) == 0.0:
        nearest = wp.mesh_query_point_no_sign(mesh, p, reach)
        if nearest.result:
            if looks_along(mesh, nearest.face, way):
                best = shaded(normals, faces, nearest.face, nearest.u, nearest.v)
    found[i] = best
