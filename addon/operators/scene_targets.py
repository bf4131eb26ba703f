"""What the refine and generate operators are to match: properties, and the view folder that comes of them."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ...bridge.errors import BadFolder, BadOutput, BadSettings
from ..properties import path_of, path_property
from ..scene.photos import write_photos
from ..scene.targets import TargetProgress, render_targets
from .render_views import read_target_settings, render_properties

OWN_FOLDER = "slipcast_targets_"
TARGET_ITEMS = (("ORBIT", "Renders, All Around", "Renders of an object or a collection from cameras placed around it"),
                ("CAMERAS", "Renders, Scene Cameras", "Renders of an object or a collection from the scene's cameras"),
                ("PHOTOS", "Photos behind Cameras", "The background images of the scene's cameras: photos they took"),
                ("FOLDER", "View Folder", "Pictures and cameras in a folder"))
RENDERED = ("ORBIT", "CAMERAS")


def target_properties(**extra: Any) -> dict[str, Any]:
    """Annotations of an operator or a property group."""
    return {
        "targets": EnumProperty(name="Match", items=TARGET_ITEMS, description="The pictures to match", **extra),
        "subject": StringProperty(name="Object", description="What is rendered to be matched, with all that is "
                                  "parented to it", **extra),
        "collection": StringProperty(name="Collection", description="What is rendered to be matched, in place of an "
                                     "object", **extra),
        "folder": path_property(name="Folder", description="The view folder to match", **extra),
        **render_properties(count=16, samples=16, lighting="EVEN", **extra),
    }


def chosen_subject(read: Callable[[str], Any]) -> bpy.types.Object | bpy.types.Collection:
    """What is to be rendered. Raises BadSettings."""
    collection, name = read("collection"), read("subject")
    found = bpy.data.collections.get(collection) if collection else bpy.data.objects.get(name)
    if found is None:
        raise BadSettings(f"There is no {'collection' if collection else 'object'} {collection or name}."
                          if collection or name else "Nothing is chosen to be matched.",
                          "Choose the object or the collection that is to be rendered.")
    return found


def start_targets(read: Callable[[str], Any], context: bpy.types.Context) -> tuple[Path, Iterator[TargetProgress]]:
    """(the view folder, the renders that fill it: none where the pictures are there already).

    Raises BadSettings, BadFolder, BadCameras, BadImage, BadOutput.
    """
    kind = read("targets")
    if kind == "FOLDER":
        folder = path_of(read("folder"))
        if folder is None:
            raise BadFolder("No view folder is chosen.", "Choose the folder that holds the pictures and their cameras.")
        return folder, iter(())
    place = own_folder()
    if kind == "PHOTOS":
        write_photos(context.scene, place)
        return place, iter(())
    settings = read_target_settings(read, kind)
    return place, render_targets(context.scene, context.view_layer, chosen_subject(read), place, settings)


def own_folder() -> Path:
    """An empty folder for one job. Blender takes it away when it ends; till then the mesh that was made from it can be
    painted from it again. Raises BadOutput."""
    try:
        Path(bpy.app.tempdir).mkdir(parents=True, exist_ok=True)     # somebody may have tidied up
        return Path(tempfile.mkdtemp(prefix=OWN_FOLDER, dir=bpy.app.tempdir))
    except OSError as error:
        raise BadOutput(f"{bpy.app.tempdir} cannot be written: {error.strerror}.",
                        "Check Temporary Files in the preferences.") from error
