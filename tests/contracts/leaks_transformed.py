"""Planted leaks: differences behind a secret scale, permutation or rotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sidelight.attacks import ATTACKS
from sidelight.system.codec import Precision, through

from .micro import Micro
from .planted import Planted, from_run, pae

Disguise = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""From differences (B, D) to what is sent in their place."""


def behind(planted: Planted, disguise: Disguise, precision: Precision = "fp32", seed: int = 5) -> Planted:
    """The leak with every message's differences disguised, then rounded as they would be on the wire."""
    generator = torch.Generator().manual_seed(seed)
    messages = []
    for message in planted.view.messages:
        if message.kind != "difference":
            messages.append(message)
            continue
        sent = through(disguise(message.tensors["difference"], generator), precision)
        messages.append(replace(message, tensors={"difference": sent}))
    return replace(planted, view=replace(planted.view, messages=messages))


def rotation(width: int, seed: int = 6) -> torch.Tensor:
    """An orthogonal matrix (width, width)."""
    drawn = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turned: torch.Tensor = torch.linalg.qr(drawn).Q.float()
    return turned


def rotated(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One rotation for all samples."""
    return difference @ rotation(difference.shape[1])


def turned_anew(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A fresh rotation for each sample."""
    drawn = torch.randn(*difference.shape, difference.shape[1], generator=generator, dtype=torch.float64)
    turned: torch.Tensor = (torch.linalg.qr(drawn).Q.float() @ difference.unsqueeze(2)).squeeze(2)
    return turned


def permuted(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One order of the entries for all samples."""
    return difference[:, torch.randperm(difference.shape[1], generator=torch.Generator().manual_seed(7))]


def shuffled(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A fresh order for each sample."""
    return difference.gather(1, torch.rand(difference.shape, generator=generator).argsort(1))


def scaled(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A secret factor between 1/4 and 4 for each sample, its logarithm uniform."""
    return difference * 4 ** (2 * torch.rand(len(difference), 1, generator=generator) - 1)


def scaled_and_rotated(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return scaled(rotated(difference, generator), generator)


def scaled_and_shuffled(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return scaled(shuffled(difference, generator), generator)


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "align": lambda micro: behind(from_run(micro, ATTACKS["align"](), pae()), rotated, "int8"),
    "gram": lambda micro: behind(from_run(micro, ATTACKS["gram"](), pae()), scaled_and_rotated),
    "norm": lambda micro: behind(from_run(micro, ATTACKS["norm"](), pae()), turned_anew),
    "posterior": lambda micro: from_run(micro, ATTACKS["posterior"](), pae()),
    "ratio": lambda micro: behind(from_run(micro, ATTACKS["ratio"](), pae()), scaled_and_shuffled),
}
