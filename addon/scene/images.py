"""PNG bytes -> packed Blender images."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ...bridge.errors import BadImage

if TYPE_CHECKING:
    import bpy

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pack_png(images: bpy.types.BlendDataImages, name: str, png: bytes, colors: bool = True) -> bpy.types.Image:
    """Make an image whose packed file is exactly `png`; Blender decodes it when it is first looked at.

    colors: it is sRGB; else it holds data and is Non-Color.

    Raises BadImage, with nothing left in `images`, when the bytes are not a PNG that Blender can read the size of.
    """
    if not png.startswith(PNG_SIGNATURE):
        raise BadImage("The engine's texture is not a PNG file.")
    image = images.new(name, 1, 1)
    image.source = "FILE"
    image.pack(data=png, data_len=len(png))  # type: ignore[arg-type]
    image.colorspace_settings.name = "sRGB" if colors else "Non-Color"
    return image
