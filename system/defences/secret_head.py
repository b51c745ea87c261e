"""The backbone's output read by a head that only the device knows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..errors import UsageError
from ..heads import linear
from .defence import Defence, Part, Targets


@dataclass(frozen=True)
class SecretHead(Defence):
    """A random frozen head in place of the public one: what the difference takes away is unknown to the server."""

    name = "secret-head"
    title = "a frozen head that only the device knows"
    source = "own derivation"
    part = Part.DIFFERENCE
    keyed = True

    def targets(self, targets: Targets, generator: torch.Generator) -> Targets:
        if targets.head is None or targets.secret_book:
            raise UsageError("code has a secret head of its own; leave secret-head away")
        return replace(targets, head=linear(targets.head.shape[0], targets.head.shape[1], generator), public_rows=0)
