"""Build the extension zips: two a platform, one for each generation of Blender's Python.

    python build_addon.py [--platform linux-x64 ...] [--out dist]

Blender 4.2 to 5.0 have Python 3.11 and take a cp311 wheel, Blender 5.1 and later take a cp312-abi3 wheel. A zip with
both fails to enable on the later ones, a zip with the abi3 wheel alone silently installs none on the earlier ones.
Each zip holds the add-on, the bridge and the engine's code (the add-on starts the engine from its own copy), the
pyzmq wheel of that platform, the manifest and the licence. Nothing is compiled and nothing is changed in a wheel.
"""
from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent
WINGS = ("addon", "bridge", "engine")
ROOT_FILES = ("__init__.py", "blender_manifest.toml", "LICENSE")
PYZMQ_VERSION = "27.3.0"


class BuildError(Exception):
    """The zips cannot be built; the text says why and what to do."""


@dataclass(frozen=True)
class Generation:
    """The Blender versions that one kind of wheel fits."""

    name: str                # in the zip's file name
    python: str              # for pip
    tags: str                # of the wheel
    blender_min: str         # first version that takes it
    blender_max: str | None  # first version that does not


GENERATIONS = (
    Generation("blender-4.2-to-5.0", "3.11", "cp311-cp311", "4.2.0", "5.1.0"),
    Generation("blender-5.1-and-later", "3.13", "cp312-abi3", "5.1.0", None),
)
# Blender's name of a platform -> the wheel's
PLATFORMS: Mapping[str, str] = {
    "linux-x64": "manylinux_2_26_x86_64.manylinux_2_28_x86_64",
    "macos-arm64": "macosx_10_15_universal2",
    "macos-x64": "macosx_10_15_universal2",
    "windows-x64": "win_amd64",
}
WHEEL_SHA256: Mapping[str, str] = {
    "cp311-cp311-macosx_10_15_universal2": "86fb4408797aabb54a31e147176ae0f2474d99f1715a36a4564089eca9ef9ce8",
    "cp311-cp311-manylinux_2_26_x86_64.manylinux_2_28_x86_64":
        "477b8ad30d66fc905c5388351e83b9ac25824b00e82c0d052b72ea6392636dfd",
    "cp311-cp311-win_amd64": "df98c790f86b6aa2378b4bb94dec7b85b0adb195b880b41e429a4990aed2a8c9",
    "cp312-abi3-macosx_10_15_universal2": "15155fd8f308d3bd47f67a8f6cc809f9db90abbf63c514c384a17622e2cf080f",
    "cp312-abi3-manylinux_2_26_x86_64.manylinux_2_28_x86_64":
        "858fe25231e0fd8612da142efde019faa5ef63fa150a821a27870e791b38c798",
    "cp312-abi3-win_amd64": "3ea8e8fa5c097e68fef91d70b150fda96f307758103868018fc4deeb9c214122",
}


def this_platform() -> str:
    """Blender's name of the platform this runs on. Raises BuildError when there is no zip for it."""
    import platform

    system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}.get(platform.system(), platform.system())
    machines = {"x86_64": "x64", "amd64": "x64", "arm64": "arm64", "aarch64": "arm64"}
    machine = machines.get(platform.machine().lower(), platform.machine())
    name = f"{system}-{machine}"
    if name not in PLATFORMS:
        raise BuildError(f"There is no zip for {name}. Known: {', '.join(PLATFORMS)}.")
    return name


def build(platforms: Sequence[str], out_dir: Path, root: Path = ROOT) -> list[Path]:
    """Build and validate both zips of each platform in `platforms`; return their paths.

    root: a checkout. Wheels are kept in <root>/build/wheels, so only the first build needs the network.
    Raises BuildError for an unknown platform, versions that disagree, a missing file or wheel, or a zip that
    Blender's own validator turns down.
    """
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown:
        raise BuildError(f"Unknown platform: {', '.join(unknown)}. Known: {', '.join(PLATFORMS)}.")
    check_versions(root)
    builder = find_builder()
    out_dir.mkdir(parents=True, exist_ok=True)
    zips = []
    for platform in platforms:
        for generation in GENERATIONS:
            wheel = fetch_wheel(generation, platform, root / "build" / "wheels")
            zips.append(_build_one(builder, root, generation, platform, wheel, out_dir))
    return zips


def check_versions(root: Path) -> str:
    """Return the version that pyproject.toml, blender_manifest.toml and bridge/__init__.py agree on.

    Raises BuildError when they do not, when docs/protocol.md describes another protocol than the bridge speaks, or
    when constraints.txt pins another pyzmq than the one that goes into the zips.
    """
    constants = _constants(_text(root / "bridge" / "__init__.py"))
    versions = {
        "pyproject.toml": str(tomllib.loads(_text(root / "pyproject.toml"))["project"]["version"]),
        "blender_manifest.toml": str(tomllib.loads(_text(root / "blender_manifest.toml")).get("version")),
        "bridge/__init__.py": str(constants.get("VERSION")),
    }
    if len(set(versions.values())) != 1:
        listed = ", ".join(f"{name} says {version}" for name, version in versions.items())
        raise BuildError(f"The versions disagree: {listed}. Set them to the same one.")
    found = re.search(r"protocol,?\s+version:?\s+(\d+)", _text(root / "docs" / "protocol.md"), re.IGNORECASE)
    spoken, described = constants.get("PROTOCOL_VERSION"), int(found[1]) if found else None
    if described is None or described != spoken:
        raise BuildError(f"bridge/__init__.py speaks protocol version {spoken}, docs/protocol.md describes "
                         f"{described}. Change both together.")
    if f"\npyzmq=={PYZMQ_VERSION}\n" not in "\n" + _text(root / "constraints.txt"):
        raise BuildError(f"constraints.txt must pin pyzmq=={PYZMQ_VERSION}, the version that goes into the zips.")
    return versions["pyproject.toml"]


def fetch_wheel(generation: Generation, platform: str, cache: Path) -> Path:
    """The pinned pyzmq wheel, from `cache` or, the first time, by `pip download` into it. Raises BuildError."""
    tags = f"{generation.tags}-{PLATFORMS[platform]}"
    wheel = cache / f"pyzmq-{PYZMQ_VERSION}-{tags}.whl"
    if not wheel.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own: an interrupted or parallel download never leaves half a wheel in the cache.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--only-binary=:all:", "--implementation=cp", f"--python-version={generation.python}",
                       f"--abi={generation.tags.split('-')[1]}", "--dest", folder, f"pyzmq=={PYZMQ_VERSION}"]
            _run([*command, *(f"--platform={name}" for name in PLATFORMS[platform].split("."))],
                 f"The wheel {wheel.name} could not be fetched. Is there a network?")
            if not (Path(folder) / wheel.name).is_file():
                got = ", ".join(path.name for path in Path(folder).iterdir()) or "nothing"
                raise BuildError(f"pip fetched {got} where {wheel.name} was expected.")
            (Path(folder) / wheel.name).replace(wheel)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256[tags]:
        raise BuildError(f"{wheel} has another sha256 than the one pinned in build_addon.py. Delete it and try again.")
    return wheel


def find_builder() -> Path:
    """Blender's extension builder inside the bpy package of this Python (a plain script; bpy is not imported)."""
    spec = importlib.util.find_spec("bpy")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(place).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"):
            return found
    raise BuildError("Blender's extension builder comes with the bpy package, which this Python does not have. "
                     "Use the project's own: .venv/bin/python build_addon.py")


def stage(root: Path, generation: Generation, platform: str, wheel: Path, folder: Path) -> None:
    """Copy what one zip holds into the empty `folder`. Raises BuildError when a file is missing."""
    for name in (*ROOT_FILES, *(f"{wing}/__init__.py" for wing in WINGS)):
        if not (root / name).is_file():
            raise BuildError(f"{name} is missing from {root}.")
    for name in ROOT_FILES:
        shutil.copy2(root / name, folder / name)
    for wing in WINGS:
        shutil.copytree(root / wing, folder / wing, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "*~"))
    (folder / "wheels").mkdir()
    shutil.copy2(wheel, folder / "wheels" / wheel.name)
    manifest = tomllib.loads(_text(root / "blender_manifest.toml"))
    (folder / "blender_manifest.toml").write_text(
        manifest_text(manifest_for(manifest, generation, platform, wheel.name)), encoding="utf-8")


def manifest_for(manifest: Mapping[str, Any], generation: Generation, platform: str, wheel_name: str) -> dict[str, Any]:
    """The checkout's manifest with what differs from zip to zip set."""
    made = {key: value for key, value in manifest.items() if key not in ("build", "blender_version_max")}
    made |= {"blender_version_min": generation.blender_min, "platforms": [platform],
             "wheels": [f"./wheels/{wheel_name}"]}
    if generation.blender_max:
        made["blender_version_max"] = generation.blender_max
    return made


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as TOML: strings and lists of strings, then tables of them (a manifest knows nothing else)."""
    plain = {key: value for key, value in manifest.items() if not isinstance(value, Mapping)}
    # A JSON string or list of strings in ASCII is also a TOML one.
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, table in manifest.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _build_one(builder: Path, root: Path, generation: Generation, platform: str, wheel: Path, out_dir: Path) -> Path:
    version = check_versions(root)
    target = out_dir / f"slipcast-{version}-{generation.name}-{platform}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        folder, built = Path(temporary) / "slipcast", Path(temporary) / target.name
        folder.mkdir()
        stage(root, generation, platform, wheel, folder)
        _run([sys.executable, str(builder), "build", "--source-dir", str(folder), "--output-filepath", str(built)],
             "Blender's extension builder refused to build.")
        _run([sys.executable, str(builder), "validate", str(built)], "Blender's extension validator refused the zip.")
        # Beside the target first, so that what appears under its name is whole.
        part = target.with_suffix(".part")
        shutil.copyfile(built, part)
        part.replace(target)
    return target


def contents(archive: Path) -> list[tuple[str, int]]:
    """(name, bytes) of each file in a zip, sorted by name."""
    with zipfile.ZipFile(archive) as opened:
        return sorted((info.filename, info.file_size) for info in opened.infolist() if not info.is_dir())


def _run(command: Sequence[str], what_failed: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{what_failed}\n{(done.stdout + done.stderr).strip()}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise BuildError(f"{path.name} is missing from {path.parent}.")
    return path.read_text(encoding="utf-8")


def _constants(source: str) -> dict[str, Any]:
    """Module-level NAME = literal, without running the module."""
    return {node.targets[0].id: node.value.value for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the Slipcast extension zips.")
    parser.add_argument("--platform", action="append", choices=sorted(PLATFORMS),
                        help="may be given more than once; default: all")
    parser.add_argument("--this-platform", action="store_true", help="only the zips for this machine")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips (default: dist)")
    arguments = parser.parse_args(argv)
    try:
        platforms = [this_platform()] if arguments.this_platform else arguments.platform or sorted(PLATFORMS)
        zips = build(platforms, arguments.out)
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    for archive in zips:
        files = contents(archive)
        print(f"\n{archive}  {archive.stat().st_size / 1e3:.0f} kB, {len(files)} files")
        for name, size in files:
            print(f"  {size:>9}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
