"""An image editor in the window, showing an image to be painted."""
from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

if TYPE_CHECKING:
    from bpy.types import Area, Context, Image

SHARE = 0.5      # of a viewport, for an image editor where there is none


def show_for_painting(context: Context, image: Image, blend: str) -> None:
    """Show `image` in paint mode, in an image editor that is there, else in half of the largest viewport. Does nothing
    without a window. blend: how the brush works, one of Brush.blend."""
    if context.window is None or bpy.app.background:
        return
    area = _editor(context)
    if area is None:
        return
    space = area.spaces.active
    space.image, space.mode = image, "PAINT"  # type: ignore[attr-defined]
    space.display_channels = "COLOR_ALPHA"  # type: ignore[attr-defined]
    overlay = space.uv_editor  # type: ignore[attr-defined]
    # the UVs of the active mesh are nothing to a mask; the switch had another name in Blender 4
    setattr(overlay, "show_uv" if hasattr(overlay, "show_uv") else "show_texpaint", False)
    region = next(region for region in area.regions if region.type == "WINDOW")
    with context.temp_override(area=area, region=region):
        bpy.ops.image.view_all(fit_view=True)
        brush = context.tool_settings.image_paint.brush
        if brush is not None:
            brush.blend = blend  # type: ignore[assignment]


def _editor(context: Context) -> Area | None:
    areas = context.screen.areas
    there = next((area for area in areas if area.type == "IMAGE_EDITOR"), None)
    if there is not None:
        return there
    viewports = [area for area in areas if area.type == "VIEW_3D"]
    if not viewports:
        return None
    largest = max(viewports, key=lambda area: area.width * area.height)
    before = {area.as_pointer() for area in areas}
    with context.temp_override(area=largest, region=largest.regions[-1]):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=SHARE)
    made = next(area for area in context.screen.areas if area.as_pointer() not in before)
    made.ui_type = "IMAGE_EDITOR"
    return made
