"""Whether the file may be written to at this moment. All who write from a timer ask, and all who would have to wait."""
from __future__ import annotations

import bpy

from .scratch import is_file_held


def busy_words() -> str:
    """What has to end before the file may be written to, for example after "Wait for "; "" when nothing has to.

    Blender must not be given new data while it renders or bakes; and what is added while our own renders or bakes go
    on in steps would be taken away with their scratch data.
    """
    if bpy.app.is_job_running("RENDER"):
        return "the render that is under way"
    if bpy.app.is_job_running("OBJECT_BAKE"):
        return "the bake that is under way"
    return "the bake or the views that are under way" if is_file_held() else ""
