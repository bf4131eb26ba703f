"""The differentiable rasteriser: triangles to pixels, on the CPU and on CUDA, from one kernel source (NVIDIA Warp).

Four operations with gradients:
rasterize.py    which triangle each pixel shows, and where on it
interpolate.py  vertex attributes to pixels
texture.py      textures at UV points, bilinear or mipmapped
antialias.py    smooth outlines: the gradient of visibility; topology.py says which triangles are neighbours
torch_reference.py  their slow twins; nvdiffrast_backend.py  the same four by another library, on request

mesh_colours.py, with gradients too, draws colours that are finer than the mesh and need no UVs.

Forward only, for other stages:
fragments.py    triangle, weights and depth per pixel
depth.py        depth map of a mesh seen by a Camera
colour.py       sRGB and linear light
observe.py      what a set of views sees at surface points, and one colour out of it (used by the bake)
reference.py    their slow twins

backend.py says how kernels are compiled and launched, arguments.py what is asked of arguments.
Clip space here: x right, y DOWN, so that row 0 is the top of the image (y = -1) and, in UV space, the highest v.
"""
from __future__ import annotations

from .antialias import antialias
from .depth import clip_from_camera, depth_map
from .fragments import Fragments, find_fragments, interpolate_at, interpolate_fragments
from .interpolate import interpolate, interpolate_derivatives
from .mesh_colours import Cells, divide_faces, draw_colours
from .rasterize import pixel_derivatives, rasterize
from .texture import texture
from .topology import build_topology

__all__ = [
    "Cells", "Fragments", "antialias", "build_topology", "clip_from_camera", "depth_map", "divide_faces",
    "draw_colours", "find_fragments", "interpolate", "interpolate_at", "interpolate_derivatives",
    "interpolate_fragments", "pixel_derivatives", "rasterize", "texture",
]
