"""Networks that tell an object from its background: named files in ONNX form, computed on this machine.

    catalogue.py  which there are, their files and licences      cutter.py  a picture through one of them
"""
from .catalogue import CUTTERS, Cutter

__all__ = ["CUTTERS", "Cutter"]
