"""The passes of remesh.py: split, collapse, flip and smooth, each one serial launch. Warp compiles these functions.

Every change is tried on paper first: it is left out when a face would turn, become a sliver, grow an edge that is too
long or leave the planes of the faces it replaces by more than a part of the target length.
"""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from .halfedge_kernels import (
    Surface,
    collapse_edge,
    first_out,
    flip_edge,
    following,
    joined,
    next_out,
    on_border,
    previous,
    shared_neighbours,
    split_edge,
    valence,
)

wp.set_module_options({"enable_backward": False})

LONG = wp.constant(4.0 / 3.0)       # Botsch and Kobbelt 2004: halves of a long edge are closer to the target than it is
SHORT = wp.constant(4.0 / 5.0)
TURN = wp.constant(0.5)             # cosine: no face turns by more than 60 degrees in one operation
SLIVER = wp.constant(0.15)          # quality below which an operation must not bring a face
OFF_PLANE = wp.constant(0.1)        # of the target length: how far an operation may leave the planes it replaces
FREE = wp.constant(0)               # kinds, as in halfedge.py
LINE = wp.constant(1)
FROZEN = wp.constant(3)


@wp.func
def normal_of(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    return wp.cross(b - a, c - a)


@wp.func
def quality(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> float:
    """1 for an equilateral triangle, 0 for a sliver: 2 sqrt(3) |normal| / sum of squared edges."""
    total = wp.length_sq(b - a) + wp.length_sq(c - b) + wp.length_sq(a - c)
    q = float(0.0)
    if total > 0.0:
        q = 3.4641016 * wp.length(normal_of(a, b, c)) / total
    return q


@wp.func
def face_allows(a: wp.vec3, b: wp.vec3, c: wp.vec3, moved: wp.vec3) -> bool:
    """Whether a may move without turning the face (a, b, c) over or flattening it. A sliver may get worse by half:
    rows of slivers, as a subdivided rim has them, could not be merged otherwise."""
    old = normal_of(a, b, c)
    new = normal_of(moved, b, c)
    q = quality(moved, b, c)
    if wp.dot(old, new) < TURN * wp.length(old) * wp.length(new):
        return False
    return q >= SLIVER or q >= 0.5 * quality(a, b, c)


@wp.func
def fan_allows(s: Surface, v: int, other: int, place: wp.vec3, tolerance: float, longest: float) -> bool:
    """Whether v may move to place, faces that also hold `other` left aside (they vanish; -1: none do)."""
    ok = bool(True)
    start = first_out(s, v)
    h = int(start)
    while h >= 0 and ok:
        i = s.origin[following(h)]
        j = s.origin[previous(h)]
        a = s.place[v]
        n = normal_of(a, s.place[i], s.place[j])
        size = wp.length(n)
        if size > 0.0 and wp.abs(wp.dot(n, place - a)) > tolerance * size:
            ok = False
        if ok and i != other and j != other:
            ok = face_allows(a, s.place[i], s.place[j], place)
        if ok and longest > 0.0 and i != other:
            ok = wp.length(s.place[i] - place) < longest * 0.5 * (s.size[i] + s.size[v])
        h = next_out(s, h, start)
    return ok


@wp.func
def link_allows(s: Surface, h: int, gone: int, kept: int) -> bool:
    """Whether merging the ends of h keeps the surface a manifold of the same genus (the link condition)."""
    k = s.twin[h]
    wanted = int(2)
    if k < 0:
        wanted = 1
    elif on_border(s, gone) and on_border(s, kept):
        return False
    if s.twin[following(h)] < 0 and s.twin[previous(h)] < 0:
        return False
    if s.feature[following(h)] + s.feature[previous(h)] > 1:
        return False
    if k >= 0:
        if s.twin[following(k)] < 0 and s.twin[previous(k)] < 0:
            return False
        if s.feature[following(k)] + s.feature[previous(k)] > 1:
            return False
        # a tetrahedron is the smallest closed surface
        if valence(s, s.origin[previous(h)]) <= 3 and valence(s, s.origin[previous(k)]) <= 3:
            return False
    return shared_neighbours(s, gone, kept) == wanted


@wp.func
def line_allows(s: Surface, gone: int, kept: int, tolerance: float) -> bool:
    """Whether the sharp line or border through `gone` stays where it is when it runs straight to `kept`."""
    ok = bool(True)
    start = first_out(s, gone)
    h = int(start)
    while h >= 0:
        for side in range(2):
            e = h
            v = s.origin[following(h)]
            if side == 1:
                e = previous(h)
                v = s.origin[e]
            if s.feature[e] != 0 and v != kept:
                along = s.place[kept] - s.place[v]
                off = wp.length(wp.cross(s.place[gone] - s.place[v], along))
                if off > tolerance * wp.length(along):
                    ok = False
        h = next_out(s, h, start)
    return ok


@wp.func
def try_collapse(s: Surface, h: int, gone: int, kept: int, weight: float) -> bool:
    """Merge gone into kept at kept + weight (gone - kept) when everything allows it."""
    place = s.place[kept] + weight * (s.place[gone] - s.place[kept])
    target = 0.5 * (s.size[gone] + s.size[kept])
    tolerance = OFF_PLANE * target
    if not fan_allows(s, gone, kept, place, tolerance, LONG):
        return False
    if weight > 0.0:
        if not fan_allows(s, kept, gone, place, tolerance, LONG):
            return False
    if s.kind[gone] == LINE:
        if not line_allows(s, gone, kept, tolerance):
            return False
    if not link_allows(s, h, gone, kept):
        return False
    s.size[kept] = s.size[kept] + weight * (s.size[gone] - s.size[kept])
    collapse_edge(s, h, gone, kept, place)
    return True


@wp.func
def length_ratio(s: Surface, a: int, b: int) -> float:
    return wp.length(s.place[a] - s.place[b]) / (0.5 * (s.size[a] + s.size[b]))


@wp.kernel
def split_long(s: Surface, order: wp.array(dtype=wp.int32)):
    for i in range(order.shape[0]):
        h = order[i]
        if length_ratio(s, s.origin[h], s.origin[following(h)]) > LONG:
            split_edge(s, h)
            s.count[3] = s.count[3] + 1


@wp.func
def either_way(s: Surface, h: int, a: int, b: int) -> bool:
    if try_collapse(s, h, a, b, 0.0):
        return True
    return try_collapse(s, h, b, a, 0.0)


@wp.func
def shorten(s: Surface, h: int) -> bool:
    """Merge the ends of a short edge, whichever way its kinds and its surroundings allow."""
    a = s.origin[h]
    b = s.origin[following(h)]
    ka = s.kind[a]
    kb = s.kind[b]
    if ka == FROZEN or kb == FROZEN:
        return False
    if ka == FREE and kb == FREE:
        if try_collapse(s, h, a, b, 0.5):     # Warp evaluates both sides of `or`
            return True
        return either_way(s, h, a, b)
    if ka != FREE and kb != FREE and s.feature[h] == 0:
        return False
    if ka == LINE and kb == LINE:
        return either_way(s, h, a, b)
    if ka < kb:
        return try_collapse(s, h, a, b, 0.0)
    if kb < ka:
        return try_collapse(s, h, b, a, 0.0)
    return False


@wp.kernel
def collapse_short(s: Surface, order: wp.array(dtype=wp.int32)):
    for i in range(order.shape[0]):
        h = order[i]
        if s.origin[h] >= 0:
            if length_ratio(s, s.origin[h], s.origin[following(h)]) < SHORT:
                if shorten(s, h):
                    s.count[3] = s.count[3] + 1


@wp.func
def cotangent(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> float:
    """Cotangent of the angle at c."""
    sine = wp.length(wp.cross(a - c, b - c))
    return wp.dot(a - c, b - c) / wp.max(sine, 1.0e-30)


@wp.func
def wants_flip(s: Surface, a: int, b: int, c: int, d: int, excess: wp.array(dtype=wp.int32), delaunay: int) -> bool:
    if delaunay != 0:
        return cotangent(s.place[a], s.place[b], s.place[c]) + cotangent(s.place[a], s.place[b], s.place[d]) < -1.0e-3
    # the sum of squares of the four falls when a and b lose a neighbour and c and d gain one
    return excess[c] + excess[d] - excess[a] - excess[b] + 2 < 0


@wp.func
def flip_allows(s: Surface, a: int, b: int, c: int, d: int) -> bool:
    """Whether the faces (a, d, c) and (d, b, c) may take the place of (a, b, c) and (b, a, d)."""
    pa = s.place[a]
    pb = s.place[b]
    pc = s.place[c]
    pd = s.place[d]
    old0 = normal_of(pa, pb, pc)
    old1 = normal_of(pb, pa, pd)
    new0 = normal_of(pa, pd, pc)
    new1 = normal_of(pd, pb, pc)
    tolerance = OFF_PLANE * 0.5 * (s.size[a] + s.size[b])
    if wp.abs(wp.dot(old0, pd - pa)) > tolerance * wp.length(old0):
        return False
    if wp.abs(wp.dot(old1, pc - pa)) > tolerance * wp.length(old1):
        return False
    turn0 = wp.min(wp.dot(new0, old0), wp.dot(new0, old1))
    turn1 = wp.min(wp.dot(new1, old0), wp.dot(new1, old1))
    reach = TURN * wp.max(wp.length(old0), wp.length(old1))
    if turn0 < reach * wp.length(new0) * 0.5 or turn1 < reach * wp.length(new1) * 0.5:
        return False
    worst = wp.min(quality(pa, pd, pc), quality(pd, pb, pc))
    if worst < SLIVER and worst < wp.min(quality(pa, pb, pc), quality(pb, pa, pd)):
        return False
    if valence(s, a) <= 3 or valence(s, b) <= 3:
        return False
    return not joined(s, c, d)


@wp.kernel
def flip_edges(s: Surface, excess: wp.array(dtype=wp.int32), delaunay: int):
    """excess: neighbours of each vertex above the regular number, 6, or 4 on a border; kept up to date."""
    for h in range(3 * s.count[1]):
        k = s.twin[h]
        if s.origin[h] >= 0 and k > h and s.feature[h] == 0:
            a = s.origin[h]
            b = s.origin[k]
            c = s.origin[previous(h)]
            d = s.origin[previous(k)]
            if s.kind[a] != FROZEN and s.kind[b] != FROZEN and s.kind[c] != FROZEN and s.kind[d] != FROZEN:
                if wants_flip(s, a, b, c, d, excess, delaunay):
                    if flip_allows(s, a, b, c, d):
                        flip_edge(s, h)
                        excess[a] = excess[a] - 1
                        excess[b] = excess[b] - 1
                        excess[c] = excess[c] + 1
                        excess[d] = excess[d] + 1
                        s.count[3] = s.count[3] + 1


@wp.func
def fan_normal(s: Surface, v: int) -> wp.vec3:
    total = wp.vec3(0.0, 0.0, 0.0)
    start = first_out(s, v)
    h = int(start)
    while h >= 0:
        total += normal_of(s.place[v], s.place[s.origin[following(h)]], s.place[s.origin[previous(h)]])
        h = next_out(s, h, start)
    return wp.normalize(total)


@wp.func
def tangential_goal(s: Surface, v: int, normal: wp.vec3) -> wp.vec3:
    """The centroid of the faces around v, each counted by its area in units of the target, in v's tangent plane."""
    p = s.place[v]
    total = wp.vec3(0.0, 0.0, 0.0)
    weight = float(0.0)
    start = first_out(s, v)
    h = int(start)
    while h >= 0:
        i = s.origin[following(h)]
        j = s.origin[previous(h)]
        side = (s.size[i] + s.size[j] + s.size[v]) / 3.0
        area = wp.length(normal_of(p, s.place[i], s.place[j])) / (side * side)
        total += area * ((s.place[i] + s.place[j] + p) / 3.0 - p)
        weight += area
        h = next_out(s, h, start)
    step = wp.vec3(0.0, 0.0, 0.0)
    if weight > 0.0:
        step = total / weight
    # 1.5: a fan's centroid holds a third of v itself
    return p + 1.5 * (step - normal * wp.dot(normal, step))


@wp.func
def input_goal(s: Surface, v: int, goal: wp.vec3, normal: wp.vec3, mesh: wp.uint64,
               input_size: wp.array(dtype=wp.float32), input_faces: wp.array(dtype=wp.int32)) -> wp.vec3:
    """The place of the input nearest to goal, with the target length there. Where v is, when that place belongs to a
    side that looks elsewhere (a thin wall's other side)."""
    place = s.place[v]
    hit = wp.mesh_query_point_no_sign(mesh, goal, s.size[v])
    if hit.result:
        if wp.dot(wp.mesh_eval_face_normal(mesh, hit.face), normal) > 0.2:
            place = wp.mesh_eval_position(mesh, hit.face, hit.u, hit.v)
            i = 3 * hit.face
            s.size[v] = (hit.u * input_size[input_faces[i]] + hit.v * input_size[input_faces[i + 1]]
                         + (1.0 - hit.u - hit.v) * input_size[input_faces[i + 2]])
    return place


@wp.kernel
def smooth_vertices(s: Surface, line_goal: wp.array(dtype=wp.vec3), mesh: wp.uint64, project: int,
                    input_size: wp.array(dtype=wp.float32), input_faces: wp.array(dtype=wp.int32)):
    for v in range(s.count[0]):
        if s.out[v] >= 0 and s.kind[v] <= LINE:
            goal = line_goal[v]
            if s.kind[v] == FREE:
                normal = fan_normal(s, v)
                goal = tangential_goal(s, v, normal)
                if project != 0:
                    goal = input_goal(s, v, goal, normal, mesh, input_size, input_faces)
            if fan_allows(s, v, -1, goal, s.size[v], 0.0):
                s.place[v] = goal
            else:
                goal = 0.5 * (goal + s.place[v])
                if s.kind[v] == FREE and fan_allows(s, v, -1, goal, s.size[v], 0.0):
                    s.place[v] = goal
