"""Slipcast: pour views in, a clean textured mesh comes out in the scene.

The root of the one package that both Blender (as an extension) and the engine (as a separate process) import.
Nothing here may need bpy before register() is called.
"""

from .bridge import VERSION as __version__  # noqa: F401


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .addon import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, and when Blender ends."""
    from .addon import registration

    registration.unregister()
