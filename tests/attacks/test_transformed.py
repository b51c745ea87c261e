"""Labels behind secret rotations, orders and scales: known figures on made-up outputs.

Made-up data: class scores are Gaussian, the backbone's share is their softmax or the scores themselves, labels are
uniform unless said otherwise. The differences are formed here, not by the code under test.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch.nn.functional import one_hot

from sidelight.attacks.evidence.labels.alignment import Solve, aligned, permutation, rotation
from sidelight.attacks.evidence.labels.angles import Beam, by_angles
from sidelight.attacks.evidence.labels.candidates import Candidates
from sidelight.attacks.evidence.labels.lengths import by_length
from sidelight.attacks.labels.norm import Norm, disturbed
from sidelight.attacks.labels.ratio import distances
from sidelight.system.codec import Precision, through
from sidelight.system.errors import UsageError

from ..contracts import leaks_transformed as secret
from ..contracts.leaks_transformed import Disguise

COUNT = 500
HEIGHT = 5.0


class World(NamedTuple):
    """Differences (N, K) with their labels, and what the server knows."""

    difference: torch.Tensor
    labels: torch.Tensor
    candidates: Candidates
    generator: torch.Generator

    def share(self, guess: torch.Tensor) -> float:
        """Labels found, from labels (N,) or probabilities (N, K)."""
        found = guess if guess.dim() == 1 else guess.argmax(1)
        return float((found == self.labels).double().mean())

    def sent(self, disguise: Disguise, precision: Precision = "fp32") -> torch.Tensor:
        return through(disguise(self.difference, self.generator), precision)


def world(kind: str, classes: int, spread: float = 1.5, predicted: bool = False) -> World:
    """`predicted`: labels are drawn from the backbone's own probabilities."""
    generator = torch.Generator().manual_seed(classes)
    scores = spread * torch.randn(COUNT, classes, generator=generator)
    labels = torch.randint(classes, (COUNT,), generator=generator)
    if predicted:
        labels = torch.multinomial(scores.softmax(1), 1, generator=generator).squeeze(1)
    share, height = (scores.softmax(1), 1.0) if kind == "probability" else (scores, HEIGHT)
    difference = -share.clone()
    difference[torch.arange(COUNT), labels] += height
    opinion = scores.double().softmax(1)
    known = Candidates(torch.eye(classes).double(), torch.arange(classes), share.double(), height, opinion)
    return World(difference, labels, known, generator)


def by_norm(made: World, received: torch.Tensor, free_height: bool = False) -> torch.Tensor:
    return by_length(received, made.candidates, torch.Generator().manual_seed(1), free_height).weights


kinds = pytest.mark.parametrize("kind", ["probability", "logit"])


# --- lengths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "classes"), [*product(["probability", "logit"], [2, 4, 20]), ("logit", 77), ("probability", 150)]
)
def test_lengths_give_every_label_under_a_fresh_rotation_for_each_sample(kind: str, classes: int) -> None:
    made = world(kind, classes)
    received = 2.3 * made.sent(secret.turned_anew)
    assert made.share(by_norm(made, received)) >= 0.99


@pytest.mark.parametrize(("precision", "least", "most"), [("fp16", 0.81, 0.97), ("int8", 0.26, 0.77)])
def test_lengths_lose_labels_at_low_precision_within_the_known_range(
    precision: Precision, least: float, most: float
) -> None:
    """Twenty classes, probability."""
    made = world("probability", 20)
    assert least <= made.share(by_norm(made, made.sent(secret.rotated, precision))) <= most


@pytest.mark.parametrize(("classes", "known"), [(2, 0.995), (4, 0.988), (20, 0.965), (150, 0.822)])
def test_one_per_cent_error_of_the_output_costs_what_is_known(classes: int, known: float) -> None:
    """Labels that the backbone predicts, as in the figures; uniform labels are hit much less."""
    made = world("probability", classes, spread=3.0, predicted=True)
    wrong = made._replace(candidates=disturbed(made.candidates, 0.01, made.generator))
    assert made.share(by_norm(wrong, made.sent(secret.turned_anew))) == pytest.approx(known, abs=0.04)


@pytest.mark.parametrize("gain", [1.0, 0.4])
@pytest.mark.parametrize("classes", [2, 20])
def test_gain_and_height_are_fitted_where_the_public_height_is_false(classes: int, gain: float) -> None:
    made = world("logit", classes)
    misled = replace(made.candidates, height=1.7 * HEIGHT)
    found = by_length(gain * made.sent(secret.rotated), misled, torch.Generator(), free_height=True)
    assert found.gain == pytest.approx(gain, rel=1e-3)
    assert found.height == pytest.approx(HEIGHT, rel=1e-3)
    assert made.share(found.weights) == 1.0


def test_a_constant_part_of_the_length_is_fitted() -> None:
    """Columns that the server knows nothing of add their own length, here 3 with a little variation."""
    made = world("logit", 6)
    decoys = torch.full((COUNT, 3), 1.0) + 1e-3 * torch.randn(COUNT, 3, generator=made.generator)
    found = by_norm(made, torch.cat([made.difference, decoys], 1))
    assert made.share(found) >= 0.9


def test_an_error_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="the error of norm is -1; give 0 or more"):
        Norm(error=-1)


# --- alignment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "classes"), [*product(["probability", "logit"], [2, 4, 20]), ("probability", 60)])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_alignment_repairs_what_lengths_lose_to_rounding(kind: str, classes: int, precision: Precision) -> None:
    made = world(kind, classes)
    for disguise, solve in ((secret.rotated, rotation), (secret.permuted, permutation)):
        received = 0.6 * made.sent(disguise, precision).double()
        found = aligned(received, made.candidates, by_norm(made, received), solve)
        assert made.share(found.weights) == 1.0


def test_the_family_that_the_transform_is_of_has_the_better_criterion() -> None:
    made = world("probability", 12)
    for disguise, better, worse in ((secret.rotated, rotation, permutation), (secret.permuted, permutation, rotation)):
        received = made.sent(disguise, "int8").double()
        start = by_norm(made, received)
        right, wrong = (aligned(received, made.candidates, start, solve) for solve in (better, worse))
        assert right.criterion < wrong.criterion


def test_the_estimated_order_is_the_secret_one() -> None:
    made = world("probability", 12)
    received = made.sent(secret.permuted, "int8").double()
    found = aligned(received, made.candidates, by_norm(made, received), permutation)
    assert torch.equal(found.transform, secret.permuted(torch.eye(12), made.generator).double())


@pytest.mark.parametrize("solve", [rotation, permutation])
def test_a_transform_of_an_estimate_is_orthonormal(solve: Solve) -> None:
    moments = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = solve(moments)
    assert torch.allclose(found @ found.T, torch.eye(5, dtype=torch.float64))


@pytest.mark.parametrize("solve", [rotation, permutation])
def test_exchanged_names_are_put_right(solve: Solve) -> None:
    """Started from the right groups with every name moved on by one."""
    made = world("probability", 10)
    received = made.sent(secret.rotated if solve is rotation else secret.permuted, "int8").double()
    moved = one_hot((made.labels + 1) % 10, 10).double()
    assert made.share(aligned(received, made.candidates, moved, solve).weights) == 1.0


def test_a_fixed_rotation_is_found_without_any_help_from_lengths() -> None:
    made = world("probability", 20)
    nothing = torch.full((COUNT, 20), 1 / 20, dtype=torch.float64)
    found = aligned(made.sent(secret.rotated, "int8").double(), made.candidates, nothing, rotation)
    assert made.share(found.weights) == 1.0


def test_alignment_sees_through_noise_that_hides_every_length() -> None:
    """Noise of 0.2 an entry: lengths are next to useless, one transform for all samples is still found."""
    made = world("probability", 10)
    noise = 0.2 * torch.randn(made.difference.shape, generator=made.generator)
    received = (made.difference + noise) @ secret.rotation(10)
    start = by_norm(made, received)
    found = aligned(received.double(), made.candidates, start, rotation)
    assert made.share(start) < 0.4
    assert made.share(found.weights) > 0.9


def test_alignment_ignores_decoy_columns_of_a_logit_difference() -> None:
    """Three more columns that the server has no row of the head for, rotated together with the real ones."""
    made = world("logit", 6)
    decoys = torch.randn(COUNT, 3, generator=made.generator)
    received = (torch.cat([made.difference, decoys], 1) @ secret.rotation(9)).double()
    found = aligned(received, made.candidates, by_norm(made, received), rotation)
    assert made.share(found.weights) > 0.95


# --- angles and ratios ----------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("classes", [2, 4, 10, 20])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_angles_give_every_label_behind_a_rotation_and_a_scale_for_each_sample(
    kind: str, classes: int, precision: Precision
) -> None:
    made = world(kind, classes)
    received = made.sent(secret.scaled_and_rotated, precision).double()
    found = by_angles(received, made.candidates, Beam(starts=2), made.generator).weights
    assert made.share(found) == 1.0


@kinds
@pytest.mark.parametrize("classes", [3, 4, 20, 77])
def test_ratios_give_every_label_behind_fresh_orders_and_scales(kind: str, classes: int) -> None:
    made = world(kind, classes)
    found = distances(made.sent(secret.scaled_and_shuffled).double(), made.candidates).argmin(1)
    assert made.share(found) >= 0.99


def test_ratios_of_two_classes_say_nothing_of_a_probability_difference() -> None:
    made = world("probability", 2)
    received = made.sent(secret.scaled_and_shuffled, "fp16").double()
    assert distances(received, made.candidates).max() < 1e-6
