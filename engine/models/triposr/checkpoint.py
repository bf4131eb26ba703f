"""Reading a checkpoint: strictly, mapped from the file, nothing executed."""
from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ....bridge.errors import BadWeights, WeightsMissing
from .layout import Shape, TripoSrSizes, expected_layout

FETCH_HINT = "Fetch the model's weights again: in the panel, or with `python -m slipcast.engine models fetch triposr`."
_ZIP = b"PK\x03\x04"        # what torch.save writes; everything else is taken for safetensors
_NAMED = 3                  # tensors that an error names


def read_checkpoint(path: Path, sizes: TripoSrSizes) -> dict[str, torch.Tensor]:
    """Name -> float32 tensor on the CPU, in the layout's order. Pages are read from the file when they are used.

    path: a checkpoint as published (torch.save of a flat state dict), or the same tensors as safetensors; which of
    the two is seen in the content. Pickled code in it is refused, not run.
    Raises WeightsMissing, BadWeights (truncated, no checkpoint, other names, shapes or types).
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZIP))
    except FileNotFoundError as error:
        raise WeightsMissing(f"{path.name} is not in {path.parent}.", FETCH_HINT) from error
    except OSError as error:
        raise BadWeights(f"{path} cannot be read ({error.strerror}).", "Check that it is a file and may be read.") \
            from error
    tensors = _read_torch(path) if start == _ZIP else _read_safetensors(path)
    expected = expected_layout(sizes)
    check_layout(tensors, expected, path.name)
    return {name: tensors[name] for name in expected}


def _read_torch(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise BadWeights(f"{path.name} holds more than numbers, so it was not loaded.", FETCH_HINT) from error
    # all seen with damaged files; the last where the name ends in .safetensors and the content is no such file
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise BadWeights(f"{path.name} is damaged or not complete.", FETCH_HINT) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise BadWeights(f"{path.name} is not a flat list of tensors.", FETCH_HINT)
    return found


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path.name} is damaged, or no checkpoint at all.", FETCH_HINT) from error


def check_layout(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, Shape], name: str) -> None:
    """Raises BadWeights unless `tensors` has exactly the names, shapes and float32 of `expected`."""
    missing = [key for key in expected if key not in tensors]
    strange = [key for key in tensors if key not in expected]
    wrong = [f"{key} is {_describe(tensors[key])}, not float32 {list(shape)}" for key, shape in expected.items()
             if key in tensors and (tuple(tensors[key].shape) != shape or tensors[key].dtype != torch.float32)]
    problems = [f"{len(found)} {what} ({', '.join(found[:_NAMED])}{' ...' if len(found) > _NAMED else ''})"
                for what, found in (("missing", missing), ("unknown", strange), ("of another kind", wrong)) if found]
    if problems:
        raise BadWeights(f"{name} is not TripoSR's checkpoint: of {len(expected)} tensors "
                         f"{'; '.join(problems)}.", FETCH_HINT)


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
