"""The whole chain on real photos: built zip, headless Blender, its operator, ZeroMQ, a separate engine, a .blend.

    python examples/demo.py [--quality normal] [--update-docs]

Builds the extension for this machine, installs it into a Blender of its own (the bpy package in a second process, with
all its files below out/), lets the operator make the skull of examples/skull, saves out/demo.blend and draws
out/demo.png: a photo, and beside it the object through the Blender camera made for that photo.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slipcast import build_addon

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out"
BLENDER_FILES = OUT / "demo-blender"
PHOTO = "images/19.jpg"
TIME_LIMIT_S = 900.0
PICTURE_HEIGHT_PX, CAPTION_PX, GAP_PX = 440, 40, 8
BACKGROUND = (20, 18, 16, 255)      # of the renders, as dark as behind the photo


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", default="normal", choices=("draft", "normal", "high"))
    parser.add_argument("--update-docs", action="store_true", help="copy the picture to docs/demo.png, too")
    arguments = parser.parse_args()
    began = time.perf_counter()
    try:
        zips = build_addon.build([build_addon.this_platform()], OUT / "dist")
    except build_addon.BuildError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    rows = [("build the extension zips", time.perf_counter() - began)]

    shutil.rmtree(BLENDER_FILES, ignore_errors=True)
    code = run_blender(zips[0], arguments.quality)
    left = engines_left_running()
    if left:
        print(f"demo: the engine did not end with its Blender: process {left}.", file=sys.stderr)
    if code or left:
        return 1

    report = json.loads((OUT / "demo.json").read_text(encoding="utf-8"))
    compose_picture(OUT / "demo.png")
    if arguments.update_docs:
        shutil.copyfile(OUT / "demo.png", ROOT / "docs" / "demo.png")
    rows += [(name, seconds) for name, seconds in report["rows"]]
    print_table(rows, time.perf_counter() - began)
    print("\n{vertices} vertices, {faces} faces, {cameras} cameras, on {device}".format(**report))
    for warning in report["warnings"]:
        print(f"warning: {warning}")
    print(f"The scene:   {OUT / 'demo.blend'}\nThe picture: {OUT / 'demo.png'}")
    return 0


def run_blender(zip_path: Path, quality: str) -> int:
    """Run demo_in_blender.py in a Blender without any of the person's settings; its exit code."""
    BLENDER_FILES.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BLENDER_")}
    environment |= {"BLENDER_USER_RESOURCES": str(BLENDER_FILES), "SLIPCAST_ENGINE_PYTHON": sys.executable}
    command = [sys.executable, str(ROOT / "examples" / "demo_in_blender.py"), str(zip_path),
               str(ROOT / "examples" / "skull"), PHOTO, quality, str(OUT)]
    # A session of its own, so that one signal reaches Blender and the engine that it started.
    child = subprocess.Popen(command, env=environment, cwd=OUT, start_new_session=True)
    try:
        return child.wait(TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        print(f"demo: not done after {TIME_LIMIT_S:.0f} s; stopped.", file=sys.stderr)
        return 1
    finally:
        if child.poll() is None:        # out of time, or Ctrl+C here
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()


def engines_left_running(patience_s: float = 10.0) -> list[int]:
    """Process ids of engines that still run although the demo's Blender has ended."""
    deadline = time.monotonic() + patience_s
    while True:
        pids = [json.loads(path.read_text(encoding="utf-8"))["pid"] for path in BLENDER_FILES.rglob("engine.json")]
        running = [pid for pid in pids if is_running(pid)]
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.2)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def compose_picture(path: Path) -> None:
    """The photo and the two renders side by side, cut to the object, each with its caption below."""
    panels = [(ROOT / "examples" / "skull" / PHOTO, "one of the 32 photos"),
              (OUT / "demo-textured.png", "the mesh in Blender, from that camera"),
              (OUT / "demo-clay.png", "its shape alone")]
    box = json.loads((OUT / "demo.json").read_text(encoding="utf-8"))["crop"]
    pictures = []
    for source, caption in panels:
        with Image.open(source) as opened:
            behind = Image.new("RGBA", opened.size, BACKGROUND)
            flat = Image.alpha_composite(behind, opened.convert("RGBA")).convert("RGB")
        left, top, right, bottom = box
        cut = flat.crop((round(left * flat.width), round(top * flat.height),
                         round(right * flat.width), round(bottom * flat.height)))
        width = round(cut.width * PICTURE_HEIGHT_PX / cut.height)
        pictures.append((cut.resize((width, PICTURE_HEIGHT_PX), Image.Resampling.LANCZOS), caption))
    total = sum(picture.width for picture, _ in pictures) + GAP_PX * (len(pictures) - 1)
    sheet = Image.new("RGB", (total, PICTURE_HEIGHT_PX + CAPTION_PX), "white")
    draw, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(19), 0
    for picture, caption in pictures:
        sheet.paste(picture, (left, 0))
        middle = (left + picture.width / 2, PICTURE_HEIGHT_PX + CAPTION_PX / 2)
        draw.text(middle, caption, fill="black", font=font, anchor="mm")
        left += picture.width + GAP_PX
    sheet.save(path)


def print_table(rows: list[tuple[str, float]], total_s: float) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{'stage':<{width}}  seconds")
    for name, seconds in rows:
        print(f"{name:<{width}}  {seconds:7.1f}")
    print(f"{'all':<{width}}  {total_s:7.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
