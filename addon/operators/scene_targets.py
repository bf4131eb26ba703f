"""What the refine and generate operators are to match: properties, and the view folder that comes of them."""
from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from ...bridge.errors import BadFolder, BadOutput, BadSettings
from ..properties import path_of, path_property
from ..scene.orbit import FEWEST_VIEWS, HIGHEST_DEG, LOWEST_DEG, MOST_VIEWS
from ..scene.photos import write_photos
from ..scene.targets import LARGEST_PX, TargetProgress, TargetSettings, render_targets
from .render_views import ENGINE_ITEMS, LIGHTING_ITEMS

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
        "count": IntProperty(name="Views", default=16, min=FEWEST_VIEWS, max=MOST_VIEWS,
                             description="Views of the orbit", **extra),
        "resolution": IntProperty(name="Resolution", default=512, min=0, max=LARGEST_PX, subtype="PIXEL",
                                  description="Longer side of a picture; 0: as the scene renders", **extra),
        "engine": EnumProperty(name="Engine", items=ENGINE_ITEMS, description="What renders the colour", **extra),
        "samples": IntProperty(name="Samples", default=16, min=0, description="Rays a pixel; 0: as the scene renders",
                               **extra),
        "lighting": EnumProperty(name="Light", items=LIGHTING_ITEMS, default="EVEN",
                                 description="What it is lit by; Even keeps lamps out of the colours", **extra),
        "lens_mm": FloatProperty(name="Lens", default=50.0, min=5.0, max=500.0, subtype="DISTANCE_CAMERA",
                                 unit="CAMERA", description="Focal length of the orbit's cameras", **extra),
        "lowest_deg": FloatProperty(name="Lowest", default=LOWEST_DEG, min=-89.0, max=89.0,
                                    description="Degrees above the horizon of the lowest camera", **extra),
        "highest_deg": FloatProperty(name="Highest", default=HIGHEST_DEG, min=-89.0, max=89.0,
                                     description="Degrees above the horizon of the highest camera", **extra),
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
    knobs = [knob.name for knob in dataclasses.fields(TargetSettings) if knob.name != "source"]
    settings = TargetSettings(source=kind, **{name: read(name) for name in knobs})
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
