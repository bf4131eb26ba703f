"""How much memory is free where a model would be loaded, and whether an error means that it ran out."""
from __future__ import annotations


def free_bytes(device: str) -> int:
    """Of memory that a new model could take, on "cpu" or "cuda:N"."""
    if device == "cpu":
        import psutil  # a worker only asks whether an error means that memory ran out

        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own, torch's (by name, so that torch is not needed), and what native code says in a RuntimeError."""
    words = str(error).lower()
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words))
