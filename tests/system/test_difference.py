"""What the device sends instead of a label."""

from __future__ import annotations

import math

import pytest
import torch

from sidelight.system.difference import DIFFERENCE_KINDS, difference, fused

SCORES = torch.randn(200, 7, generator=torch.Generator().manual_seed(1)) * 3
LABELS = torch.arange(200) % 7


def test_a_probability_difference_by_hand() -> None:
    """Scores ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8."""
    scores = torch.tensor([[0.0, math.log(2), math.log(5)]])
    found = difference("probability", scores, torch.tensor([1]), scale=8.0)
    torch.testing.assert_close(found, torch.tensor([[-0.125, 0.75, -0.625]]))


def test_a_logit_difference_by_hand() -> None:
    found = difference("logit", torch.tensor([[1.0, -2.0, 3.0]]), torch.tensor([1]), scale=8.0)
    assert found.tolist() == [[-1.0, 10.0, -3.0]]


def test_rows_of_a_probability_difference_sum_to_zero_with_the_label_alone_positive() -> None:
    rows = difference("probability", SCORES, LABELS, 8.0)
    torch.testing.assert_close(rows.sum(1), torch.zeros(200), atol=1e-6, rtol=0)
    assert torch.equal((rows > 0).int().argmax(1), LABELS)
    assert ((rows > 0).sum(1) == 1).all()


@pytest.mark.parametrize("kind", DIFFERENCE_KINDS)
def test_adding_back_the_backbones_share_gives_the_one_hot_target(kind: str) -> None:
    height = {"probability": 1.0, "logit": 8.0}[kind]
    back = difference(kind, SCORES, LABELS, 8.0) + fused(kind, SCORES)  # type: ignore[arg-type]
    torch.testing.assert_close(back, height * torch.eye(7)[LABELS], atol=1e-5, rtol=0)
