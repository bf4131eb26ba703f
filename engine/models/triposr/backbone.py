"""From the picture's tokens to three planes of features. Source: spec triposr, sections 3.3 and 3.4."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .layout import TripoSrSizes
from .weights import Weights, attend

_EPS = 1e-5
_GROUP_EPS = 1e-6


def start_tokens(weights: Weights) -> Tensor:
    """The learned planes as a row of tokens: (1, C, 3 * side^2), plane by plane, row by row."""
    return weights["tokenizer.embeddings"].flatten(2).transpose(0, 1).flatten(1)[None]


def transform_tokens(weights: Weights, sizes: TripoSrSizes, start: Tensor, context: Tensor,
                     after_block: Callable[[int], None] = lambda number: None) -> Tensor:
    """The planes' tokens after all blocks. weights: the whole table.

    start: (B, C, N) from start_tokens. context: (B, M, D) from image_tokens. after_block: told the number of each
    finished block; may raise to stop. Returns (B, C, N).
    """
    below = weights.below("backbone")
    normal = functional.group_norm(start, sizes.norm_groups, below["norm.weight"], below["norm.bias"], _GROUP_EPS)
    tokens = below.linear("proj_in", normal.transpose(1, 2))
    for number in range(sizes.layers):
        tokens = transform_block(below.below(f"transformer_blocks.{number}"), sizes.heads, tokens, context)
        after_block(number)
    return below.linear("proj_out", tokens).transpose(1, 2) + start


def transform_block(block: Weights, heads: int, tokens: Tensor, context: Tensor) -> Tensor:
    """One block: self attention, attention to the picture, gated layer. tokens: (B, N, C). Returns (B, N, C)."""
    seen = block.layer_norm("norm1", tokens, _EPS)
    tokens = tokens + _attention(block.below("attn1"), heads, seen, seen)
    tokens = tokens + _attention(block.below("attn2"), heads, block.layer_norm("norm2", tokens, _EPS), context)
    value, gate = block.linear("ff.net.0.proj", block.layer_norm("norm3", tokens, _EPS)).chunk(2, dim=-1)
    return tokens + block.linear("ff.net.2", value * functional.gelu(gate))


def _attention(weights: Weights, heads: int, tokens: Tensor, context: Tensor) -> Tensor:
    attended = attend(weights.linear("to_q", tokens), weights.linear("to_k", context), weights.linear("to_v", context),
                      heads)
    return weights.linear("to_out.0", attended)


def scene_code(weights: Weights, sizes: TripoSrSizes, tokens: Tensor) -> Tensor:
    """The planes at twice their size: tokens (B, C, 3 * side^2) -> (B, 3, scene_channels, 2 side, 2 side) float32."""
    side = sizes.plane_tokens
    planes = tokens.unflatten(2, (3, side, side)).transpose(1, 2).flatten(0, 1)
    upsample = weights.below("post_processor.upsample")
    finer = functional.conv_transpose2d(planes, upsample["weight"], upsample["bias"], stride=2)
    return finer.unflatten(0, (-1, 3)).to(torch.float32)
