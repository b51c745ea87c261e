"""The entries of every difference in a secret order."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .mixing import Mixing


@dataclass(frozen=True)
class Permute(Mixing):
    """One order for all samples, or a fresh one for each."""

    name = "permute"
    title = "entries of the difference in a secret order"
    source = "own derivation; static obfuscation: arXiv 2603.05035"

    def matrices(self, count: int, width: int, generator: torch.Generator) -> torch.Tensor:
        return torch.eye(width)[torch.rand(count, width, generator=generator).argsort(1)]
