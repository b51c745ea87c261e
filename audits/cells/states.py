"""States of texts and classifiers of them, kept for all runs of a victim: its runs ask for the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from ...attacks.evidence.labels.augmented import augmented
from ...attacks.evidence.labels.probing import Linear, fitted
from ...attacks.evidence.states import Form, block_states, blurred, features, of_layers
from ...system.backbone import Backbone
from ...system.public import Example


@lru_cache(maxsize=8)
def states(backbone: Backbone, texts: tuple[str, ...], form: Form) -> torch.Tensor:
    """After every block, (M, blocks, P, d): M texts, P positions that stand for each, d width."""
    return block_states(backbone, texts, form)


@lru_cache(maxsize=16)
def discriminant(
    backbone: Backbone, examples: tuple[Example, ...], labels: tuple[str, ...], layers: tuple[int, ...], form: Form
) -> Linear:
    """Of the states of labelled texts, of variants of them and of the class names, after some blocks from 1."""
    learnt = augmented(examples, labels, torch.Generator().manual_seed(0))
    rows = noisy(after(states(backbone, learnt.texts, form), layers), form)
    return fitted(rows, learnt.labels, len(labels), groups=learnt.groups)


def noisy(rows: torch.Tensor, form: Form) -> torch.Tensor:
    """Features with the noise that a device would add, the same at every call: what is learnt must expect it."""
    return blurred(rows, form.spread, torch.Generator().manual_seed(1))


def after(found: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """Features (M, P x layers x d) of some blocks, the first of which is 1, from states (M, blocks, P, d)."""
    return features(of_layers(found, layers))
