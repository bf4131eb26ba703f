"""texture: values and gradients against the slow twin; borders, mip levels, bad arguments."""
from __future__ import annotations

import pytest
import torch
from render_scenes import relative_error

from slipcast.engine.render import texture
from slipcast.engine.render.arguments import ShapeError
from slipcast.engine.render.texture import build_pyramid, mip_level
from slipcast.engine.render.torch_reference import mipmapped_ref, texture_ref


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("boundary", ["clamp", "wrap"])
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("workers", [1, 3])
def test_texture_has_the_values_and_gradients_of_its_slow_twin(boundary, items, workers):
    tex, uv = random(0, items, 7, 5, 3).requires_grad_(), (random(1, 2, 9, 11, 2) * 3 - 1).requires_grad_()
    quick, quick_uv = tex.detach().float().requires_grad_(), uv.detach().float().requires_grad_()
    slow = texture_ref(tex.expand(2, -1, -1, -1), uv, boundary)
    pull = random(2, *slow.shape)
    (slow * pull).sum().backward()
    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        fast = texture(quick, quick_uv, boundary=boundary)
        (fast * pull.float()).sum().backward()
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(fast.double(), slow, atol=1e-5)
    assert tex.grad is not None and quick.grad is not None and uv.grad is not None and quick_uv.grad is not None
    assert relative_error(quick.grad, tex.grad) < 1e-5
    assert relative_error(quick_uv.grad, uv.grad) < 1e-4


@pytest.mark.parametrize("boundary", ["clamp", "wrap"])
def test_mipmapped_texture_has_the_values_and_gradients_of_its_slow_twin(boundary):
    tex, uv = random(0, 1, 8, 16, 2).requires_grad_(), random(1, 2, 6, 7, 2).requires_grad_()
    changes = (torch.exp(random(2, 2, 6, 7, 4) * 4 - 4.5) * (random(3, 2, 6, 7, 4) - 0.5).sign()).requires_grad_()
    level = mip_level(changes, 8, 16)
    assert float(level.detach().min()) < 0 and float(level.detach().max()) > 3      # held at the first; the coarse ones
    slow = mipmapped_ref(tex.expand(2, -1, -1, -1), uv, level, boundary)
    pull = random(4, *slow.shape)
    (slow * pull).sum().backward()
    quick = [each.detach().float().requires_grad_() for each in (tex, uv, changes)]
    fast = texture(*quick, filter="linear-mipmap-linear", boundary=boundary)
    (fast * pull.float()).sum().backward()
    assert torch.allclose(fast.double(), slow, atol=1e-5)
    for found, expected in zip(quick, (tex, uv, changes)):
        assert found.grad is not None and expected.grad is not None
        assert relative_error(found.grad, expected.grad) < 1e-3


def test_texture_passes_gradcheck_in_the_texture():
    uv = random(1, 1, 4, 3, 2).float()
    changes = (random(2, 1, 4, 3, 4) * 0.4).float()

    def run(tex: torch.Tensor) -> torch.Tensor:
        return texture(tex.float(), uv, changes, "linear-mipmap-linear", "clamp").double()

    # linear, so that a step of .1 has no error of its own and float32 leaves 1e-6 / .1
    assert torch.autograd.gradcheck(run, (random(0, 5, 6, 2).requires_grad_(),), eps=0.1, atol=1e-4)


def test_texel_centres_give_their_texel_and_row_0_has_the_lowest_v():
    tex = torch.arange(6.0).reshape(2, 3, 1)
    uv = torch.stack(torch.meshgrid((torch.arange(3) + 0.5) / 3, (torch.arange(2) + 0.5) / 2, indexing="xy"), -1)[None]
    assert torch.allclose(texture(tex, uv)[0], tex, atol=1e-6)


def test_outside_clamp_repeats_the_border_and_wrap_the_texture():
    tex = torch.rand(4, 4, 1, generator=torch.Generator().manual_seed(0))
    inside = torch.tensor([[[[0.3, 0.6]]]])
    assert torch.allclose(texture(tex, inside + 7, boundary="wrap"), texture(tex, inside), atol=1e-5)
    far = torch.tensor([[[[40.0, -7.0]]]])
    assert texture(tex, far, boundary="clamp").item() == tex[0, 3].item()


@pytest.mark.parametrize("size", [(13, 7), (1, 9), (6, 6)])
def test_all_mip_levels_of_a_constant_texture_are_that_constant_at_odd_sizes_too(size):
    tex = torch.full((*size, 2), 0.7)
    levels = build_pyramid(tex[None])
    assert levels[-1].shape[1:3] == (1, 1)
    uv, changes = torch.rand(1, 20, 20, 2), torch.rand(1, 20, 20, 4) ** 3
    assert torch.allclose(texture(tex, uv, changes, "linear-mipmap-linear"), torch.tensor(0.7), atol=1e-6)
    assert len(build_pyramid(tex[None], max_level=1)) == 2


def test_three_runs_give_the_same_bits():
    uv, pull = torch.rand(2, 30, 30, 2), torch.rand(2, 30, 30, 3)

    def run() -> torch.Tensor:
        tex = torch.ones(16, 16, 3, requires_grad=True)
        (texture(tex, uv) * pull).sum().backward()
        assert tex.grad is not None
        return tex.grad

    first = run()
    assert torch.equal(run(), first) and torch.equal(run(), first)


def test_bad_arguments_are_named():
    tex, uv = torch.rand(4, 4, 3), torch.rand(2, 5, 5, 2)
    with pytest.raises(ShapeError, match="uv"):
        texture(tex, uv[0])
    with pytest.raises(ShapeError, match="1 or 2 items"):
        texture(torch.rand(3, 4, 4, 1), uv)
    with pytest.raises(ValueError, match="needs uv_da"):
        texture(tex, uv, filter="linear-mipmap-linear")
    with pytest.raises(ValueError, match="boundary"):
        texture(tex, uv, boundary="mirror")
