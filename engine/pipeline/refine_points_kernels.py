"""Kernel of refine_points.py. Warp compiles it; it is not run by Python."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})   # the gradient is torch's


@wp.kernel
def find_nearest_places(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), face: wp.array(dtype=wp.int32),
                        weights: wp.array(dtype=wp.vec2), block: int, first_row: int, end_row: int):
    """The place of a mesh that is nearest to each point: its face, and the weights of the face's first two corners."""
    i = wp.tid() + first_row
    hit = wp.mesh_query_point_no_sign(mesh, points[i], 1.0e30)
    if hit.result:
        face[i] = hit.face
        weights[i] = wp.vec2(hit.u, hit.v)
