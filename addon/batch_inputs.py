"""What a batch is given: options of all methods, and a folder of view folders and pictures. No bpy."""
from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bridge.errors import BadFolder
from ..bridge.folders import find_pictures, find_view_folders, is_view_folder, mask_beside
from ..bridge.settings import METHODS, TURNTABLE, settings_from_mapping

BATCH_METHODS = ("views", "image")


@dataclasses.dataclass(frozen=True)
class BatchInput:
    """One job of a batch. path: a view folder, or a picture. name: of its object and files, the only one in the batch.
    files: as of GenerateRequest."""

    path: Path
    name: str
    method: str
    files: Mapping[str, Path]


def find_inputs(folder: Path) -> list[BatchInput]:
    """The view folders in a folder, then the pictures that lie in it, each with the mask beside it if there is one.

    Raises BadFolder when there are none, or `folder` is a view folder itself.
    """
    views = find_view_folders(folder)
    if is_view_folder(folder):
        raise BadFolder(f"{folder} is a view folder itself.",
                        "Give the folder that holds the view folders, not one of them.")
    pictures = find_pictures(folder)
    if not views and not pictures:
        raise BadFolder(f"There is no view folder and no picture in {folder}.",
                        "Give the folder that holds them, not one of them.")
    stems = Counter([path.name for path in views] + [path.stem for path in pictures])
    found = [BatchInput(path, path.name, "views", {}) for path in views]
    for path in pictures:
        mask = mask_beside(path)
        found.append(BatchInput(path, path.stem if stems[path.stem] == 1 else path.name.replace(".", "_"), "image",
                                {"image": path} if mask is None else {"image": path, "mask": mask}))
    return found


def make_parser() -> argparse.ArgumentParser:
    """One option for each knob of the methods; what is not given is not among the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="blender -c slipcast batch", description="Make a .blend and a .glb of each view folder and each picture "
        "inside FOLDER. A mask of photo.png is taken from masks/photo.png. Exit code 0: all done; 1: some failed; "
        "2: bad usage.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder that holds view folders, or pictures")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    knobs = [knob for method in BATCH_METHODS for knob in dataclasses.fields(METHODS[method])]
    for name in dict.fromkeys(knob.name for knob in knobs if knob.name != TURNTABLE):   # its files go nowhere here
        _add_option(parser, [knob for knob in knobs if knob.name == name])
    parser.add_argument("--target-size", type=float, default=0.0,
                        help="longest side; 0: as the cameras or the model have it (default)")
    parser.add_argument("--import-cameras", action="store_true", help="also a Blender camera for each view")
    return parser


def _add_option(parser: argparse.ArgumentParser, knobs: list[dataclasses.Field[Any]]) -> None:
    """One option for a knob that may be in several methods, with a default in each."""
    knob, facts = knobs[0], knobs[0].metadata
    option = "--" + facts.get("label", knob.name).lower().replace(" ", "-")
    if isinstance(knob.default, bool):
        parser.add_argument(option, dest=knob.name, default=argparse.SUPPRESS, help=facts["tip"],
                            action=argparse.BooleanOptionalAction)
        return
    defaults = " or ".join(dict.fromkeys(str(each.default) or "none" for each in knobs))
    parser.add_argument(option, dest=knob.name, type=type(knob.default), default=argparse.SUPPRESS,
                        choices=facts.get("choices"), metavar=None if facts.get("choices") else _name_of_value(knob),
                        help=f"{facts['tip']} (default: {defaults})".replace("%", "%%"))


def _name_of_value(knob: dataclasses.Field[Any]) -> str:
    """What the value of an option is called in its help."""
    return str(knob.metadata.get("unit", "n")).upper()


def given_settings(given: argparse.Namespace) -> dict[str, Any]:
    """The knobs that were given, by name."""
    names = {knob.name for method in BATCH_METHODS for knob in dataclasses.fields(METHODS[method])}
    return {name: value for name, value in vars(given).items() if name in names}


def settings_of(method: str, given: Mapping[str, Any]) -> Any:
    """The settings of a method, from those knobs of `given` that it has. Raises BadSettings."""
    kind = METHODS[method]
    names = {knob.name for knob in dataclasses.fields(kind)}
    return settings_from_mapping(kind, {name: value for name, value in given.items() if name in names})
