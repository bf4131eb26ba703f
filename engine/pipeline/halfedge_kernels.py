"""Half-edges for Warp kernels: walking around vertices, and the three operations that change connectivity.

Half-edge h = 3 f + i runs from corner i of face f to the next corner. twin is the opposite half-edge, -1 at an open
border; origin is the vertex it starts from, -1 in a face that is gone. Kernels over this run as ONE serial CPU thread:
each operation sees the result of the one before, so the outcome does not depend on scheduling.
"""
# Warp's types mean something else to a type checker than to Warp
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class Surface:
    """place (V), size (V) target edge length, kind (V) see halfedge.py, out (V) one half-edge that starts there,
    mark (V) scratch; origin, twin, feature (3 F); count = vertices, faces, scratch stamp, operations done."""

    place: wp.array(dtype=wp.vec3)
    size: wp.array(dtype=wp.float32)
    kind: wp.array(dtype=wp.int32)
    out: wp.array(dtype=wp.int32)
    mark: wp.array(dtype=wp.int32)
    origin: wp.array(dtype=wp.int32)
    twin: wp.array(dtype=wp.int32)
    feature: wp.array(dtype=wp.int32)
    count: wp.array(dtype=wp.int32)


@wp.func
def following(h: int) -> int:
    return h - h % 3 + (h + 1) % 3


@wp.func
def previous(h: int) -> int:
    return h - h % 3 + (h + 2) % 3


@wp.func
def first_out(s: Surface, v: int) -> int:
    """The half-edge from which turning by next_out visits all faces around v, also at an open border."""
    start = s.out[v]
    h = int(start)
    turning = bool(True)
    while turning:
        t = s.twin[h]
        if t < 0:
            turning = False
        else:
            h = following(t)
            if h == start:
                turning = False
    return h


@wp.func
def next_out(s: Surface, h: int, start: int) -> int:
    """The next half-edge around its origin, -1 after the last one."""
    t = s.twin[previous(h)]
    if t == start:
        t = -1
    return t


@wp.func
def valence(s: Surface, v: int) -> int:
    """Neighbours of v."""
    start = first_out(s, v)
    h = int(start)
    n = int(0)
    while h >= 0:
        n += 1
        if s.twin[previous(h)] < 0:
            n += 1
        h = next_out(s, h, start)
    return n


@wp.func
def on_border(s: Surface, v: int) -> bool:
    return s.twin[first_out(s, v)] < 0


@wp.func
def shared_neighbours(s: Surface, a: int, b: int) -> int:
    """How many vertices have an edge to both a and b. Writes to mark."""
    stamp = s.count[2] + 1
    s.count[2] = stamp
    start = first_out(s, a)
    h = int(start)
    while h >= 0:
        s.mark[s.origin[following(h)]] = stamp
        s.mark[s.origin[previous(h)]] = stamp
        h = next_out(s, h, start)
    n = int(0)
    start = first_out(s, b)
    h = int(start)
    while h >= 0:
        if s.mark[s.origin[following(h)]] == stamp:
            n += 1
        if s.twin[previous(h)] < 0:
            if s.mark[s.origin[previous(h)]] == stamp:
                n += 1
        h = next_out(s, h, start)
    return n


@wp.func
def joined(s: Surface, a: int, b: int) -> bool:
    """Whether an edge runs between a and b."""
    found = bool(False)
    start = first_out(s, a)
    h = int(start)
    while h >= 0:
        if s.origin[following(h)] == b or s.origin[previous(h)] == b:
            found = True
        h = next_out(s, h, start)
    return found


@wp.func
def pair(s: Surface, h: int, t: int, feature: int):
    """Make h and t twins; either may be -1."""
    if h >= 0:
        s.twin[h] = t
        s.feature[h] = feature
    if t >= 0:
        s.twin[t] = h
        s.feature[t] = feature


@wp.func
def half_of_split(s: Surface, h: int, m: int, face: int) -> int:
    """Cut the face of h (a, b, c) into (a, m, c) and a new face (m, b, c); returns the new half-edge m -> b."""
    n = following(h)
    x = 3 * face
    b = s.origin[n]
    s.origin[x] = m
    s.origin[x + 1] = b
    s.origin[x + 2] = s.origin[previous(h)]
    pair(s, x + 1, s.twin[n], s.feature[n])
    s.origin[n] = m
    pair(s, n, x + 2, 0)
    s.out[b] = x + 1
    return x


@wp.func
def split_edge(s: Surface, h: int):
    """A new vertex in the middle of h. There must be room for a vertex and two faces."""
    a = s.origin[h]
    b = s.origin[following(h)]
    k = s.twin[h]
    kept = s.feature[h]
    m = s.count[0]
    s.count[0] = m + 1
    s.place[m] = 0.5 * (s.place[a] + s.place[b])
    s.size[m] = 0.5 * (s.size[a] + s.size[b])
    s.kind[m] = wp.where(kept != 0, 1, 0)
    if s.kind[a] == 3 and s.kind[b] == 3:
        s.kind[m] = 3
    f = s.count[1]
    s.count[1] = f + 1
    x = half_of_split(s, h, m, f)
    s.out[m] = x
    s.out[a] = h
    if k < 0:
        pair(s, x, -1, kept)
    else:
        s.count[1] = f + 2
        y = half_of_split(s, k, m, f + 1)
        pair(s, h, y, kept)
        pair(s, k, x, kept)
        s.out[a] = h


@wp.func
def close_gap(s: Surface, h: int, kept: int):
    """Take the face of h out: the two edges other than h become one."""
    n = following(h)
    p = previous(h)
    c = s.origin[p]
    tn = s.twin[n]
    tp = s.twin[p]
    pair(s, tn, tp, wp.max(s.feature[n], s.feature[p]))
    # one of the two ends at c and the other one starts there, whichever vertex of h goes
    if tn >= 0:
        s.out[c] = tn
        s.out[kept] = following(tn)
    else:
        s.out[c] = following(tp)
        s.out[kept] = tp
    s.origin[h] = -1
    s.origin[n] = -1
    s.origin[p] = -1


@wp.func
def collapse_edge(s: Surface, h: int, gone: int, kept: int, place: wp.vec3):
    """Merge one end of h into the other, which moves to place."""
    start = first_out(s, gone)
    g = int(start)
    while g >= 0:
        s.origin[g] = kept
        g = next_out(s, g, start)
    k = s.twin[h]
    close_gap(s, h, kept)
    if k >= 0:
        close_gap(s, k, kept)
    s.place[kept] = place
    s.out[gone] = -1


@wp.func
def flip_edge(s: Surface, h: int):
    """Replace the edge between two faces by the other diagonal of their quadrilateral."""
    k = s.twin[h]
    n = following(h)
    p = previous(h)
    nk = following(k)
    pk = previous(k)
    a = s.origin[h]
    b = s.origin[k]
    c = s.origin[p]
    d = s.origin[pk]
    tn = s.twin[n]
    tp = s.twin[p]
    tnk = s.twin[nk]
    tpk = s.twin[pk]
    en = s.feature[n]
    ep = s.feature[p]
    enk = s.feature[nk]
    epk = s.feature[pk]
    s.origin[h] = d
    s.origin[n] = c
    s.origin[p] = a
    s.origin[k] = c
    s.origin[nk] = d
    s.origin[pk] = b
    pair(s, n, tp, ep)
    pair(s, p, tnk, enk)
    pair(s, nk, tpk, epk)
    pair(s, pk, tn, en)
    s.out[a] = p
    s.out[b] = pk
    s.out[c] = n
    s.out[d] = nk
