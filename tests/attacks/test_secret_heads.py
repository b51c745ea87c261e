"""What differences tell of a head that only the device knows, on heads that are drawn here."""

from __future__ import annotations

import numpy
import pytest
import torch
from scipy.linalg import subspace_angles

from sidelight.attacks.evidence.labels.secret_heads import (
    in_span,
    one_positive,
    slope_of,
    softmax_slope,
    span_of,
    with_ones,
)

ROWS, CLASSES, WIDTH, OUTPUTS = 300, 5, 12, 40


class Drawn:
    """Features (N, d), a head (D, d) and targets in groups."""

    def __init__(self, outputs: int = OUTPUTS, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.randn(ROWS, WIDTH, generator=generator) + 0.5
        self.head = torch.randn(outputs, WIDTH, generator=generator)
        self.groups = torch.randint(CLASSES, (ROWS,), generator=generator)
        self.centres = 5 * torch.randn(CLASSES, outputs, generator=generator)
        self.noise = torch.randn(ROWS, outputs, generator=generator)

    def values(self, noise: float = 0.0) -> torch.Tensor:
        """Differences (N, D) of logits."""
        return self.centres[self.groups] - self.features @ self.head.T + noise * self.noise


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
def test_width_and_columns_of_a_head_with_more_outputs_than_the_backbone_is_wide(noise: float) -> None:
    drawn = Drawn()
    found = span_of(drawn.values(noise), drawn.groups)
    assert found.width == WIDTH
    apart = subspace_angles(found.basis.T.double().numpy(), drawn.head.double().numpy())
    assert float(numpy.max(apart)) < 1e-5 + 2 * noise


def test_without_groups_the_centres_directions_are_counted_as_well() -> None:
    drawn = Drawn()
    found = span_of(drawn.values(), torch.zeros(ROWS, dtype=torch.int64))
    assert found.width == WIDTH + CLASSES - 1


def test_a_head_with_fewer_outputs_fills_all_directions() -> None:
    drawn = Drawn(outputs=8)
    assert span_of(drawn.values(), drawn.groups).width == 8


def test_noise_outside_of_the_span_is_taken_away() -> None:
    drawn = Drawn()
    left = in_span(drawn.values(0.1), drawn.groups) - drawn.values()
    share = float(left.square().sum() / (0.1 * drawn.noise).square().sum())
    free = (
        WIDTH * (ROWS - CLASSES + OUTPUTS - WIDTH) + CLASSES * OUTPUTS
    )  # values of a fit of that rank, and of centres
    assert share == pytest.approx(free / (ROWS * OUTPUTS), abs=0.02)


def test_the_head_itself_follows_from_groups_and_features() -> None:
    drawn = Drawn()
    found = slope_of(drawn.values(), drawn.features, drawn.groups)
    torch.testing.assert_close(found.weight.float(), -drawn.head.T, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.share(drawn.features).mean(0), torch.zeros(OUTPUTS), atol=1e-4, rtol=0)


def test_probabilities_give_the_head_up_to_what_no_softmax_tells() -> None:
    drawn, bias = Drawn(outputs=6), torch.linspace(-1, 1, 6)
    softmax = (drawn.features @ drawn.head.T + bias).softmax(1)
    values = torch.nn.functional.one_hot(drawn.groups, 6) - softmax
    assert one_positive(values)
    assert not one_positive(drawn.values())
    fresh = torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(1))
    found = softmax_slope(values, drawn.features).share(with_ones(fresh)).softmax(1)
    torch.testing.assert_close(found, (fresh @ drawn.head.T + bias).softmax(1), atol=1e-4, rtol=0)
