"""Draw only: read state, start nothing."""
