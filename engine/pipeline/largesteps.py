"""Steps of whole regions instead of single vertices.

Source: Nicolet, Jacobson and Jakob, "Large Steps in Inverse Rendering of Geometry", 2021: optimise u = (I + l L) x
instead of the positions x, L the graph's Laplacian, with an Adam whose step is scaled by one number for all.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cholespy import CholeskySolverF, MatrixType  # pyright: ignore[reportAttributeAccessIssue]: no stubs
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from torch.autograd.function import once_differentiable


def graph_laplacian(faces: np.ndarray, vertices: int) -> csr_array:
    """(V, V) float64: number of neighbours on the diagonal, -1 at each neighbour. faces: (F, 3) int."""
    a, b = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    graph = csr_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(vertices, vertices))
    graph.data[:] = 1.0
    return csr_array(diags_array(graph.sum(1)) - graph)


class LargeSteps:
    """The change of variables between positions x and u = (I + stiffness L) x, for one set of faces."""

    def __init__(self, faces: np.ndarray, vertices: int, stiffness: float, device: torch.device) -> None:
        system = coo_array(eye_array(vertices) + stiffness * graph_laplacian(faces, vertices))
        rows, columns = (np.ascontiguousarray(each, np.int32) for each in system.coords)
        values = np.ascontiguousarray(system.data, np.float64)
        places = torch.from_numpy(np.stack([rows, columns]).astype(np.int64))
        matrix = torch.sparse_coo_tensor(places, torch.from_numpy(values), (vertices, vertices), check_invariants=True)
        self._matrix = matrix.coalesce().to(device, torch.float32)
        if device.type == "cpu":
            self._solver = CholeskySolverF(vertices, rows, columns, values, MatrixType.COO)
        else:
            on_device = [torch.from_numpy(each).to(device) for each in (rows, columns, values)]
            self._solver = CholeskySolverF(vertices, *on_device, MatrixType.COO)

    def stiff_from_positions(self, positions: torch.Tensor) -> torch.Tensor:
        """(V, C) float32 u of (V, C) float32 x."""
        return self._matrix @ positions

    def positions_from_stiff(self, stiff: torch.Tensor) -> torch.Tensor:
        """(V, C) float32 x of (V, C) float32 u. Differentiable; the matrix is symmetric, so its backward is itself."""
        solved: torch.Tensor = _Solve.apply(stiff, self._solver)
        return solved


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, right: torch.Tensor, solver: CholeskySolverF) -> torch.Tensor:
        ctx.solver = solver
        return _solved(solver, right)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _solved(ctx.solver, grad), None


def _solved(solver: CholeskySolverF, right: torch.Tensor) -> torch.Tensor:
    result = torch.empty_like(right, memory_format=torch.contiguous_format)
    right = right.detach().contiguous()
    if right.device.type == "cpu":
        solver.solve(right.numpy(), result.numpy())
    else:
        solver.solve(right, result)
    return result


class AdamUniform:
    """Adam whose second moment is one number a vertex, so that steps keep the gradient's direction.

    uniform: 1 takes the largest of all vertices' for all of them (Nicolet et al. 2021, section 3.4), 0 each vertex'
    own, between them their geometric mean: outlines pull much harder than colours do, and hollows have colours alone.
    """

    def __init__(self, parameter: torch.Tensor, decay: tuple[float, float] = (0.9, 0.99),
                 uniform: float = 1.0) -> None:
        self._uniform = uniform
        self.parameter, self._decay, self._count = parameter, decay, 0
        self._mean, self._square = torch.zeros_like(parameter), torch.zeros_like(parameter[:, :1])

    def step(self, rate: float) -> None:
        """One step against parameter.grad, `rate` long at most (in the parameter's unit); clears the gradient."""
        gradient = self.parameter.grad
        assert gradient is not None
        self._count += 1
        first, second = self._decay
        self._mean.mul_(first).add_(gradient, alpha=1 - first)
        self._square.mul_(second).add_(gradient.square().sum(1, keepdim=True), alpha=1 - second)
        mean = self._mean / (1 - first**self._count)
        size = (self._square / (1 - second**self._count)).sqrt()
        largest = size.max().clamp(min=1e-20)
        size = largest**self._uniform * size.clamp(min=1e-6 * float(largest))**(1 - self._uniform)
        with torch.no_grad():
            self.parameter -= rate * mean / size
        self.parameter.grad = None
