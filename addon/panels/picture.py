"""Panel "From a Picture": one picture to a mesh."""
from __future__ import annotations

import bpy
from bpy.types import Panel

from .. import preferences, pump
from ..models import licence_words
from ..operators.picture import ALWAYS_THERE, AUTO, NO_PICTURE, chosen_model, draw_choices
from .text import draw_text

CATEGORY = "Slipcast"
IN_FRONT = ("filepath", "model", "face_budget", "texture_px", "target_size")
FOLDED = ("mask", "background", "foreground_ratio", "resolution", "threshold", "keep_floaters", "project_image",
          "import_cameras", "seed", "model_settings")
ROUGH = "This makes a rough base from the outline, to sculpt on or to refine"


class _SidebarPanel(Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class SLIPCAST_PT_picture(_SidebarPanel):
    bl_idname = "SLIPCAST_PT_picture"
    bl_label = "From a Picture"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, asked = self.layout, context.scene.slipcast_picture
        column = layout.column()
        column.enabled = pump.session().job is None
        draw_choices(column, asked, IN_FRONT)
        for words, icon in model_notes(asked):
            draw_text(layout, context, words, icon)
        why = why_not_yet(asked.filepath)
        row = layout.row()
        row.scale_y = 1.6
        row.enabled = not why
        row.operator_context = "EXEC_DEFAULT"      # what is asked is in the panel: no dialog
        row.operator("slipcast.generate_from_picture", text="Generate", icon="IMAGE_DATA")
        if why:
            draw_text(layout, context, f"{why}.", "INFO")


class SLIPCAST_PT_picture_advanced(_SidebarPanel):
    bl_idname = "SLIPCAST_PT_picture_advanced"
    bl_parent_id = "SLIPCAST_PT_picture"
    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.enabled = pump.session().job is None
        draw_choices(column, context.scene.slipcast_picture, FOLDED)


def why_not_yet(filepath: str) -> str:
    """What the person has to do first; "" when a job can be started."""
    if not filepath.strip():
        return NO_PICTURE
    return "" if preferences.chosen_python() else "Choose the engine's Python under Preferences > Add-ons > Slipcast"


def model_notes(asked: object) -> list[tuple[str, str]]:
    """(words, icon) that a person should read before starting: what the chosen model is, as far as it is known."""
    model = asked.model  # type: ignore[attr-defined]
    if model == ALWAYS_THERE:
        return [(f"{ROUGH}.", "INFO")]
    info, desk = chosen_model(asked), pump.session().models
    if info is None:
        known = desk.loaded and model != AUTO
        return [(f"There is no model called {model}.", "ERROR")] if known else []
    notes = [(f"{info.title}: {licence_words(info)}", "ERROR")] if info.non_commercial else []
    if not info.installed:
        notes.append((f"{info.title} is not on this computer: fetch it in the panel Models."
                      + (f" {ROUGH}." if model == AUTO else ""), "INFO" if model == AUTO else "ERROR"))
    return notes


CLASSES = (SLIPCAST_PT_picture, SLIPCAST_PT_picture_advanced)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
