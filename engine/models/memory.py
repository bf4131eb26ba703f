"""How much memory is free where a model would be loaded, and whether an error means that it ran out."""
from __future__ import annotations

_WORDS = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc", "bad allocation")


def free_bytes(device: str) -> int:
    """Of memory that a new model could take, on "cpu" or "cuda:N"."""
    if device == "cpu":
        import psutil  # a worker only asks whether an error means that memory ran out

        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own, torch's and onnxruntime's (by name, so that neither is needed), and what native code says in a
    RuntimeError."""
    words = str(error).lower()
    native = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or native and any(each in words for each in _WORDS))
