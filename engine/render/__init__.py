"""The rasteriser: triangles to pixels, on the CPU and on CUDA, from one kernel source (NVIDIA Warp).

rasterize.py    which triangle is nearest at each pixel, with barycentric weights and depth
reference.py    the slow twins of all kernels
interpolate.py  vertex attributes to pixels
depth.py        depth map of a mesh seen by a Camera
observe.py      what a set of views sees at surface points, and one colour out of it (used by the bake)
backend.py      how kernels are compiled and launched

Clip space here: x right, y DOWN, so that row 0 is the top of the image (y = -1) and, in UV space, the highest v.
"""
from __future__ import annotations

from .antialias import antialias
from .depth import clip_from_camera, depth_map
from .fragments import Fragments, find_fragments, interpolate_at, interpolate_fragments
from .interpolate import interpolate, interpolate_derivatives
from .rasterize import pixel_derivatives, rasterize
from .topology import build_topology

__all__ = [
    "Fragments", "antialias", "build_topology", "clip_from_camera", "depth_map", "find_fragments", "interpolate",
    "interpolate_at", "interpolate_derivatives", "interpolate_fragments", "pixel_derivatives", "rasterize",
]
