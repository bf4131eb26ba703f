"""The mask of the picture: see it over the picture, paint it, and generate again with what was painted."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ...bridge.errors import BadImage
from ..mask_store import kept_masks
from ..properties import path_of
from ..scene.image_editor import show_for_painting
from ..scene.masks import ViewMask
from ..scene.picture_mask import PICTURE_KEY, open_picture_mask, painted_image, save_picture_mask
from .base import SlipcastOperator
from .generate import run_job, why_not_start
from .masks import BRUSH_BLENDS
from .picture import SLIPCAST_OT_generate_from_picture, picture_of, read_picture_request

NO_PICTURE = "Choose a picture first"
NOT_OPEN = "The mask of this picture is not open: Paint Mask"


def mask_of_last_job(context: bpy.types.Context) -> ViewMask | None:
    """What the engine took for the object in the newest result of this picture that is in the scene; None without."""
    picture = picture_of(context)
    found = () if picture is None else kept_masks(str(picture), context.scene.objects)[0]
    return found[0] if found else None


def shown_picture_mask(context: bpy.types.Context) -> bpy.types.Image | None:
    """The picture to paint in that the editor shows, or that of the chosen picture."""
    image = getattr(context.space_data, "image", None)
    return image if image is not None and PICTURE_KEY in image else painted_image(picture_of(context))


class SLIPCAST_OT_paint_picture_mask(SlipcastOperator):
    """Show the picture's mask over it in an image editor, ready to be painted: solid is object, faint is background"""

    bl_idname = "slipcast.paint_picture_mask"
    bl_label = "Paint Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if picture_of(context) is not None else NO_PICTURE

    def do(self, context: bpy.types.Context) -> str:
        image = open_mask_now(context)
        show_for_painting(context, image, BRUSH_BLENDS["OBJECT"])
        return f"{image.name}: paint, then Generate with This Mask"


class SLIPCAST_OT_save_picture_mask(SlipcastOperator):
    """Write the painted mask into a file beside the picture, and use it from now on"""

    bl_idname = "slipcast.save_picture_mask"
    bl_label = "Save Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if shown_picture_mask(context) is not None else NOT_OPEN

    def do(self, context: bpy.types.Context) -> str:
        written = use_painted(context)
        return f"Mask written to {written}"


class SLIPCAST_OT_drop_picture_mask(SlipcastOperator):
    """Do without the mask: the object is found again by what Background says. The file of the mask stays"""

    bl_idname = "slipcast.drop_picture_mask"
    bl_label = "Drop Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        there = context.scene.slipcast_picture.mask.strip() or painted_image(picture_of(context)) is not None
        return "" if there else "No mask is given or painted for this picture"

    def do(self, context: bpy.types.Context) -> None:
        context.scene.slipcast_picture.mask = ""
        image = painted_image(picture_of(context))
        if image is not None:
            bpy.data.images.remove(image)


class SLIPCAST_OT_generate_with_picture_mask(SlipcastOperator):
    """Save the mask that was painted, and make the mesh again from the picture with it"""

    bl_idname = "slipcast.generate_with_picture_mask"
    bl_label = "Generate with This Mask"
    bl_options = set()  # as Generate from Picture

    __annotations__ = dict(SLIPCAST_OT_generate_from_picture.__annotations__)

    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_start(context) or why_no_mask(context)

    def do(self, context: bpy.types.Context) -> None:
        use_painted(context)
        run_job(read_picture_request(self, context))


def why_no_mask(context: bpy.types.Context) -> str:
    """Why there is no painted mask to use; "" when there is one."""
    return "" if shown_picture_mask(context) is not None else NOT_OPEN


def open_mask_now(context: bpy.types.Context) -> bpy.types.Image:
    """The picture to paint in, with the mask as it would be used now. Raises BadImage, BadMasks."""
    picture, drawn = picture_of(context), mask_of_last_job(context)
    assert picture is not None
    if not picture.is_file():
        raise BadImage(f"There is no file {picture}.", "Choose another picture.")
    given = path_of(context.scene.slipcast_picture.mask)  # type: ignore[attr-defined]
    return open_picture_mask(picture, given, None if drawn is None else drawn.png)


def use_painted(context: bpy.types.Context) -> Path:
    """Write the mask that is open into its file, and name picture and mask in the panel. Raises BadImage, BadOutput."""
    image = shown_picture_mask(context)
    if image is None:
        raise BadImage("The mask of this picture is not open.", "Press Paint Mask first.")
    written = save_picture_mask(image)
    asked: Any = context.scene.slipcast_picture  # type: ignore[attr-defined]
    if picture_of(context) != Path(str(image[PICTURE_KEY])):
        asked.filepath = str(image[PICTURE_KEY])
    asked.mask = str(written)
    return written


CLASSES = (SLIPCAST_OT_paint_picture_mask, SLIPCAST_OT_save_picture_mask, SLIPCAST_OT_drop_picture_mask,
           SLIPCAST_OT_generate_with_picture_mask)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
