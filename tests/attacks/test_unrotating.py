"""Rotated states are turned back by others of the same kind, and only by those."""

from __future__ import annotations

import pytest
import torch

from sidelight.attacks.evidence.labels.unrotating import (
    Seen,
    by_moments,
    chained,
    coupling,
    procrustes,
    rotations,
    unrotated,
)

LAYERS, WIDTH = 3, 6


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(count: int, seed: int) -> torch.Tensor:
    """Skewed values of different spread along each direction; layers drift from the first."""
    drawn = -torch.rand(count, WIDTH, generator=generator(seed)).log() - 1
    first = drawn * torch.linspace(3.0, 0.5, WIDTH) + torch.arange(WIDTH)
    drift = torch.randn(count, LAYERS, WIDTH, generator=generator(seed + 100)).cumsum(1)
    return first.unsqueeze(1) + 0.05 * drift


def orthogonal(count: int, seed: int) -> torch.Tensor:
    found: torch.Tensor = torch.linalg.qr(torch.randn(count, WIDTH, WIDTH, generator=generator(seed))).Q
    return found


def likeness(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean cosine of centred rows."""
    middle = truth.mean(0)
    return float(torch.nn.functional.cosine_similarity(found - middle, truth - middle, dim=2).mean())


def test_states_behind_a_rotation_for_each_layer_are_turned_back_by_other_states_of_the_same_kind() -> None:
    exact, turns = states(200, 1), orthogonal(LAYERS, 3)
    received = torch.einsum("nld,led->nle", exact, turns)
    assert likeness(received, exact) < 0.5
    assert likeness(unrotated(received, states(250, 2)), exact) > 0.97


def test_states_that_lie_alike_in_all_directions_are_not_turned_back() -> None:
    round_states = torch.randn(150, LAYERS, WIDTH, generator=generator(1))
    received = torch.einsum("nld,led->nle", round_states, orthogonal(LAYERS, 3))
    others = torch.randn(150, LAYERS, WIDTH, generator=generator(2))
    assert likeness(unrotated(received, others), round_states) < 0.5


def test_what_no_rotation_hides_turns_back_what_moments_cannot() -> None:
    round_states = torch.randn(150, 1, WIDTH, generator=generator(1))
    others = torch.randn(150, 1, WIDTH, generator=generator(2))
    received = torch.einsum("nld,led->nle", round_states, orthogonal(1, 3))
    seen = Seen(round_states[:, 0, :4], others[:, 0, :4])
    assert likeness(unrotated(received, others, seen), round_states) > 0.6


def test_the_maps_found_are_orthogonal() -> None:
    found = rotations(states(60, 1), states(50, 2))
    torch.testing.assert_close(found @ found.transpose(1, 2), torch.eye(WIDTH).expand(3, -1, -1), atol=1e-4, rtol=0)


def test_layers_are_turned_to_the_first() -> None:
    exact, turns = states(300, 1)[:, :1].expand(-1, LAYERS, -1), orthogonal(LAYERS, 3)
    received = torch.einsum("nld,led->nle", exact, turns)
    found = torch.einsum("nld,lde->nle", received, chained(received))
    torch.testing.assert_close(found, received[:, :1].expand(-1, LAYERS, -1), atol=1e-3, rtol=0)


def test_moments_alone_find_a_turn_of_skewed_states() -> None:
    exact, turn = states(4000, 1)[:, :1], orthogonal(1, 3)[0]
    assert likeness(exact @ turn @ by_moments(exact @ turn, states(4000, 2)[:, :1]), exact) > 0.98


def test_a_matching_gives_every_row_its_share_and_prefers_the_near() -> None:
    costs = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    found = coupling(costs, 0.1)
    torch.testing.assert_close(found.sum(0), torch.full((2,), 1.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(3), atol=1e-3, rtol=0)
    assert float(found[0, 0]) == pytest.approx(float(found[1, 1]))
    assert float(found[0, 0]) > 0.99


def test_procrustes_undoes_a_rotation() -> None:
    rows, turn = states(50, 1)[:, 0], orthogonal(1, 4)[0]
    torch.testing.assert_close(procrustes(rows @ turn, rows), turn.T, atol=1e-4, rtol=0)
