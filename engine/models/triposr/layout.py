"""The sizes of TripoSR, and the names and shapes of its weights that follow from them. Torch-free."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TripoSrSizes:
    """The architecture; the defaults are those of the published checkpoint. Source: spec triposr, sections 1 and 2."""

    image_px: int = 512             # the picture is brought to this square
    patch_px: int = 16
    vit_width: int = 768
    vit_heads: int = 12
    vit_layers: int = 12
    vit_inner: int = 3072
    vit_table: int = 14             # patches along a side that the position table was trained for
    plane_tokens: int = 32          # tokens along a side of a plane
    channels: int = 1024
    heads: int = 16
    layers: int = 16
    norm_groups: int = 32
    scene_channels: int = 40        # of each plane, after the upsampling
    neurons: int = 64               # of the decoder
    hidden: int = 9                 # layers of them
    radius: float = 0.87            # half the side of the box that the planes span
    density_bias: float = -1.0
    ray_samples: int = 128


def expected_layout(sizes: TripoSrSizes) -> dict[str, Shape]:
    """Name -> shape of every tensor of a checkpoint, in its order; all are float32."""
    return dict([*_vit(sizes), *_backbone(sizes), *_decoder(sizes)])


def _both(name: str, *shape: int) -> Iterator[tuple[str, Shape]]:
    """A weight and its bias, which is as long as the weight's first axis."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _vit(sizes: TripoSrSizes) -> Iterator[tuple[str, Shape]]:
    width, inner, root = sizes.vit_width, sizes.vit_inner, "image_tokenizer.model"
    yield f"{root}.embeddings.cls_token", (1, 1, width)
    yield f"{root}.embeddings.position_embeddings", (1, 1 + sizes.vit_table**2, width)
    yield from _both(f"{root}.embeddings.patch_embeddings.projection", width, 3, sizes.patch_px, sizes.patch_px)
    for number in range(sizes.vit_layers):
        layer = f"{root}.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            yield from _both(f"{layer}.attention.attention.{part}", width, width)
        yield from _both(f"{layer}.attention.output.dense", width, width)
        yield from _both(f"{layer}.intermediate.dense", inner, width)
        yield from _both(f"{layer}.output.dense", width, inner)
        yield from _both(f"{layer}.layernorm_before", width)
        yield from _both(f"{layer}.layernorm_after", width)
    yield from _both(f"{root}.layernorm", width)
    yield from _both(f"{root}.pooler.dense", width, width)      # in the checkpoint, never used


def _backbone(sizes: TripoSrSizes) -> Iterator[tuple[str, Shape]]:
    wide, context = sizes.channels, sizes.vit_width
    yield "tokenizer.embeddings", (3, wide, sizes.plane_tokens, sizes.plane_tokens)
    yield from _both("backbone.norm", wide)
    yield from _both("backbone.proj_in", wide, wide)
    for number in range(sizes.layers):
        block = f"backbone.transformer_blocks.{number}"
        for attention, norm, source in (("attn1", "norm1", wide), ("attn2", "norm2", context)):
            yield from _both(f"{block}.{norm}", wide)
            yield f"{block}.{attention}.to_q.weight", (wide, wide)
            yield f"{block}.{attention}.to_k.weight", (wide, source)
            yield f"{block}.{attention}.to_v.weight", (wide, source)
            yield from _both(f"{block}.{attention}.to_out.0", wide, wide)
        yield from _both(f"{block}.norm3", wide)
        yield from _both(f"{block}.ff.net.0.proj", 8 * wide, wide)
        yield from _both(f"{block}.ff.net.2", wide, 4 * wide)
    yield from _both("backbone.proj_out", wide, wide)
    yield "post_processor.upsample.weight", (wide, sizes.scene_channels, 2, 2)
    yield "post_processor.upsample.bias", (sizes.scene_channels,)


def _decoder(sizes: TripoSrSizes) -> Iterator[tuple[str, Shape]]:
    widths = (3 * sizes.scene_channels, *[sizes.neurons] * sizes.hidden, 4)
    for number, (before, after) in enumerate(zip(widths[:-1], widths[1:])):
        yield from _both(f"decoder.layers.{2 * number}", after, before)
