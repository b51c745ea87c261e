"""Texts to learn from: those an attacker has labels of, variants of them, and the names of the classes.

A classifier of a few hundred activations is a better one when it also sees each text without some of its words, and the
class names in plain sentences.

Shapes: M texts, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.public import Example
from ..states import name_texts


class Learnt(NamedTuple):
    """What a classifier learns from."""

    texts: tuple[str, ...]
    labels: torch.Tensor
    """(M,) int64"""
    groups: torch.Tensor
    """(M,) int64: variants of one text share one, so that no cross-validation parts them. Every template of a name has
    its own: on two draws each, the likelihood of unseen texts was higher so, on 20 and on 77 classes."""


def augmented(
    examples: Sequence[Example],
    labels: Sequence[str],
    generator: torch.Generator,
    variants: int = 2,
    dropped: float = 0.25,
    names: bool = True,
) -> Learnt:
    """Every example, variants of it that lack a share of its words, and every class name in every template."""
    texts, owners = [one.text for one in examples], [labels.index(one.label) for one in examples]
    copies = [shortened(text, dropped, generator) for _ in range(variants) for text in texts]
    named = name_texts(labels) if names else []
    classes = [k % len(labels) for k in range(len(named))]
    groups = [*list(range(len(texts))) * (1 + variants), *range(len(texts), len(texts) + len(named))]
    return Learnt((*texts, *copies, *named), _numbers(owners * (1 + variants) + classes), _numbers(groups))


def _numbers(found: Sequence[int]) -> torch.Tensor:
    return torch.tensor(found, dtype=torch.int64)


def shortened(text: str, dropped: float, generator: torch.Generator) -> str:
    """A text without a share of its words, drawn by chance; the whole text where none would be left."""
    words = text.split()
    kept = (torch.rand(len(words), generator=generator) >= dropped).tolist()
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep) or text
