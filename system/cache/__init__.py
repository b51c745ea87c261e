"""Tensors of samples, by kind and id: what a server keeps to train on, and a device to send again as it was."""

from .cache import Absent, Cache, MemoryCache

__all__ = ["Absent", "Cache", "MemoryCache"]
