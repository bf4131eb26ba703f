"""What the add-on and the engine say to each other. Standard library and pyzmq only: no numpy, torch or bpy."""
from __future__ import annotations

PROTOCOL_VERSION = 1
