"""The history as Blender's lists want it: property groups on the window manager, and icons of the pictures."""
from __future__ import annotations

import time
from typing import Any

import bpy
import bpy.utils.previews
from bpy.props import BoolProperty, CollectionProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ..bridge.messages import JobInfo
from .history import HistoryDesk

METHOD_WORDS = {"views": "Views", "image": "Picture", "refine": "Refined", "bake": "Baked"}
STATE_WORDS = {"queued": "waiting", "running": "under way", "cancelling": "being cancelled", "done": "done",
               "failed": "failed", "cancelled": "cancelled"}

_previews: Any = None          # Blender's collection of pictures: an icon for each
_shown: tuple[HistoryDesk | None, int] = (None, -1)


class SLIPCAST_PG_past_job(PropertyGroup):
    """One line of the list. `name` is the job's id."""

    label: StringProperty()
    words: StringProperty()
    kind: StringProperty()
    state: StringProperty()
    icon: IntProperty()
    marked: BoolProperty(name="Compare", description="Mark two results to see them side by side")


class SLIPCAST_PG_history(PropertyGroup):
    """The list and its active line; not saved."""

    jobs: CollectionProperty(type=SLIPCAST_PG_past_job, options={"SKIP_SAVE"})
    index: IntProperty(options={"SKIP_SAVE"})


def when(seconds: float) -> str:
    """A Unix time as a person writes it: "21 Nov 14:03"; with the year when that is another one."""
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%d %b %H:%M" if then.tm_year == now.tm_year else "%d %b %Y %H:%M", then)


def line_words(info: JobInfo) -> str:
    """For example "Views, 21 Nov 14:03, 74 s"; what is not done says so in the place of the seconds."""
    seconds = info.summary.get("seconds")
    ended = f"{float(seconds):.0f} s" if info.state == "done" and isinstance(seconds, (int, float)) else \
        STATE_WORDS.get(info.state, info.state)
    return f"{METHOD_WORDS.get(info.method, info.method)}, {when(info.created_s)}, {ended}"


def kind_words(info: JobInfo) -> str:
    """What a narrow line has room for: how it was made ("Refined"), or else its state ("cancelled")."""
    return METHOD_WORDS.get(info.method, info.method) if info.state == "done" else \
        STATE_WORDS.get(info.state, info.state)


def sync(desk: HistoryDesk) -> None:
    """Bring the lists up to date with the desk. Main thread, never from a draw."""
    global _shown
    shown = bpy.context.window_manager.slipcast_history  # type: ignore[attr-defined]
    if _shown[0] is desk and _shown[1] == desk.revision and len(shown.jobs) == len(desk.jobs):
        return
    _shown = (desk, desk.revision)
    active = shown.jobs[shown.index].name if 0 <= shown.index < len(shown.jobs) else ""
    marked = {item.name for item in shown.jobs if item.marked}
    shown.jobs.clear()
    for info in desk.jobs:
        item = shown.jobs.add()
        item.name, item.label, item.words = info.job, info.label or info.method, line_words(info)
        item.state, item.icon, item.marked = info.state, _icon(desk, info), info.job in marked
        item.kind = kind_words(info)
    names = [info.job for info in desk.jobs]
    shown.index = names.index(active) if active in names else 0


def _icon(desk: HistoryDesk, info: JobInfo) -> int:
    """Of the job's picture; 0 while there is none. Blender reads the file when it draws it first."""
    path = desk.pictures.get(desk.picture_of(info))
    if path is None:
        return 0
    if path.stem not in _previews:
        _previews.load(path.stem, str(path), "IMAGE")
    return _previews[path.stem].icon_id


def active_job(context: bpy.types.Context) -> str:
    """The id of the line that is selected; "" when there is none."""
    shown = context.window_manager.slipcast_history  # type: ignore[attr-defined]
    return shown.jobs[shown.index].name if 0 <= shown.index < len(shown.jobs) else ""


def marked_jobs(context: bpy.types.Context) -> list[str]:
    """The ids of the lines that are marked, in order."""
    return [item.name for item in context.window_manager.slipcast_history.jobs  # type: ignore[attr-defined]
            if item.marked]


CLASSES = (SLIPCAST_PG_past_job, SLIPCAST_PG_history)


def register() -> None:
    global _previews
    for made in CLASSES:
        bpy.utils.register_class(made)
    bpy.types.WindowManager.slipcast_history = PointerProperty(  # type: ignore[attr-defined]
        type=SLIPCAST_PG_history, options={"SKIP_SAVE"})
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    global _previews, _shown
    bpy.utils.previews.remove(_previews)
    _previews, _shown = None, (None, -1)
    del bpy.types.WindowManager.slipcast_history  # type: ignore[attr-defined]
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
