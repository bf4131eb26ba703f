"""Everything that imports bpy. Talks to the engine through bridge only."""
