"""What a surface of which only the colour is known looks like: in Blender, in files, in the engine's renders."""
from __future__ import annotations

ROUGHNESS = 0.8    # 0 = mirror, 1 = chalk; nothing is measured of a photographed object's gloss, and matte shows least
