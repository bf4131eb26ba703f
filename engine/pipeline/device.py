"""Which device a run computes on."""
from __future__ import annotations

import torch

from ...bridge.errors import BadSettings


def pick_device(name: str) -> torch.device:
    """"auto": the first CUDA device that torch can use, else the CPU; otherwise the device of that name.

    Raises BadSettings for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadSettings(f"There is no device called {name!r}.", "Choose auto, cpu, or cuda:0.") from error
    if device.type not in ("cpu", "cuda"):
        raise BadSettings(f"{name} is no device Slipcast can use.", "Choose auto, cpu, or cuda:0.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadSettings(f"{name}: this computer has {torch.cuda.device_count()} CUDA devices that torch can use.",
                          "Choose auto or cpu.")
    return torch.device("cuda:0") if name == "cuda" else device
