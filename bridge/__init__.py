"""What the add-on and the engine say to each other. Standard library and pyzmq only: no numpy, torch or bpy."""
from __future__ import annotations

VERSION = "0.1.0"           # of the package; build_addon.py checks that manifest and pyproject agree
PROTOCOL_VERSION = 3        # of the messages; docs/protocol.md is the prose to it
