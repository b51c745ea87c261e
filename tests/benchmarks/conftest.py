"""The micro backbones of the contract suites."""

from __future__ import annotations

from ..contracts.conftest import micro

__all__ = ["micro"]
