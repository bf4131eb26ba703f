"""Blender's data <-> arrays: the one place of the add-on where frames and pixel conventions are converted."""
