"""The frozen head that turns the backbone's pivot into class scores f_b(x).

`verbaliser`: the language-model head read at the words of the label names, centred over the classes. `linear`: a
random frozen matrix, public or secret to the device. No source says who holds the head or what it is.

Shapes: K classes, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch

from .backbone import Backbone

HeadKind = Literal["verbaliser", "linear"]
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)


def verbaliser(backbone: Backbone, labels: Sequence[str]) -> torch.Tensor:
    """(K, d): for each class the mean of the output matrix's rows at its name's tokens, minus the classes' mean."""
    matrix = backbone.output_matrix()
    rows = [matrix[backbone.token_ids(" " + words(label))].float().mean(0) for label in labels]
    weight = torch.stack(rows).detach()
    return weight - weight.mean(0)


def linear(classes: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(K, d): a frozen random head."""
    drawn = torch.randn(classes, width, generator=generator)
    weight: torch.Tensor = drawn / width**0.5
    return weight


def words(label: str) -> str:
    """A label's name as words: "card_arrival?" reads "card arrival"."""
    spaced = "".join(c if c.isalnum() else " " for c in label)
    return " ".join(spaced.split()) or label


def scores(weight: torch.Tensor, backbone: Backbone, pivot: torch.Tensor) -> torch.Tensor:
    """f_b: (B, K) from the pivot's state after the last block (B, d)."""
    return backbone.final_norm(pivot) @ weight.T
