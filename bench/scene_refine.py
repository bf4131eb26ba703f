"""A sphere refined to look like something in a Blender scene, from renders that the add-on makes of it.

    python -m slipcast.bench.scene_refine [--scene suzanne|sculpt] [--quality normal] [--views 16] [--px 384]
        [--samples 16] [--faces 20000] [--threads 1] [--keep FOLDER]

suzanne: subdivided, displaced, with a textured material. sculpt: 20,480 faces with relief, refined into 3,000. The
views come from the automatic orbit, with depth and normals, in even light; the judges are 8 more at other elevations,
rendered alike and seen by nobody before; then Blender renders the result beside its model in the light of a lamp,
with its normal map and without. Volumes are compared with the evaluated mesh, closed by a fine voxel remesh
(Suzanne's eyes are parts of their own). Rendering is told apart from refining. With --keep the renders stay in FOLDER,
and are taken from there the next time. Needs bpy and torch in one process.
"""
from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np
import torch
import trimesh

from ..addon.scene.meshes import positions_of, triangles_of
from ..addon.scene.refine_source import SourceWishes, read_source
from ..addon.scene.targets import TargetSettings, render_targets
from ..bridge.folders import collect_view_folder
from ..bridge.settings import QUALITIES, RefineMeshSettings
from ..engine.pipeline.images import load_views
from ..engine.pipeline.matting import mask_views
from ..engine.pipeline.progress import Run
from ..engine.pipeline.refine_job import STAGES, refine_from_views
from ..engine.pipeline.scores import Judges, score_texture
from ..engine.pipeline.types import TexturedMesh
from .quality import volume_iou
from .scene_relit import relit

JUDGES, JUDGE_ELEVATIONS = 8, (-28.0, 62.0)
VOXEL = 0.012            # of the truth's longest side
DEVICE = torch.device("cpu")


def suzanne() -> bpy.types.Object:
    bpy.ops.mesh.primitive_monkey_add(location=(0.4, -0.3, 0.6), rotation=(0.1, 0.0, 0.5))
    made = bpy.context.object
    made.modifiers.new("Subdivision", "SUBSURF").levels = 2
    made.modifiers["Subdivision"].render_levels = 2
    _displace(made, 0.06, 0.35)
    made.data.materials.append(_patterned(3.0))
    return made


def sculpt() -> bpy.types.Object:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=6, radius=1.0, location=(0.0, 0.2, 1.0))
    made = bpy.context.object
    _displace(made, 0.5, 1.0)
    _displace(made, 0.06, 0.15)
    made.data.materials.append(_patterned(2.0))
    return made


def _displace(thing: bpy.types.Object, strength: float, size: float) -> None:
    texture = bpy.data.textures.new("relief", "CLOUDS")
    texture.noise_scale = size
    modifier = thing.modifiers.new("Displace", "DISPLACE")
    modifier.texture, modifier.strength, modifier.mid_level = texture, strength, 0.5


def _patterned(scale: float) -> bpy.types.Material:
    """Colours from a noise in the object's own space: nothing that a UV map would help with."""
    made = bpy.data.materials.new("pattern")
    made.use_nodes = True
    tree = made.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 1.0
    shader.inputs["Specular IOR Level"].default_value = 0.0
    place, noise, ramp = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "TexNoise", "ValToRGB"))
    noise.inputs["Scale"].default_value = scale
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[0].position = (0.55, 0.12, 0.05, 1), 0.35
    ramp.color_ramp.elements[1].color, ramp.color_ramp.elements[1].position = (0.1, 0.35, 0.6, 1), 0.65
    tree.links.new(place.outputs["Object"], noise.inputs["Vector"])
    tree.links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return made


def solid_truth(thing: bpy.types.Object) -> trimesh.Trimesh:
    """The evaluated mesh in the world, closed: the outer skin of its voxel remesh."""
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(thing.evaluated_get(graph), depsgraph=graph)
    copy = bpy.data.objects.new("truth", mesh)
    bpy.context.scene.collection.objects.link(copy)
    modifier = copy.modifiers.new("Remesh", "REMESH")
    modifier.mode, modifier.voxel_size = "VOXEL", VOXEL * max(thing.dimensions)
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = copy.evaluated_get(graph).to_mesh()
    positions, faces = positions_of(mesh), triangles_of(mesh)
    matrix = np.array(thing.matrix_world)
    bpy.data.objects.remove(copy)
    shape = trimesh.Trimesh(positions @ matrix[:3, :3].T + matrix[:3, 3], faces, process=True)
    return max(shape.split(only_watertight=True), key=lambda part: abs(part.volume))


def render(subject: bpy.types.Object, folder: Path, settings: TargetSettings) -> float:
    """Seconds of the clock for one folder of views; 0 for one that was kept."""
    if (folder / "transforms.json").exists():
        return 0.0
    began = time.perf_counter()
    for _ in render_targets(bpy.context.scene, bpy.context.view_layer, subject, folder, settings):
        pass
    return time.perf_counter() - began


def unseen(folder: Path) -> Judges:
    with Run(("judge",)).stage("judge") as stage:
        views = load_views(collect_view_folder(folder), 1024, stage)
        masks = tuple(mask_views(views, stage, 512))
    return Judges(views.views, masks, (), ())


def judge(found: TexturedMesh, truth: trimesh.Trimesh, judges: Judges) -> dict[str, float]:
    shape = trimesh.Trimesh(found.mesh.vertices, found.mesh.faces, process=True)
    with Run(("judge",)).stage("judge") as stage:
        psnr_db = score_texture(found, judges, DEVICE, stage)
    return {"volume_iou": volume_iou(shape, truth), "psnr_db": psnr_db}


def processor_seconds() -> float:
    """Of this process and of those it has started and that have ended (unwrapping has one of its own)."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(prog="slipcast.bench.scene_refine", description=__doc__)
    parser.add_argument("--scene", choices=("suzanne", "sculpt"), default="suzanne")
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--px", type=int, default=384)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--faces", type=int, default=0, help="0: 20,000, and 3,000 for the sculpt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    subject = suzanne() if asked.scene == "suzanne" else sculpt()
    bpy.context.view_layer.update()
    truth = solid_truth(subject)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.15, location=tuple(truth.bounds.mean(0)))
    start = bpy.context.object
    with tempfile.TemporaryDirectory(prefix="slipcast_") as temporary:
        place = Path(temporary)
        kept = asked.keep or place
        settings = TargetSettings(count=asked.views, resolution=asked.px, samples=asked.samples, lighting="EVEN")
        rendered_s = render(subject, kept / "views", settings)
        low, high = JUDGE_ELEVATIONS
        render(subject, kept / "judges",
               dataclasses.replace(settings, count=JUDGES, lowest_deg=low, highest_deg=high))
        mesh = place / "mesh.npz"
        mesh.write_bytes(read_source(start, SourceWishes())[1])
        files = {**collect_view_folder(kept / "views"), "mesh.npz": mesh}
        wishes = RefineMeshSettings(quality=asked.quality, texture_px=1024,
                                    face_budget=asked.faces or (3_000 if asked.scene == "sculpt" else 20_000))
        run = Run(STAGES)
        began, processor = time.perf_counter(), processor_seconds()
        result = refine_from_views(files, wishes, run, "cpu")
        seconds, processor = time.perf_counter() - began, processor_seconds() - processor
        scores = judge(result.textured, truth, unseen(kept / "judges"))
        bpy.data.objects.remove(start)
        scores |= relit(subject, result.textured, truth.bounds, place, kept, asked.px)
    told = {"scene": asked.scene, "quality": asked.quality, "views": asked.views, "px": asked.px, **scores,
            "faces": len(result.textured.mesh.faces), "render_s": rendered_s, "refine_s": seconds,
            "refine_processor_s": processor, "threads": asked.threads,
            "stages": {each.name: round(each.seconds, 1) for each in result.stages}, "warnings": list(result.warnings)}
    sys.stdout.write(json.dumps({key: round(value, 4) if isinstance(value, float) else value
                                 for key, value in told.items()}) + "\n")


if __name__ == "__main__":
    main()
