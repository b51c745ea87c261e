"""The mixture behind `witness`: what it makes of accounts that are made by hand."""

from __future__ import annotations

import pytest
import torch

from sidelight.attacks.evidence.members.accounts import Account
from sidelight.attacks.membership.witness import Witness, explained
from sidelight.system.errors import UsageError

EXAMPLES, MEMBERS, VALUES = 60, 25, 12


def area(scores: torch.Tensor) -> float:
    """Of pairs of a member, which are the first rows, and another the share in the right order."""
    inside, outside = scores[:MEMBERS], scores[MEMBERS:]
    return float((inside.unsqueeze(1) > outside).float().mean())


def account(noise: float, seed: int, fitted: bool = False, sent: float | None = None) -> Account:
    """Accounts in units of noise of members that crossed with it; `sent`: with another one than is thought."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(EXAMPLES, VALUES, generator=generator)
    spread = noise if sent is None else sent
    received = points[:MEMBERS] + spread * torch.randn(MEMBERS, VALUES, generator=generator)
    return Account(received / noise, points / noise, fitted)


def test_without_noise_members_explain_one_sample_each_and_others_none() -> None:
    counts = explained([account(1e-3, 0)], rounds=20).exp()
    assert torch.allclose(counts[:MEMBERS], torch.ones(MEMBERS), atol=1e-3)
    assert float(counts[MEMBERS:].max()) < 1e-3


def test_two_kinds_together_tell_more_than_either() -> None:
    one, other = account(1.2, 1), account(1.2, 2)
    alone = [area(explained([kind], rounds=20)) for kind in (one, other)]
    assert area(explained([one, other], rounds=20)) > max(alone) + 0.03
    assert max(alone) < 0.97


def test_noise_of_unknown_size_is_fitted() -> None:
    guessed = account(1e-3, 3, fitted=True, sent=0.3)
    assert area(explained([guessed], rounds=20)) > 0.99


def test_a_sample_of_nobody_in_the_challenge_makes_no_member() -> None:
    known = account(1e-2, 4)
    strangers = torch.randn(10, VALUES, generator=torch.Generator().manual_seed(5)) / 1e-2
    counts = explained([known._replace(received=torch.cat([known.received, strangers]))], rounds=20).exp()
    assert torch.allclose(counts[:MEMBERS], torch.ones(MEMBERS), atol=1e-2)
    assert float(counts[MEMBERS:].max()) < 0.5


def test_no_round_is_refused() -> None:
    with pytest.raises(UsageError, match="rounds of witness is 0; give at least 1"):
        Witness(rounds=0)
