"""Accounts of the challenge: what each example would have sent, beside what crossed, kind by kind.

Behind secret rotations only lengths are left of a vector, and they stay as they are: each layer's, and the
difference's. All values are in units of what rounding and a defence's noise add to them.

Shapes: N samples, C challenges, L layers that crossed, d width, F values of an account.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ....system.public import Public
from ....system.view import View
from ..differences import Differences, differences
from ..likeness import EXACT, device_backbone, errors, sent
from ..states import PLAIN, PROJECTED, ROTATED, features, form_of
from .challenged import challenged

FARTHEST = 10.0
"""Times the largest value that an example would send."""
TURNED = frozenset({"rotate", "permute"})
"""Defences behind which a difference keeps its length."""
KEPT = frozenset({"label-dp", "noise"})
"""Those behind which it stays what it is, but for noise."""
ON_DIFFERENCES = TURNED | KEPT | frozenset({"code", "scale", "secret-head"})


class Account(NamedTuple):
    """One kind, in units of its errors."""

    received: torch.Tensor
    """(N, F)"""
    expected: torch.Tensor
    """(C, F)"""
    fitted: bool
    """Whether the errors' size is only a guess, to be fitted."""


def accounts(view: View, public: Public, generator: torch.Generator) -> Iterator[Account]:
    """Every account that the defences leave of samples that sent both kinds."""
    found = differences(view, public)
    form = public.facts.get("activations", PLAIN)
    if form in (PLAIN, PROJECTED, ROTATED):
        yield _bounded(_of_states(found, public, generator, lengths=form == ROTATED))
    revealed = public.keys is not None
    defences = ON_DIFFERENCES & set(public.facts.get("defences", {}))
    if public.head is not None and (revealed or defences <= TURNED | KEPT):
        yield _bounded(_of_differences(found, public, lengths=bool(defences & TURNED) and not revealed))


def _bounded(account: Account) -> Account:
    """Values that no device sends are cut: their squares must stay finite, whatever a hostile one sent."""
    most = FARTHEST * account.expected.abs().max().clamp(min=1.0)
    return account._replace(received=account.received.clamp(-most, most))


def _of_states(found: Differences, public: Public, generator: torch.Generator, *, lengths: bool) -> Account:
    expected = sent([one.text for one in public.challenge], public, device_backbone(public))
    if not lengths:
        scale = errors(expected, public, generator)
        return Account(features(found.pivots) / scale, features(expected) / scale, fitted=False)
    squares, variance = expected.square().sum(2), form_of(public.facts).spread ** 2
    width, usual = expected.shape[2], squares.mean(0)
    # of a noisy vector's squared length: its mean is larger by width times the variance
    scale = (4 * variance * usual + 2 * width * variance**2 + (EXACT * usual).square()).sqrt()
    return Account((found.pivots.square().sum(2) - width * variance) / scale, squares / scale, fitted=False)


def _of_differences(found: Differences, public: Public, *, lengths: bool) -> Account:
    expected = challenged(public).targets
    both = min(expected.shape[1], found.values.shape[1])
    sides = found.values[:, :both], expected[:, :both]
    received, expected = (side.norm(dim=1, keepdim=True) if lengths else side for side in sides)
    scale = EXACT * expected.square().mean().sqrt()
    return Account(received / scale, expected / scale, fitted=True)
