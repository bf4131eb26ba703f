"""What TripoSR costs here: CPU seconds on one thread and peak memory, everything in one run.

    python -m slipcast.bench.triposr [--checkpoint FILE] [--resolution 256]

Random weights of full size drive ViT and backbone; they make no object, so the surface is that of the chair among the
goldens (official sizes of scene code and decoder). The yardstick is what nobody can do without: the matrix products
and attentions of ViT and backbone, same shapes, plain torch, warm caches.
"""
from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN = 30
SCENE = Path(__file__).parents[1] / "tests" / "data" / "triposr" / "scene" / "scene.safetensors"


def main() -> int:
    """Print the table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint to use, or to write for the next time")
    parser.add_argument("--resolution", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or Path(folder) / "model.ckpt"
        if not checkpoint.exists():
            _alone(_write, checkpoint)
        bare = [_alone(_bare)]
        ours = _alone(_ours, checkpoint, arguments.resolution)
        bare.append(_alone(_bare))
    _show(ours, bare, arguments.resolution)
    return 0


def _show(ours: dict[str, float], bare: list[float], resolution: int) -> None:
    yardstick = sum(bare) / len(bare)
    marched = TURN * ours["one view by marching, 256 px"]
    whole = sum(ours[part] for part in ("load", "network fp32", "surface", "colours"))
    rows = [(name, f"{seconds:8.2f} s") for name, seconds in ours.items()
            if name != "peak" and "points" not in name and not name.startswith("turn")]
    runs = ", ".join(f"{run:.2f}" for run in bare)
    rows += [("bare products and attentions", f"{yardstick:8.2f} s   (runs: {runs})"),
             (f"image to mesh at {resolution}^3, fp32", f"{whole:8.2f} s   {whole / yardstick:.2f} x bare (bar: 1.40)"),
             ("published code (spec, section 11)", "66 s where these take 38: 1.74 x (bar: .62 of it, 1.08 x)"),
             ("density: dense / near the surface", f"{ours['density dense'] / ours['density near']:8.1f} x   "
              f"({100 * ours['points near']:.1f} % of the points; bar: 20)"),
             (f"turntable: {TURN} by marching / drawn", f"{marched / ours['turn']:8.0f} x   (bar: 50; marched: {TURN} "
              f"times one view at 256 px; drawn: {ours['turn']:.2f} s at 256 px, {ours['turn 512']:.2f} s at 512)"),
             ("peak memory", f"{ours['peak'] / 1e9:8.2f} GB  (bar: 3)")]
    for name, text in rows:
        print(f"{name:36}{text}")
    print(json.dumps({"bare": bare, "ours": ours}))


def _alone(work: Callable[..., Any], *given: Any) -> Any:
    """The result of `work` in a fresh process, whose memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(work, given)


def _write(path: Path) -> None:
    from .triposr_weights import write_checkpoint

    write_checkpoint(path)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _bare() -> float:
    """CPU seconds of the products and attentions of ViT and backbone."""
    import torch
    from torch.nn import functional

    from ..engine.models.triposr.layout import TripoSrSizes

    torch.set_num_threads(1)
    sizes = TripoSrSizes()
    wide, context = sizes.channels, sizes.vit_width
    patches, tokens = (sizes.image_px // sizes.patch_px)**2, 3 * sizes.plane_tokens**2
    vit = [(patches + 1, context, context)] * 4 + [(patches + 1, context, sizes.vit_inner),
                                                   (patches + 1, sizes.vit_inner, context)]
    block = [(tokens, wide, wide)] * 6 + [(patches + 1, context, wide)] * 2 + [(tokens, wide, 8 * wide),
                                                                              (tokens, 4 * wide, wide)]
    products = [(patches, 3 * sizes.patch_px**2, context)] + vit * sizes.vit_layers + [(tokens, wide, wide)] * 2 \
        + block * sizes.layers
    attentions = [(sizes.vit_heads, patches + 1, patches + 1)] * sizes.vit_layers \
        + [(sizes.heads, tokens, tokens), (sizes.heads, tokens, patches + 1)] * sizes.layers
    made: dict[tuple[int, ...], torch.Tensor] = {}

    def some(*shape: int) -> torch.Tensor:
        return made.setdefault(shape, torch.randn(*shape))

    def work() -> None:
        for rows, inner, columns in products:
            functional.linear(some(rows, inner), some(columns, inner))
        for heads, queries, keys in attentions:
            functional.scaled_dot_product_attention(some(1, heads, queries, 64), some(1, heads, keys, 64),
                                                    some(1, heads, keys, 64))

    with torch.inference_mode():
        some(1)
        return _timed(work)[0]


def _turn(mesh: Any, side_px: int) -> float:
    """CPU seconds of TURN pictures of the mesh, with a texture of 1024 px over it; kernels are compiled before."""
    import numpy as np
    import torch

    from ..engine.pipeline.progress import Run
    from ..engine.pipeline.turntable import render_turntable
    from ..engine.pipeline.types import Mesh, TexturedMesh

    noise = np.random.default_rng(0)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    uvs = noise.random((len(faces), 1, 2), np.float32) + noise.random((len(faces), 3, 2), np.float32) * np.float32(.005)
    textured = TexturedMesh(Mesh(np.ascontiguousarray(mesh.vertices, dtype=np.float32), faces), uvs.clip(0, 1),
                            noise.integers(0, 256, (1024, 1024, 3), dtype=np.uint8))

    def work(frames: int) -> None:
        with Run(("turntable",)).stage("turntable") as stage:
            render_turntable(textured, frames, side_px, torch.device("cpu"), stage)

    work(1)
    return _timed(lambda: work(TURN))[0]


def _ours(checkpoint: Path, resolution: int) -> dict[str, float]:
    """CPU seconds by name, points near the surface as a fraction, peak memory in bytes before the dense query."""
    import numpy as np
    import torch
    from safetensors.torch import load_file

    from ..engine.models.triposr.checkpoint import read_checkpoint
    from ..engine.models.triposr.density import density_near
    from ..engine.models.triposr.field import TriplaneField
    from ..engine.models.triposr.lattice import Lattice
    from ..engine.models.triposr.layout import TripoSrSizes
    from ..engine.models.triposr.network import Network
    from ..engine.models.triposr.surface import field_surface
    from ..engine.models.triposr.volume import Orbit, render_view
    from ..engine.models.triposr.weights import Weights

    torch.set_num_threads(1)
    sizes, level = TripoSrSizes(), float(np.log(25) + 1)
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    found: dict[str, float] = {}
    found["load"], network = _timed(lambda: Network(read_checkpoint(checkpoint, sizes), sizes, "cpu"))
    found["network fp32"], _ = _timed(lambda: network.field(picture, False, lambda: None))
    scene = {name: tensor.float() for name, tensor in load_file(SCENE).items()}
    field = TriplaneField(scene["scene_code"], Weights(scene, "decoder.layers."), sizes)
    found["surface"], mesh = _timed(lambda: field_surface(field, resolution, 25.0, smooth=True, closed=True))
    with torch.inference_mode():
        found["colours"], _ = _timed(lambda: field.colors(torch.from_numpy(mesh.vertices)))
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        found["density near"], near = _timed(lambda: density_near(Lattice(field, resolution), level))
        found["density dense"], _ = _timed(lambda: Lattice(field, resolution).all())
        found["points near"] = near.evaluated / resolution**3
        found["one view by marching, 256 px"], _ = _timed(lambda: render_view(field, Orbit(), 256, 256))
    for name, side_px in (("turn", 256), ("turn 512", 512)):
        found[name] = _turn(mesh, side_px)
    found["network bf16"], _ = _timed(lambda: network.field(picture, True, lambda: None))
    return found


if __name__ == "__main__":
    sys.exit(main())
