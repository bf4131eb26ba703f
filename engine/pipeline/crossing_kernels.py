"""Warp kernels of crossing.py: triangles that run through each other, and the nearest places of points."""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def volume(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d, d: wp.vec3d) -> wp.float64:
    return wp.dot(wp.cross(b - a, c - a), d - a)


@wp.func
def pierces(p: wp.vec3d, q: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> bool:
    """Whether the segment p-q runs through the triangle; touching does not count."""
    zero = wp.float64(0.0)
    if volume(a, b, c, p) * volume(a, b, c, q) >= zero:
        return False
    x = volume(p, q, a, b)
    y = volume(p, q, b, c)
    z = volume(p, q, c, a)
    return (x > zero and y > zero and z > zero) or (x < zero and y < zero and z < zero)


@wp.func
def at(mesh: wp.uint64, corner: int) -> wp.vec3d:
    return wp.vec3d(wp.mesh_get_point(mesh, corner))


@wp.func
def edges_pierce(mesh: wp.uint64, f: int, g: int) -> bool:
    found = bool(False)
    a = at(mesh, 3 * g)
    b = at(mesh, 3 * g + 1)
    c = at(mesh, 3 * g + 2)
    for i in range(3):
        j = (i + 1) % 3
        if pierces(at(mesh, 3 * f + i), at(mesh, 3 * f + j), a, b, c):
            found = True
    return found


@wp.kernel
def find_crossings(mesh: wp.uint64, faces: wp.array(dtype=wp.int32, ndim=2), hit: wp.array(dtype=wp.int32)):
    """hit[f] = 1 when face f runs through another one. Faces that share an edge can only fold, not cross."""
    f = wp.tid()
    a = wp.mesh_get_point(mesh, 3 * f)
    b = wp.mesh_get_point(mesh, 3 * f + 1)
    c = wp.mesh_get_point(mesh, 3 * f + 2)
    query = wp.mesh_query_aabb(mesh, wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)))
    normal = wp.cross(b - a, c - a)
    g = int(0)
    while wp.mesh_query_aabb_next(query, g):
        if g > f:
            x = wp.dot(normal, wp.mesh_get_point(mesh, 3 * g) - a)
            y = wp.dot(normal, wp.mesh_get_point(mesh, 3 * g + 1) - a)
            z = wp.dot(normal, wp.mesh_get_point(mesh, 3 * g + 2) - a)
            if wp.min(x, wp.min(y, z)) <= 0.0 and wp.max(x, wp.max(y, z)) >= 0.0:
                shared = int(0)
                for i in range(3):
                    for j in range(3):
                        if faces[f, i] == faces[g, j]:
                            shared += 1
                if shared < 2:
                    if edges_pierce(mesh, f, g) or edges_pierce(mesh, g, f):
                        hit[f] = 1
                        hit[g] = 1


@wp.kernel
def find_nearest(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), normals: wp.array(dtype=wp.vec3), reach: float,
                 face: wp.array(dtype=wp.int32), weights: wp.array(dtype=wp.vec3)):
    """The nearest place of the mesh whose side looks the way of the normal; the nearest of any side if none does."""
    i = wp.tid()
    p = points[i]
    n = normals[i]
    hit = wp.mesh_query_point_no_sign(mesh, p, 1.0e30)
    best_face = hit.face
    u = hit.u
    v = hit.v
    # the other side of a thin wall was nearer: ask again from further outside
    step = float(0.125) * reach
    while wp.dot(wp.mesh_eval_face_normal(mesh, best_face), n) < 0.0 and step < 2.0 * reach:
        again = wp.mesh_query_point_no_sign(mesh, p + step * n, 1.0e30)
        if wp.dot(wp.mesh_eval_face_normal(mesh, again.face), n) >= 0.0:
            best_face = again.face
            u = again.u
            v = again.v
        step = step * 2.0
    face[i] = best_face
    weights[i] = wp.vec3(u, v, 1.0 - u - v)
