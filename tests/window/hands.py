"""Hands and eyes of the drives that run inside a Blender with a window: pointing, clicking, typing, looking.

A drive is a generator; each `yield` gives Blender back its main loop. Clicks and keys are simulated by Blender itself
(--enable-event-simulate), so that no pointer of the desktop is moved. A button is found as a person could: by pointing
at places in the sidebar and copying (Ctrl C) what the button there would run.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy

ADDON = "bl_ext.user_default.slipcast"
TICK_S = 0.02
HOVER_S = 0.03          # until a button under the pointer is the active one
SCAN_PX = 8
HEADER_PX, PITCH_PX = 13, 28    # of a folded panel at scale 1: middle of the first header, and from one to the next


def window(index: int = 0) -> bpy.types.Window:
    return bpy.context.window_manager.windows[index]


def view3d(kind: str = "VIEW_3D") -> dict[str, Any]:
    """What an operator in the 3D viewport (or in a `kind`) needs, for temp_override; the region is the sidebar."""
    areas = [area for area in window().screen.areas if area.type == kind]
    area = max(areas, key=lambda area: area.width * area.height)
    return {"window": window(), "area": area,
            "region": next(region for region in area.regions if region.type == "UI")}


def main_region(place: dict[str, Any]) -> bpy.types.Region:
    return next(region for region in place["area"].regions if region.type == "WINDOW")


def pause(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def wait(condition: Callable[[], Any], what: str, patience_s: float = 60.0) -> Iterator[None]:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(what)
        yield


def install(zip_path: str | Path) -> Any:
    """Install the zip from the file, as by Install from Disk; returns the add-on's pump."""
    with bpy.context.temp_override(window=window()):
        bpy.ops.extensions.package_install_files(filepath=str(zip_path), repo="user_default", enable_on_install=True,
                                                 overwrite=True)
    return import_module(f"{ADDON}.addon.pump")


def open_tab() -> Iterator[None]:
    """The sidebar of the 3D viewport, at Slipcast's tab."""
    place = view3d()
    place["area"].spaces.active.show_region_ui = True
    yield from pause(0.8)
    place["region"].active_panel_category = "Slipcast"
    place["area"].tag_redraw()
    yield from pause(0.5)


# --- pointer and keys
def send(kind: str, value: str, at: tuple[int, int], **more: Any) -> None:
    window().event_simulate(type=kind, value=value, x=at[0], y=at[1], **more)


def point(at: tuple[int, int]) -> None:
    send("MOUSEMOVE", "NOTHING", at)


def click(at: tuple[int, int], **keys: bool) -> Iterator[None]:
    point(at)
    yield from pause(0.12)
    send("LEFTMOUSE", "PRESS", at, **keys)
    yield from pause(0.06)
    send("LEFTMOUSE", "RELEASE", at, **keys)
    yield from pause(0.2)


def press(key: str, at: tuple[int, int], **more: Any) -> Iterator[None]:
    send(key, "PRESS", at, **more)
    yield from pause(HOVER_S)
    send(key, "RELEASE", at, **{name: value for name, value in more.items() if name != "unicode"})
    yield from pause(HOVER_S)


def write(text: str, at: tuple[int, int]) -> Iterator[None]:
    for letter in text:
        yield from press("SPACE" if letter == " " else letter.upper(), at, unicode=letter)


def find_button(command: str) -> Generator[None, None, tuple[int, int]]:
    """The middle of the topmost button of the sidebar that runs bpy.ops.<command>. Raises LookupError."""
    region, manager = view3d()["region"], bpy.context.window_manager
    for share in (0.3, 0.7, 0.96):      # rows of two, and the buttons beside a list
        x = region.x + int(region.width * share * 0.86)         # the tabs are at the right
        hits = []
        for y in range(region.y + region.height - 4, region.y, -SCAN_PX):
            manager.clipboard = "-"
            point((x, y))
            yield from pause(HOVER_S)
            yield from press("C", (x, y), ctrl=True)
            if manager.clipboard.startswith(f"bpy.ops.{command}("):
                hits.append(y)
            elif hits:
                break
        if hits:
            return x, (hits[0] + hits[-1]) // 2
    raise LookupError(f"no button of the sidebar runs {command}")


def press_button(command: str) -> Iterator[None]:
    at = yield from find_button(command)
    yield from click(at)


class Tab:
    """The panels of the tab, one of them open at a time. Made when all but the first one are closed."""

    def __init__(self) -> None:
        kinds = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("SLIPCAST_PT")]
        mine = [kind for kind in kinds if kind.bl_space_type == "VIEW_3D" and not getattr(kind, "bl_parent_id", "")]
        self.names = [kind.bl_idname for kind in sorted(mine, key=lambda kind: getattr(kind, "bl_order", 0))]
        self._open: str = self.names[0]

    def show(self, name: str) -> Iterator[None]:
        """Close the open panel and open this one by clicks on their headers."""
        if name == self._open:
            return
        yield from click(self._header(self._open))
        yield from click(self._header(name))
        self._open = name
        yield from pause(0.4)

    def _header(self, name: str) -> tuple[int, int]:
        region, scale = view3d()["region"], bpy.context.preferences.system.ui_scale
        down = (HEADER_PX + PITCH_PX * self.names.index(name)) * scale      # all above it are closed
        return region.x + int(100 * scale), int(region.y + region.height - down)


# --- eyes
def redraw() -> Iterator[None]:
    for each in bpy.context.window_manager.windows:
        for area in each.screen.areas:
            area.tag_redraw()
    yield from pause(0.7)
    with bpy.context.temp_override(**view3d()):     # a busy computer may not have come to it yet
        bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)


def shot(path: Path, part: tuple[int, int, int, int] | None = None, colours: int = 96) -> Iterator[None]:
    """A picture of the screen after it was drawn again; part: x, y from the top, width, height.

    By ImageMagick, where it is: bpy's own operator gives black on software GL.
    """
    yield from redraw()
    _take(path, part, colours)


def _take(path: Path, part: tuple[int, int, int, int] | None, colours: int) -> None:
    program = shutil.which("import")
    if program is None:
        return
    crop = ["-crop", "{2}x{3}+{0}+{1}".format(*part), "+repage"] if part else []
    subprocess.run([program, "-window", "root", *crop, "+dither", "-colors", str(colours), "-strip", str(path)],
                   check=False, timeout=60)


def drag(start: tuple[int, int], end: tuple[int, int], moves: int = 12) -> Iterator[None]:
    """A stroke with the left button down."""
    point(start)
    yield from pause(0.2)
    send("LEFTMOUSE", "PRESS", start)
    yield from pause(0.1)
    for move in range(1, moves + 1):
        at = tuple(a + (b - a) * move // moves for a, b in zip(start, end))
        point((at[0], at[1]))
        yield from pause(0.05)
    send("LEFTMOUSE", "RELEASE", end)
    yield from pause(0.5)


def viewport_shot(path: Path, colours: int = 64, kind: str = "VIEW_3D") -> Iterator[None]:
    """The 3D viewport (or a `kind`) with its sidebar, and nothing else of Blender."""
    area = view3d(kind)["area"]
    yield from shot(path, (area.x, window().height - area.y - area.height, area.width, area.height), colours)


def sidebar_shot(path: Path, height: int, colours: int = 96) -> Iterator[None]:
    """The upper part of the sidebar."""
    place = view3d()
    region = place["region"]
    point((place["area"].x + 30, place["area"].y + 30))     # so that nothing is lit up
    top = window().height - region.y - region.height
    yield from shot(path, (region.x, top, region.width, min(height, region.height)), colours)


# --- running
def run(steps: Iterator[None], report: dict[str, Any], report_path: Path) -> None:
    """Go through the steps from a timer, write the report (with "error" when one failed) and close Blender."""
    def tick() -> float | None:
        try:
            next(steps)
        except StopIteration:
            pass
        except Exception:
            report["error"] = traceback.format_exc()
            _take(report_path.with_name("failed.png"), None, 64)
        else:
            return TICK_S
        report_path.write_text(json.dumps(report, indent=1), encoding="utf-8")
        bpy.ops.wm.quit_blender()
        return None

    report["error"] = ""
    bpy.context.preferences.view.show_splash = False
    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
