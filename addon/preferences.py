"""Preferences of the add-on, and what is made from them."""
from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty
from bpy.types import AddonPreferences

from ..bridge.errors import BadOutput
from .engine_process import PYTHON_VARIABLE, EngineProcess, find_engine_python, python_from_environment
from .properties import path_of

ROOT_PACKAGE = __package__.rpartition(".")[0]   # "bl_ext.user_default.slipcast" once installed
DEFAULT_QUOTA_GB = 20


class SLIPCAST_AP_preferences(AddonPreferences):
    bl_idname = ROOT_PACKAGE

    engine_python: StringProperty(
        name="Engine Python", subtype="FILE_PATH",
        description="Python of the environment that Slipcast's engine is installed in. "
                    f"Empty: the environment variable {PYTHON_VARIABLE}")
    keep_engine: BoolProperty(
        name="Keep Engine Running", default=False,
        description="Leave the engine running when Blender closes: a job under way goes on, "
                    "and the next start is quicker")
    data_folder: StringProperty(
        name="Data Folder", subtype="DIR_PATH",
        description="Where the engine keeps jobs and their files. Empty: the add-on's own folder")
    quota_gb: IntProperty(
        name="Disk Quota (GB)", default=DEFAULT_QUOTA_GB, min=1, soft_max=500,
        description="The most disk space that jobs may take up in the data folder")
    models_mirror: StringProperty(
        name="Mirror for Models",
        description="Download models from this host instead of their authors', for example https://example.org. "
                    "The bytes are compared with what the authors published all the same")

    def draw(self, context: bpy.types.Context) -> None:
        from . import pump
        from .panels.engine import draw_engine
        from .panels.text import draw_text

        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(self, "engine_python", placeholder=python_from_environment())
        column.prop(self, "keep_engine")
        column.prop(self, "data_folder")
        column.prop(self, "quota_gb")
        column.prop(self, "models_mirror")
        draw_engine(layout)
        error = pump.session().error
        if error is not None:
            draw_text(layout, context, str(error), "INFO")


def find() -> SLIPCAST_AP_preferences | None:
    """This add-on's preferences; None where the package is used without being enabled as an add-on."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon is not None else None  # type: ignore[return-value]


def chosen_python() -> str:
    """What the preferences or the environment name as the engine's Python; empty when neither does. Not checked."""
    found = find()
    return (found.engine_python if found is not None else "").strip() or python_from_environment()


def models_mirror() -> str:
    """The host to download models from; "" for their authors' own."""
    found = find()
    return found.models_mirror.strip() if found is not None else ""


def data_folder() -> Path:
    """Where the engine keeps its files; it may not exist yet."""
    found = find()
    return (path_of(found.data_folder) if found is not None else None) or user_folder()


def user_folder(name: str = "", create: bool = False) -> Path:
    """The add-on's own folder in the user's settings, or one in it. Raises BadOutput when it cannot be made."""
    try:
        found = bpy.utils.extension_path_user(ROOT_PACKAGE, path=name, create=create)
    except ValueError:  # not installed as an extension
        found = bpy.utils.user_resource("DATAFILES", path=str(Path("slipcast", name)), create=create)
    if not found:       # Blender's way to say so, and the current folder to a Path
        raise BadOutput("Slipcast's folder in Blender's user settings cannot be written.",
                        "Is the disk full, and may you write there?")
    return Path(found)


def make_engine_process(package_root: Path) -> EngineProcess:
    """As the preferences are now. Raises EngineNotFound when they name no Python that is there."""
    found = find()
    preferred = bpy.path.abspath(found.engine_python) if found is not None and found.engine_python else ""
    return EngineProcess(find_engine_python(preferred), package_root, data_folder(),
                         stay=found is not None and found.keep_engine,
                         quota_gb=found.quota_gb if found is not None else None)


def register() -> None:
    bpy.utils.register_class(SLIPCAST_AP_preferences)


def unregister() -> None:
    bpy.utils.unregister_class(SLIPCAST_AP_preferences)
