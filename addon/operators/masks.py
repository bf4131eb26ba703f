"""Masks: see one over its photo, paint it, replace it by a file, and generate again with what was painted."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ...bridge.errors import BadFolder, BadImage, BridgeError
from ...bridge.folders import collect_view_folder, list_pictures
from ..mask_store import kept_masks
from ..properties import path_of, path_property
from ..scene.image_editor import show_for_painting
from ..scene.masks import (
    FOLDER_KEY,
    SIDE_PX,
    VIEW_KEY,
    doubtful,
    drop_mask,
    fitted,
    grey_of_file,
    mask_of,
    open_mask,
    read_picture,
    save_mask,
    write_mask_into,
)
from .base import SlipcastOperator
from .generate import SLIPCAST_OT_generate, read_request, run_job, why_not_start

NO_FOLDER = "Choose a folder of views first"
WAY_ITEMS = (("OBJECT", "Object", "What is painted over belongs to the object"),
             ("BACKGROUND", "Background", "What is painted over does not belong to the object"))
BRUSH_BLENDS = {"OBJECT": "ADD_ALPHA", "BACKGROUND": "ERASE_ALPHA"}


def folder_of(context: bpy.types.Context) -> Path | None:
    """The view folder that the panel names; None without one."""
    return path_of(context.scene.slipcast.folder)  # type: ignore[attr-defined]


def views_to_look_at(context: bpy.types.Context, folder: Path | None = None) -> list[tuple[str, str]]:
    """(view, why) as the newest result from the folder (None: the panel's) tells; empty without one."""
    folder = folder or folder_of(context)
    return [] if folder is None else doubtful(*kept_masks(str(folder), context.scene.objects), folder)


def open_masks(folder: Path | None) -> Iterator[bpy.types.Image]:
    """The pictures to paint in that belong to the folder."""
    return (image for image in bpy.data.images if VIEW_KEY in image and image.get(FOLDER_KEY) == str(folder))


def shown_mask(context: bpy.types.Context) -> bpy.types.Image | None:
    """The picture to paint in that the editor shows, or the only one that is open."""
    image = getattr(context.space_data, "image", None)
    if image is not None and VIEW_KEY in image:
        return image
    there = list(open_masks(folder_of(context)))
    return there[0] if len(there) == 1 else None


def _search_views(self: Any, context: bpy.types.Context, text: str) -> list[str]:
    folder = folder_of(context)
    try:
        return [] if folder is None else [view for view in list_pictures(folder) if text.lower() in view.lower()]
    except BridgeError:     # a search shows what there is; the button says what is wrong
        return []


_VIEW = {"view": StringProperty(name="View", search=_search_views, options={"SKIP_SAVE"},
                                description="Picture of the view folder, as its cameras call it; empty: the one shown"),
         "folder": path_property(name="Folder", options={"SKIP_SAVE"},
                                 description="The view folder; empty: that of the mask that is shown, else the "
                                             "panel's")}


class SLIPCAST_PG_masks(PropertyGroup):
    """What the panel asks for; saved with the scene."""

    __annotations__ = {"view": StringProperty(name="View", search=_search_views,
                                              description="Picture whose mask is to be seen or painted")}


class _MaskOperator(SlipcastOperator):
    """Base: for one view of a folder."""

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if shown_mask(context) is not None or folder_of(context) is not None else NO_FOLDER

    def do(self, context: bpy.types.Context) -> str:
        return self.change(*self.chosen_view(context), context)

    def chosen_view(self, context: bpy.types.Context) -> tuple[Path, str]:
        """(view folder, view): what was given, else those of the mask that is shown, else the panel's folder.

        Raises BadFolder, or BadImage when no view is named or shown.
        """
        image = shown_mask(context)
        if image is not None and self.view not in ("", image[VIEW_KEY]):
            image = None
        shown = Path(str(image[FOLDER_KEY])) if image is not None else None
        folder = path_of(self.folder) or shown or folder_of(context)
        if folder is None:
            raise BadFolder(f"{NO_FOLDER}.")
        view = self.view or (str(image[VIEW_KEY]) if image is not None else "")
        if not view:
            raise BadImage("No view is chosen.", "Name one of the folder's pictures, or show its mask first.")
        return folder, view

    def change(self, folder: Path, view: str, context: bpy.types.Context) -> str:
        """Do it; returns what was done, for the status bar. Raises BridgeError."""
        raise NotImplementedError


class SLIPCAST_OT_paint_mask(_MaskOperator):
    """Show a view's mask over its photo in an image editor, ready to be painted: solid is object, faint is
    background"""

    bl_idname = "slipcast.paint_mask"
    bl_label = "Paint Mask"
    bl_options = {"REGISTER", "UNDO"}

    __annotations__ = dict(_VIEW)

    def change(self, folder: Path, view: str, context: bpy.types.Context) -> str:
        masks, _ = kept_masks(str(folder), context.scene.objects)
        drawn = next((mask.png for mask in masks if mask.view == view), None)
        image = open_mask(folder, view, collect_view_folder(folder), drawn)
        show_for_painting(context, image, BRUSH_BLENDS["OBJECT"])
        return f"{image.name}: paint, then save the mask"


class SLIPCAST_OT_mask_brush(SlipcastOperator):
    """Paint object or background with the brush"""

    bl_idname = "slipcast.mask_brush"
    bl_label = "Mask Brush"
    bl_options = {"REGISTER", "UNDO"}

    way: EnumProperty(name="Paint", items=WAY_ITEMS, description="What the brush makes of the places it goes over")

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        brush = context.tool_settings.image_paint.brush
        return "" if brush is not None else "Choose a brush in the image editor's paint mode first"

    def do(self, context: bpy.types.Context) -> None:
        context.tool_settings.image_paint.brush.blend = BRUSH_BLENDS[self.way]


class SLIPCAST_OT_save_mask(_MaskOperator):
    """Write the painted mask beside the pictures, where the next job takes it from. Masks and pictures that were there
    stay as they are"""

    bl_idname = "slipcast.save_mask"
    bl_label = "Save Mask"
    bl_options = {"REGISTER"}   # a file is written; nothing in this one changes

    __annotations__ = dict(_VIEW)

    def change(self, folder: Path, view: str, context: bpy.types.Context) -> str:
        image = next((image for image in open_masks(folder) if image[VIEW_KEY] == view), None)
        if image is None:
            raise BadImage(f"The mask of {view} is not open.", "Paint it first.")
        return f"Mask written to {_save(image)}"


class SLIPCAST_OT_replace_mask(_MaskOperator):
    """Take the mask of a view from an image file: white, or what its alpha leaves, is the object. The file is copied"""

    bl_idname = "slipcast.replace_mask"
    bl_label = "Replace Mask"
    bl_options = {"REGISTER", "UNDO"}

    __annotations__ = {**_VIEW, "filepath": StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"},
                                                          description="Image that is to be the mask"),
                       "filter_image": BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"},
                                                    description="Show images only")}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def change(self, folder: Path, view: str, context: bpy.types.Context) -> str:
        files = collect_view_folder(folder)
        if view not in files:
            raise BadImage(f"{folder} has no view {view}.", "Choose another view.")
        path = path_of(self.filepath)
        if path is None:
            raise BadImage("No file is chosen.", "Choose the image that is to be the mask.")
        photo = read_picture(files[view], SIDE_PX)
        mask = fitted(grey_of_file(path), photo.shape[1], photo.shape[0], path.name)
        written = save_mask(folder, view, mask)
        for image in open_masks(folder):
            if image[VIEW_KEY] == view:
                write_mask_into(image, photo[..., :3], mask)
        return f"Mask written to {written}"


class SLIPCAST_OT_drop_mask(_MaskOperator):
    """Do without the painted mask of a view: its own mask, or the engine's, holds again. The painted one is kept beside
    it"""

    bl_idname = "slipcast.drop_mask"
    bl_label = "Drop Painted Mask"
    bl_options = {"REGISTER", "UNDO"}

    __annotations__ = dict(_VIEW)

    def change(self, folder: Path, view: str, context: bpy.types.Context) -> str:
        if not drop_mask(folder, view):
            raise BadFolder(f"There is no painted mask for {view}.", "Nothing has to be done.")
        for image in list(open_masks(folder)):
            if image[VIEW_KEY] == view:
                bpy.data.images.remove(image)
        return f"{view}: the painted mask is not used any more"


class SLIPCAST_OT_generate_with_masks(SlipcastOperator):
    """Save the masks that are open, and make the mesh again from the folder"""

    bl_idname = "slipcast.generate_with_masks"
    bl_label = "Generate with These Masks"
    bl_options = set()  # as Generate

    __annotations__ = dict(SLIPCAST_OT_generate.__annotations__)

    by_error = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not_start(context)

    def do(self, context: bpy.types.Context) -> None:
        request = read_request(self, context)
        for image in open_masks(request.folder):
            if image.is_dirty:
                _save(image)
        run_job(request)


def _save(image: bpy.types.Image) -> Path:
    written = save_mask(Path(str(image[FOLDER_KEY])), str(image[VIEW_KEY]), mask_of(image))
    image.pack()     # so that it does not count as changed
    return written


CLASSES: tuple[Any, ...] = (SLIPCAST_PG_masks, SLIPCAST_OT_paint_mask, SLIPCAST_OT_mask_brush, SLIPCAST_OT_save_mask,
                            SLIPCAST_OT_replace_mask, SLIPCAST_OT_drop_mask, SLIPCAST_OT_generate_with_masks)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.Scene.slipcast_masks = PointerProperty(type=SLIPCAST_PG_masks)  # type: ignore[attr-defined]


def unregister() -> None:
    del bpy.types.Scene.slipcast_masks  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
