"""Which position's states stand for a text."""

from __future__ import annotations

import torch

from sidelight.system.selector import SELECTORS, select

STATES = torch.tensor([[[1.0], [3.0], [8.0]], [[5.0], [99.0], [99.0]]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def test_first_last_and_mean_by_hand() -> None:
    assert SELECTORS == ("last", "first", "mean")
    assert select(STATES, MASK, "first").tolist() == [[1.0], [5.0]]
    assert select(STATES, MASK, "last").tolist() == [[8.0], [5.0]]
    assert select(STATES, MASK, "mean").tolist() == [[4.0], [5.0]]


def test_layers_and_width_are_kept() -> None:
    states = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    for selector, expected in (("first", states[:, 0]), ("last", torch.stack([states[0, 2], states[1, 0]]))):
        assert torch.equal(select(states, MASK, selector), expected)  # type: ignore[arg-type]
    torch.testing.assert_close(select(states, MASK, "mean"), torch.stack([states[0].mean(0), states[1, 0]]))


def test_padding_does_not_count() -> None:
    other = STATES.masked_fill(MASK.unsqueeze(2) == 0, -7.0)
    for selector in SELECTORS:
        assert torch.equal(select(STATES, MASK, selector), select(other, MASK, selector))
