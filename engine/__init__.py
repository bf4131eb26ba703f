"""The engine: jobs, pipeline, models. Nothing of it imports bpy."""
from __future__ import annotations

import os

# Read when PyTorch is loaded: threads that wait for each other sleep. Else they spin, and beside another program that
# computes (Blender that draws its viewport on the processor) two threads take many times the processor time of one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
