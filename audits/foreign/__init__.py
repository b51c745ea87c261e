"""Records what crosses in a system that is not ours, in the folders that `sidelight attack` reads: docs/foreign.md.

A function or a gRPC method is told apart from the next by a `Crossing`: which of its arguments are a message's samples
and tensors. Nothing here changes what the recorded system does, returns or raises.
"""

from __future__ import annotations

from .crossing import Answer, Crossing
from .recording import Recording

__all__ = ["Answer", "Crossing", "Recording"]
