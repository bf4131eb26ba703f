"""The picture's tokens: a ViT-B/16 as DINO trained it. Source: spec triposr, sections 3.1 and 3.2."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .layout import TripoSrSizes
from .weights import Weights, attend

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-12
_DINO_OFFSET = 0.1      # DINO's position table is stretched to (patches + 0.1); the weights were trained with that


def resize_picture(picture: Tensor, image_px: int) -> Tensor:
    """Bring a square picture to image_px. picture: (B, H, W, 3) uint8, sRGB. Returns (B, image_px, image_px, 3) float32
    in [0, 1]; smoothed before it shrinks."""
    channels_first = picture.permute(0, 3, 1, 2).to(torch.float32) / 255
    return functional.interpolate(channels_first, (image_px, image_px), mode="bilinear", align_corners=False,
                                  antialias=True).permute(0, 2, 3, 1)


def normalise(resized: Tensor) -> Tensor:
    """(B, H, W, 3) float32 in [0, 1] -> (B, 3, H, W), mean 0 and deviation 1 over ImageNet."""
    mean, deviation = resized.new_tensor(IMAGENET_MEAN), resized.new_tensor(IMAGENET_STD)
    return ((resized - mean) / deviation).permute(0, 3, 1, 2)


def embed_patches(weights: Weights, sizes: TripoSrSizes, image: Tensor) -> Tensor:
    """Patches with their places. weights: below "image_tokenizer.model". image: (B, 3, H, W) normalised.

    Returns (B, 1 + patches, C): the class token first, then the patches row by row.
    """
    below = weights.below("embeddings")
    projection = below.below("patch_embeddings.projection")
    patches = functional.conv2d(image, projection["weight"], projection["bias"], stride=sizes.patch_px)
    rows, columns = patches.shape[2:]
    tokens = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([below["cls_token"].expand(len(image), -1, -1), tokens], dim=1)
    return tokens + _positions(below["position_embeddings"], sizes.vit_table, rows, columns)


def _positions(table: Tensor, side: int, rows: int, columns: int) -> Tensor:
    """The position table (1, 1 + side^2, C) stretched to rows x columns patches."""
    if (rows, columns) == (side, side):
        return table
    grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scale = ((rows + _DINO_OFFSET) / side, (columns + _DINO_OFFSET) / side)
    grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def image_tokens(weights: Weights, sizes: TripoSrSizes, image: Tensor,
                 after_layer: Callable[[int], None] = lambda number: None) -> Tensor:
    """All tokens of the last layer, the class token included.

    weights: the whole table. image: (B, 3, image_px, image_px) float32, normalised. after_layer: told the number of
    each finished layer; may raise to stop. Returns (B, 1 + patches, C).
    """
    weights = weights.below("image_tokenizer.model")
    tokens = embed_patches(weights, sizes, image)
    for number in range(sizes.vit_layers):
        layer = weights.below(f"encoder.layer.{number}")
        seen = layer.layer_norm("layernorm_before", tokens, _EPS)
        parts = (layer.linear(f"attention.attention.{part}", seen) for part in ("query", "key", "value"))
        tokens = tokens + layer.linear("attention.output.dense", attend(*parts, heads=sizes.vit_heads))
        seen = layer.layer_norm("layernorm_after", tokens, _EPS)
        tokens = tokens + layer.linear("output.dense", functional.gelu(layer.linear("intermediate.dense", seen)))
        after_layer(number)
    return weights.layer_norm("layernorm", tokens, _EPS)
