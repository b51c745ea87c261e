"""Groups from points alone, and a slope that groups share."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from sidelight.attacks.evidence.labels.grouping import discriminated, separation, spanned, swapped, whitened
from sidelight.attacks.evidence.labels.mixture import fit, slope_of_pairs

from .grouped_rows import WIDTH, Made, drawn, matched


def test_a_slope_is_found_in_spite_of_wrong_pairs() -> None:
    """Sixty of a hundred pairs come from two groups, in directions of their own."""
    generator = drawn(6)
    slope = torch.randn(5, 3, generator=generator)
    features = torch.randn(2000, 5, generator=generator)
    values = features @ slope
    pairs = torch.arange(2000).reshape(-1, 2)
    values[pairs[:600, 0]] += 5 * normalize(torch.randn(600, 3, generator=generator), dim=1)
    assert (slope_of_pairs(values, features, pairs) - slope).abs().max() < 0.01


def test_separation_by_hand() -> None:
    """Centres 0.5 and 10.5: distances 0.5 to the own and 10.5, 9.5, 9.5, 10.5 to the other."""
    points, groups = torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([0, 0, 3, 3])
    assert separation(points, groups) == pytest.approx(1 - (0.5 / 10.5 + 0.5 / 9.5) / 2)
    assert separation(points, groups, spent=0.75) == pytest.approx(1 - (1 / 10.5 + 1 / 9.5) / 2)
    assert separation(points, torch.zeros(4).long()) == -1.0


def test_whitened_features_have_the_identity_for_covariance_and_no_empty_direction() -> None:
    features = torch.randn(500, 4, generator=drawn(7))
    white = whitened(torch.cat([features, features[:, :1] + 3], dim=1))
    assert white.shape == (500, 4)
    assert torch.allclose(white.T @ white / 500, torch.eye(4), atol=1e-4)


def test_swaps_mend_a_split_and_a_merged_group() -> None:
    """Three groups of points, of which one was cut in two while the others were taken for one."""
    points = torch.tensor([0.0, 10.0, 20.0]).repeat_interleave(30).unsqueeze(1)
    points = points + 0.1 * torch.randn(90, 1, generator=drawn(8))
    wrong = torch.cat([torch.arange(30) % 2, torch.full((60,), 2)])
    truth = torch.arange(3).repeat_interleave(30)
    assert matched(wrong, truth) < matched(swapped(points, wrong, drawn(9)), truth) == 1.0


def test_points_are_kept_to_as_many_directions_as_centres_span() -> None:
    centres = torch.randn(4, 30, generator=drawn(10))
    points = centres[torch.arange(200) % 4]
    reduced = spanned(points, 4)
    assert reduced.shape == (200, 3)
    assert torch.allclose(torch.cdist(reduced, reduced), torch.cdist(points, points), atol=1e-2)


def test_a_discriminant_never_names_a_class_without_a_row() -> None:
    points = torch.randn(40, 5, generator=drawn(11))
    labels = torch.where(torch.arange(40) < 6, torch.arange(40) % 2, -1)
    assert set(discriminated(points, labels, 3).argmax(1).tolist()) == {0, 1}


def test_more_rows_than_are_fitted_at_once_are_grouped_too() -> None:
    made = Made(5, 6000)
    mixture = fit(made.difference, layer_norm(made.pivots, (WIDTH,)), 5, drawn())
    assert matched(mixture.groups, made.labels) == 1.0
