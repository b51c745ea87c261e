"""Estimated shares: scores of classes that no difference was about, and values that are of no class."""

from __future__ import annotations

import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.evidence.differences import differences
from sidelight.attacks.evidence.labels.probing import Linear
from sidelight.attacks.evidence.labels.secret_heads import Slope
from sidelight.attacks.evidence.labels.secret_shares import LinearShare, SoftmaxShare, estimated
from sidelight.attacks.evidence.labels.unseen import below_seen
from sidelight.audits.cells.scoring import calibrated

from ..contracts.leaks_grouped import defence, secret_head
from ..contracts.leaks_models import keyed
from ..contracts.micro import Micro

NOTHING = Slope(torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
"""A share that is zero whatever a head reads."""


def test_an_unseen_class_is_never_said_and_leaves_the_others_as_they_are() -> None:
    scores = torch.tensor([[3.0, 9.0, 1.0], [-2.0, torch.nan, -8.0]])
    found = below_seen(scores, torch.tensor([True, False, True]))
    torch.testing.assert_close(found, torch.tensor([[3.0, -3.0, 1.0], [-2.0, -12.0, -8.0]]))
    alone = below_seen(torch.tensor([[5.0, 0.0], [5.0, 0.0]]), torch.tensor([True, False]))
    assert alone.argmax(1).tolist() == [0, 0]


def test_a_class_that_no_difference_was_about_does_not_flatten_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(200, 3, generator=generator)
    outputs[:, 2] = outputs.min() - 1
    centres = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [torch.nan] * 3])
    found = LinearShare(NOTHING, centres).scores(torch.zeros(200, 2), outputs)
    said = outputs.argmax(1)
    assert torch.equal(found.argmax(1), said)
    labels = torch.where(torch.rand(200, generator=generator) < 0.1, 1 - said, said)
    own, victim = (calibrated(scores, labels) for scores in (found, outputs))
    apart = (own - victim).abs().sum(1) / 2
    assert float(apart.mean()) < 0.05


def test_values_of_no_class_count_for_none() -> None:
    slope = Slope(torch.zeros(3, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    outputs = torch.tensor([[0.3, 0.1, 0.2, 0.9, 0.8], [0.0, 0.1, 0.2, 0.9, 0.8]])
    found = SoftmaxShare(slope, torch.tensor([0, 1, 2, 3, 3]), 3).scores(torch.zeros(2, 2), outputs)
    torch.testing.assert_close(found, outputs[:, :3] + 1 / 5)
    missing = SoftmaxShare(slope, torch.tensor([0, 1, 3, 3, 3]), 3).scores(torch.zeros(2, 2), outputs)
    assert missing.argmax(1).tolist() == [0, 1]
    assert bool((missing[:, 2] < missing[:, :2].amin(1)).all())


def test_decoy_classes_are_not_taken_for_the_last_class(micro: Micro) -> None:
    protocol = secret_head(defence("decoy", classes=4, samples=0.5), difference="probability")
    planted = keyed(micro, ATTACKS["head"](), protocol)
    found = differences(planted.view, planted.public)
    share = estimated(found, planted.public, torch.Generator().manual_seed(0))
    assert isinstance(share, SoftmaxShare)
    assert share.names.tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6]


def test_logarithms_are_of_the_same_probabilities_and_finite_for_a_class_without_a_row() -> None:
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    whole = Linear(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0.0, 1.0, -1.0]))
    torch.testing.assert_close(whole.logarithms(rows).exp(), whole.probabilities(rows))
    found = whole._replace(bias=torch.tensor([0.0, -torch.inf, 1.0])).logarithms(rows)
    assert bool(found.isfinite().all())
    assert bool((found[:, 1] < found[:, [0, 2]].amin(1)).all())
