"""A picture through a network that cuts out. onnxruntime is an extra of the engine; without it this is refused."""
from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ....bridge.errors import BadSettings, BadWeights, OutOfMemory
from ..memory import free_bytes, is_out_of_memory
from ..spec import require_memory
from .catalogue import Cutter

_INSTALL = "Install the package onnxruntime there, or choose another way to find the background."


def has_runtime() -> bool:
    """Whether networks in ONNX form can be computed here."""
    return importlib.util.find_spec("onnxruntime") is not None


def cut_with(cutter: Cutter, path: Path, image: np.ndarray) -> np.ndarray:
    """Where the object is: (H, W) float32 in [0, 1].

    path: of the network's file. image: (H, W, 3) uint8 sRGB. Computes on the CPU, with as many threads as torch has.
    Raises BadSettings (onnxruntime is not installed), OutOfMemory (too little is free, or it ran out), BadWeights (the
    file is damaged, or another network).
    Source: U2-Net (Qin et al. 2020), IS-Net (Qin et al. 2022), BiRefNet (Zheng et al. 2024).
    """
    session = _open(cutter, path)
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or not session.get_outputs():
        raise _another(cutter, path)
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

    try:
        answer = np.asarray(session.run(None, {inputs[0].name: prepare(cutter, image)})[0], np.float32)
    except (state.InvalidArgument, state.Fail, state.RuntimeException, state.NotImplemented, MemoryError) as error:
        raise (_ran_out(cutter) if is_out_of_memory(error) else _another(cutter, path)) from error
    if answer.ndim < 2 or min(answer.shape[-2:]) < 2:
        raise _another(cutter, path)
    found = answer.reshape(-1, *answer.shape[-2:])[0]
    if not np.isfinite(found).all():
        raise _another(cutter, path)
    if cutter.raw:
        found = 1 / (1 + np.exp(-np.clip(found, -60, 60)))
    low, high = float(found.min()), float(found.max())
    stretched = (found - low) / max(high - low, 1e-6)
    height, width = image.shape[:2]
    return cv2.resize(stretched, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)


def prepare(cutter: Cutter, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (1, 3, S, S) float32, as the network was trained on."""
    side = cutter.side_px
    method = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_CUBIC
    square = cv2.resize(image, (side, side), interpolation=method).astype(np.float32)
    square /= max(float(square.max()), 1e-6) if cutter.by_brightest else 255
    square = (square - np.asarray(cutter.mean, np.float32)) / np.asarray(cutter.deviation, np.float32)
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32)


def _open(cutter: Cutter, path: Path) -> Any:
    if not has_runtime():
        raise BadSettings(f"{cutter.spec.title} needs onnxruntime, which is not in the engine's environment.", _INSTALL)
    require_memory(cutter.spec, "cpu", free_bytes("cpu"))
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NoSuchFile, state.NoModel,
            state.Fail, state.RuntimeException, state.NotImplemented, MemoryError) as error:
        if is_out_of_memory(error):
            raise _ran_out(cutter) from error
        raise BadWeights(f"{path.name} of {cutter.spec.title} is damaged, or no network at all.",
                         f"Remove it with `models remove {cutter.spec.name}`, then fetch it again.") from error


def _ran_out(cutter: Cutter) -> OutOfMemory:
    return OutOfMemory(f"{cutter.spec.title} ran out of memory on this computer.",
                       "Close other programs, or choose a smaller network or another way to find the background.")


def _another(cutter: Cutter, path: Path) -> BadWeights:
    return BadWeights(f"{path.name} is a network, but not {cutter.spec.title}.",
                      f"Remove it with `models remove {cutter.spec.name}`, then fetch it again.")
