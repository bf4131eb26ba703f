"""Quality and speed, measured. Each module is a program: python -m slipcast.bench.<name>."""
from __future__ import annotations

from .. import engine as _engine  # noqa: F401  (it says how PyTorch's threads wait, before PyTorch is loaded)
