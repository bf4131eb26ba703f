"""The outline of an object, inflated like a cushion: a closed, rough base for sculpting or refine, without weights."""
from .model import MODEL

__all__ = ["MODEL"]
