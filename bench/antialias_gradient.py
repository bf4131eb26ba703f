"""How much of the true silhouette gradient `antialias` delivers, by finite differences of exact coverage.

    python -m slipcast.bench.antialias_gradient [--size 512] [--faces 1000 5000 50000]

The loss is the covered area, each pixel weighted by a smooth random picture. True change: the mesh is moved by +-0.3
pixels and its coverage taken with 4x4 samples a pixel. Ratio: slope of the regression of the analytic on the true
change over several moves; 1 is right, 0 is no gradient. "grow" = outwards along the radius, "bend" = smooth random
fields, "jitter" = each vertex by itself (for triangles of a pixel or two that move is no longer small, and few moves
leave much noise). "own edges" looks at the visible triangle's edges only, "followed" is the default.
"""
from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import torch

from ..engine.render import antialias, build_topology, find_fragments, rasterize

SAMPLES = 4
STEP_PX = 0.3
MOVES = {"grow": 1, "bend": 4, "jitter": 4}
FOCAL, DISTANCE, NEAR, FAR = 2.2, 3.2, 0.1, 10.0      # a unit ball fills most of the frame


def geodesic_ball(faces: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit icosphere of about `faces` triangles: vertices (V, 3) float64, faces (F, 3) int32, outwards."""
    import trimesh

    base = trimesh.creation.icosahedron()
    n = max(1, round(math.sqrt(faces / 20)))
    i, j = (each.ravel() for each in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    keep = i + j <= n
    i, j = i[keep], j[keep]
    number = np.full((n + 2, n + 2), -1)
    number[i, j] = np.arange(len(i))
    up = np.stack([number[i, j], number[i + 1, j], number[i, j + 1]], 1)
    down = np.stack([number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]], 1)
    pattern = np.concatenate([up[(up >= 0).all(1)], down[(down >= 0).all(1)]])
    share = np.stack([n - i - j, i, j], 1) / n
    points = np.einsum("pk,fkc->fpc", share, base.vertices[base.faces]).reshape(-1, 3)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    indices = (np.arange(20)[:, None, None] * len(i) + pattern).reshape(-1, 3)
    _, first, merged = np.unique(np.round(points, 7), axis=0, return_index=True, return_inverse=True)
    return points[first], merged.reshape(-1)[indices].astype(np.int32)


def make_shape(name: str, faces: int) -> tuple[np.ndarray, np.ndarray]:
    """ball; bumpy: waves of 12 % of the radius; rough: each vertex off by up to a third of an edge, like a hull."""
    vertices, indices = geodesic_ball(faces)
    rng = np.random.default_rng(0)
    radius = np.ones(len(vertices))
    if name != "ball":
        radius += 0.12 * np.sin(vertices * 7 + 1).prod(1) + 0.05 * np.sin(vertices @ [11.0, 5.0, -8.0])
    if name == "rough":
        edge = math.sqrt(4 * math.pi / len(indices) * 4 / math.sqrt(3))
        radius += rng.uniform(-1, 1, len(vertices)) * edge / 3
    return vertices * radius[:, None], indices


def project(vertices: torch.Tensor) -> torch.Tensor:
    """(V, 3) -> (V, 4) clip space of a camera on the z axis."""
    x, y, z = vertices.unbind(-1)
    depth = DISTANCE - z
    far_z = ((FAR + NEAR) * depth - 2 * FAR * NEAR) / (FAR - NEAR)
    return torch.stack([FOCAL * x, -FOCAL * y, far_z, depth], -1)


def exact_loss(vertices: torch.Tensor, faces: torch.Tensor, weight: torch.Tensor) -> float:
    size = len(weight)
    fine = find_fragments(project(vertices)[None], faces, size * SAMPLES, size * SAMPLES).face[0] >= 0
    coverage = fine.view(size, SAMPLES, size, SAMPLES).sum((1, 3), dtype=torch.int32).double() / SAMPLES**2
    return float((coverage * weight).sum())


def analytic_gradient(vertices: torch.Tensor, faces: torch.Tensor, weight: torch.Tensor,
                      max_steps: int) -> torch.Tensor:
    vertices = vertices.clone().requires_grad_()
    clip = project(vertices)
    rast = rasterize(clip, faces, (len(weight), len(weight)))
    covered = antialias((rast[..., 3:] > 0).float(), rast, clip, faces, build_topology(faces), max_steps=max_steps)
    (covered[0, :, :, 0] * weight).sum().backward()
    assert vertices.grad is not None
    return vertices.grad


def make_moves(kind: str, vertices: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    outward = vertices / vertices.norm(dim=1, keepdim=True)
    if kind == "grow":
        return [outward]
    if kind == "jitter":
        return [outward * torch.randn(len(vertices), 1, generator=generator) for _ in range(MOVES[kind])]
    waves = [torch.randn(2, 3, 3, generator=generator) * 2 for _ in range(MOVES[kind])]
    return [torch.sin(vertices @ wave[0] + wave[1, 0]) for wave in waves]


def smooth_picture(size: int, generator: torch.Generator) -> torch.Tensor:
    coarse = torch.rand(1, 1, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")[0, 0].clamp(min=0).double() + 0.2


def slope(found: Sequence[float], true: Sequence[float]) -> float:
    return float(np.dot(found, true) / np.dot(true, true))


def measure(name: str, face_count: int, size: int, steps: Sequence[int]) -> list[tuple[int, str, list[float]]]:
    """(faces, kind of move, ratio for each entry of steps)."""
    generator = torch.Generator().manual_seed(0)
    points, indices = make_shape(name, face_count)
    vertices, faces = torch.from_numpy(points.astype(np.float32)), torch.from_numpy(indices)
    weight = smooth_picture(size, generator)
    gradients = [analytic_gradient(vertices, faces, weight, each) for each in steps]
    length = STEP_PX / (size / 2 * FOCAL / DISTANCE)
    rows = []
    for kind in MOVES:
        moves = make_moves(kind, vertices, generator)
        true = [exact_loss(vertices + move * length, faces, weight)
                - exact_loss(vertices - move * length, faces, weight) for move in moves]
        found = [[2 * length * float((gradient * move).sum()) for move in moves] for gradient in gradients]
        rows.append((len(faces), kind, [slope(each, true) for each in found]))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="pixels (default 512)")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 5000, 50000])
    arguments = parser.parse_args(argv)
    print(f"analytic / true gradient, {arguments.size} px")
    print(f"{'shape':8}{'faces':>8}  {'move':8}{'own edges':>10}{'followed':>10}")
    for name in ("ball", "bumpy", "rough"):
        for count in arguments.faces:
            for faces, kind, ratios in measure(name, count, arguments.size, (1, 64)):
                print(f"{name:8}{faces:8d}  {kind:8}{ratios[0]:10.3f}{ratios[1]:10.3f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
