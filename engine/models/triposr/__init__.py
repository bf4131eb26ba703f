"""TripoSR: one picture to a field of density and colour. Written from a description of the published architecture.

    layout.py      sizes; names and shapes of the weights      checkpoint.py  reading them, strictly
    condition.py   the cutout on grey, and its camera          weights.py     layers on a flat table of weights
    tokens.py      picture -> tokens (ViT)                     backbone.py    tokens -> three planes
    field.py       density and colour at points                lattice.py density.py surface.py  field -> mesh
    fit.py         the surface in the memory there is
    volume.py      pictures of the field by marching rays      model.py       all of it behind models/spec.py
"""
from .model import MODEL

__all__ = ["MODEL"]
