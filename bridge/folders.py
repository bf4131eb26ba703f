"""View folders: pictures of one object and the cameras they were taken with, as other programs write them.

Three kinds are known: transforms.json (NeRF-synthetic, instant-ngp, nerfstudio), a COLMAP model, and Middlebury's
`*_par.txt`. Here a folder only becomes a mapping label -> file; what is inside the files is the engine's business. The
labels are what the engine looks files up by, so they are what the camera file says, verbatim.
"""
from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import BadFolder

PAINTED_FOLDER = "slipcast_masks"
TRANSFORMS_LABEL = "transforms.json"
MIDDLEBURY_LABEL = "middlebury_par.txt"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".exr")
PASS_SUFFIXES = (".exr",)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")   # of what may be generated from alone
DEPTH_KEYS = ("depth_path", "depth_file_path")        # of a frame of transforms.json
NORMAL_KEYS = ("normal_path", "normal_file_path")

_TRANSFORMS_FILES = ("transforms.json", "transforms_train.json")
_COLMAP_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")
_COLMAP_SUFFIXES = (".bin", ".txt")
_MAX_CAMERA_FILE_BYTES = 64 * 1024**2
_NAMES_TOLD = 4
_NAME_CHARS = 120
_ACCEPTED = ("A view folder holds transforms.json, a COLMAP model (sparse/0) or a Middlebury *_par.txt "
             "beside its pictures.")


def collect_view_folder(folder: Path) -> dict[str, Path]:
    """Label -> existing file, for every file of one view folder.

    transforms.json: "transforms.json" and each file_path, mask_path and ply_file_path as written, and the OpenEXR files
    of depth and normals. COLMAP:
    "cameras.bin", "images.bin", "points3D.bin" (or .txt), "images/<NAME>", "masks/<NAME>.png". Middlebury:
    "middlebury_par.txt" and the image names. In all: painted_label(picture) where a person has painted a
    mask for it. No picture is opened.
    Raises BadFolder when there is no such folder, it is none of the three, or a file that it names is missing.
    """
    try:
        found = _collect(folder)
        painted = {painted_label(label): folder / painted_label(label) for label in found}
        return {**found, **{label: path for label, path in painted.items() if _is_file(path)}}
    except OSError as error:
        raise BadFolder(f"{error.filename or folder} cannot be read: {error.strerror}.",
                        "Check that it is there and that you may read it.") from error


def _collect(folder: Path) -> dict[str, Path]:
    if not folder.exists():
        raise BadFolder(f"{folder} does not exist.", "Choose the folder that holds the pictures and their cameras.")
    if not folder.is_dir():
        raise BadFolder(f"{folder} is not a folder.", "Choose the folder that holds the pictures and their cameras.")
    transforms = _transforms_file(folder)
    if transforms is not None:
        return _collect_transforms(folder, transforms)
    model = _colmap_model(folder)
    if model is not None:
        return _collect_colmap(folder, *model)
    tables = _middlebury_tables(folder)
    if tables:
        return _collect_middlebury(folder, tables)
    raise _not_a_view_folder(folder)


def list_pictures(folder: Path) -> list[str]:
    """The labels of a view folder's pictures, masks and passes left out, in their order. Raises BadFolder."""
    files = collect_view_folder(folder)
    if TRANSFORMS_LABEL in files:
        return list(dict.fromkeys(frame["file_path"] for frame in _read_json(files[TRANSFORMS_LABEL])["frames"]))
    if MIDDLEBURY_LABEL in files:
        return [label for label in files if label != MIDDLEBURY_LABEL and not label.startswith(f"{PAINTED_FOLDER}/")]
    return [label for label in files if label.startswith("images/")]


def painted_label(picture: str) -> str:
    """What the mask that a person has painted for a picture is called in its view folder: a relative path that stays
    within it. picture: as the cameras call it."""
    parts = [part for part in picture.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and re.fullmatch("[A-Za-z]:", parts[0]):
        del parts[0]    # a drive
    # Windows has no ":" in names; what it becomes is unlikely to be the name of another picture.
    return "/".join([PAINTED_FOLDER, *(part.replace(":", "%3A") for part in parts)]) + ".png"


def find_view_folders(folder: Path) -> list[Path]:
    """The direct children that are view folders by their camera file, sorted by name; [] when there are none.

    Whether they are complete is found out by collect_view_folder. Raises BadFolder when `folder` is not a folder.
    """
    if not folder.is_dir():
        raise BadFolder(f"{folder} is not a folder.", "Choose the folder that holds the view folders.")
    return sorted(child for child in folder.iterdir()
                  if child.is_dir() and not child.name.startswith(".") and is_view_folder(child))


def find_pictures(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, sorted by name; hidden ones are left out. Raises OSError."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file())


def mask_beside(picture: Path) -> Path | None:
    """The mask of a single picture, beside it: painted in Blender, else masks/NAME.SUFFIX.png or masks/NAME.png."""
    candidates = (picture.parent / painted_label(picture.name), picture.parent / "masks" / f"{picture.name}.png",
                  picture.parent / "masks" / f"{picture.stem}.png")
    return next((path for path in candidates if path.is_file()), None)


def is_view_folder(folder: Path) -> bool:
    """Whether a folder is a view folder, by its camera file."""
    try:
        return bool(_transforms_file(folder) or _colmap_model(folder) or _middlebury_tables(folder))
    except PermissionError:
        return True   # it may be one; collect_view_folder says why it cannot be read


def _not_a_view_folder(folder: Path) -> BadFolder:
    names = sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
    if not names:
        return BadFolder(f"{folder} is empty.", _ACCEPTED)
    pictures = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in names)
    if pictures == 1:
        return BadFolder(f"{folder} holds one picture but no cameras.", f"Give the picture itself instead. {_ACCEPTED}")
    if pictures:
        return BadFolder(f"{folder} holds {pictures} pictures but no cameras.", _ACCEPTED)
    return BadFolder(f"{folder} is not a view folder.", _ACCEPTED)


def _missing(folder: Path, camera_file: str, names: list[str]) -> BadFolder:
    rest = len(names) - _NAMES_TOLD
    told = ", ".join(_printable(name) for name in names[:_NAMES_TOLD]) + (f" and {rest} more" if rest > 0 else "")
    return BadFolder(f"{camera_file} in {folder} names files that are not there: {told}.",
                     f"Put them back, or take them out of {camera_file}.")


def _printable(name: str) -> str:
    return name[:_NAME_CHARS].encode("utf-8", "backslashreplace").decode()   # JSON may hold half a character


# --- transforms.json ------------------------------------------------------------------------------------------------
def _transforms_file(folder: Path) -> Path | None:
    return next((folder / name for name in _TRANSFORMS_FILES if (folder / name).is_file()), None)


def _collect_transforms(folder: Path, path: Path) -> dict[str, Path]:
    found, missing = {TRANSFORMS_LABEL: path}, []
    for name, suffixes in _named_files(path, _read_json(path)):
        file = _find_named(folder, name, suffixes)
        if file is None:
            missing.append(name)
        else:
            found[name] = file
    if missing:
        raise _missing(folder, path.name, missing)
    return found


def _read_json(path: Path) -> dict[str, Any]:
    # NaN passes here on purpose: which matrix is bad is better told by the engine, which reads them all.
    if path.stat().st_size > _MAX_CAMERA_FILE_BYTES:
        raise BadFolder(f"{path} is too large for a camera file.", "Export the cameras again.")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadFolder(f"{path} is not readable as JSON: {error}.", "Export the cameras again.") from error
    if not isinstance(value, dict) or not isinstance(value.get("frames"), list) or not value["frames"]:
        raise BadFolder(f"{path} lists no frames.", "It needs a list \"frames\" with one entry a picture.")
    return value


def _named_files(path: Path, transforms: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, suffixes that it may have on disk) of every file that transforms.json names, each name once."""
    names: dict[str, tuple[str, ...]] = {}
    for index, frame in enumerate(transforms["frames"]):
        if not isinstance(frame, dict) or not _is_name(frame.get("file_path")):
            raise BadFolder(f"Frame {index} in {path} names no picture.", "Each frame needs a file_path.")
        names.setdefault(frame["file_path"], IMAGE_SUFFIXES)
        if _is_name(frame.get("mask_path")):
            names.setdefault(frame["mask_path"], IMAGE_SUFFIXES)
        for name in filter(None, (named_pass(frame, keys) for keys in (DEPTH_KEYS, NORMAL_KEYS))):
            if Path(name).suffix.lower() in ("", *PASS_SUFFIXES):   # the engine says what it does not read
                names.setdefault(name, PASS_SUFFIXES)
    if _is_name(transforms.get("ply_file_path")):
        names.setdefault(transforms["ply_file_path"], ())
    yield from names.items()


def named_pass(frame: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """The file of depth (DEPTH_KEYS) or normals (NORMAL_KEYS) that a frame of transforms.json names, or None."""
    return next((frame[key] for key in keys if _is_name(frame.get(key))), None)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _find_named(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path | None:
    """NeRF-synthetic leaves the suffix out; Windows writes backslashes; pictures get converted later."""
    for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
        as_is = folder / spelling
        if _is_file(as_is):
            return as_is
        if not suffixes or not as_is.name:
            continue
        stems = [as_is]
        if as_is.suffix.lower() in suffixes:
            stems.append(as_is.with_suffix(""))
        for stem in stems:
            for suffix in (*suffixes, *(suffix.upper() for suffix in suffixes)):
                candidate = stem.with_name(stem.name + suffix)
                if _is_file(candidate):
                    return candidate
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:   # no file has such a name
            return False
        raise


# --- COLMAP ---------------------------------------------------------------------------------------------------------
def _colmap_model(folder: Path) -> tuple[Path, str] | None:
    """(folder of the model, suffix of its files)."""
    for place in _COLMAP_FOLDERS:
        for suffix in _COLMAP_SUFFIXES:
            model = folder / place
            if (model / f"cameras{suffix}").is_file() and (model / f"images{suffix}").is_file():
                return model, suffix
    return None


def _collect_colmap(folder: Path, model: Path, suffix: str) -> dict[str, Path]:
    found = {f"{name}{suffix}": model / f"{name}{suffix}" for name in ("cameras", "images", "points3D")
             if (model / f"{name}{suffix}").is_file()}
    pictures = _colmap_pictures(folder)
    if not pictures:
        raise BadFolder(f"{folder} holds a COLMAP model but no pictures.",
                        "Put the pictures into a folder called images beside the model.")
    for name, path in pictures.items():
        found[f"images/{name}"] = path
        mask = _colmap_mask(folder, name)
        if mask is not None:
            found[f"masks/{name}.png"] = mask
    return found


def _colmap_pictures(folder: Path) -> dict[str, Path]:
    root = folder / "images"
    candidates = root.rglob("*") if root.is_dir() else folder.iterdir()
    base = root if root.is_dir() else folder
    return {path.relative_to(base).as_posix(): path for path in sorted(candidates)
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()}


def _colmap_mask(folder: Path, name: str) -> Path | None:
    """COLMAP itself wants <name>.<suffix>.png; many exporters write <name>.png."""
    candidates = (folder / "masks" / f"{name}.png", (folder / "masks" / name).with_suffix(".png"))
    return next((path for path in candidates if path.is_file()), None)


# --- Middlebury -----------------------------------------------------------------------------------------------------
def _middlebury_tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_par.txt"))


def _collect_middlebury(folder: Path, tables: list[Path]) -> dict[str, Path]:
    if len(tables) > 1:
        raise BadFolder(f"{folder} holds {len(tables)} camera tables: {', '.join(path.name for path in tables)}.",
                        "Keep one *_par.txt.")
    try:
        lines = tables[0].read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadFolder(f"{tables[0]} is not text.", "Get the camera table again.") from error
    names = [line.split()[0] for line in lines[1:] if line.split()]
    if not names:
        raise BadFolder(f"{tables[0]} lists no pictures.", "Get the camera table again.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise _missing(folder, tables[0].name, missing)
    return {MIDDLEBURY_LABEL: tables[0], **{name: folder / name for name in names}}
