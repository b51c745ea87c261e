"""Low-rank updates of different ranks, averaged as products: against dense products and their singular values."""

from __future__ import annotations

import torch

from sidelight.system.low_rank import factors_mean, padded, products_mean, trimmed, turned

DOWN, UP = "model.layers.0.fc.lora_A.default.weight", "model.layers.0.fc.lora_B.default.weight"
RANKS = (1, 2, 4)
GENERATOR = torch.Generator().manual_seed(0)


def state(rank: int, down: int = 7, up: int = 9) -> dict[str, torch.Tensor]:
    """B (up, rank), A (rank, down) and a head."""
    drawn = {DOWN: (rank, down), UP: (up, rank), "head": (3, 5)}
    return {name: torch.randn(shape, generator=GENERATOR) for name, shape in drawn.items()}


def product(factors: dict[str, torch.Tensor]) -> torch.Tensor:
    return factors[UP].double() @ factors[DOWN].double()


def test_padding_and_trimming_leave_products_as_they_are() -> None:
    one = state(2)
    torch.testing.assert_close(product(padded(one, 4)), product(one))
    back = trimmed(padded(one, 4), 2)
    assert all(torch.equal(back[name], tensor) for name, tensor in one.items())


def test_each_device_gets_the_best_approximation_of_the_mean_product_at_its_rank() -> None:
    states = [state(rank) for rank in RANKS]
    mean = products_mean([padded(one, 4) for one in states])
    dense = torch.stack([product(one) for one in states]).mean(0)
    u, values, v = torch.linalg.svd(dense)
    for rank in RANKS:
        expected = (u[:, :rank] * values[:rank]) @ v[:rank]
        torch.testing.assert_close(product(trimmed(mean, rank)), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mean["head"], torch.stack([one["head"] for one in states]).mean(0))
    assert list(mean) == list(states[0])


def test_the_mean_of_factors_is_another_than_that_of_products() -> None:
    states = [state(4), state(4)]
    assert float((product(factors_mean(states)) - product(products_mean(states))).norm()) > 0.1


def test_what_is_still_zero_can_be_trained_on() -> None:
    """Training starts with B of zero; A of zero beside it would leave both without a gradient."""
    states = [{**state(2), UP: torch.zeros(9, 2)} for _ in range(2)]
    mean = products_mean(states)
    assert not mean[UP].any()
    torch.testing.assert_close(mean[DOWN].norm(dim=1), torch.ones(2))


def test_a_map_narrower_than_the_rank_keeps_its_factors_shapes() -> None:
    states = [state(4, down=7, up=2) for _ in range(3)]
    mean = products_mean(states)
    assert (mean[DOWN].shape, mean[UP].shape) == ((4, 7), (2, 4))
    torch.testing.assert_close(
        product(mean), torch.stack([product(one) for one in states]).mean(0), atol=1e-5, rtol=1e-4
    )


def test_turned_factors_are_those_of_the_reference_where_only_a_rotation_lies_between() -> None:
    reference = state(3)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=GENERATOR))
    rotated = {**reference, DOWN: rotation @ reference[DOWN], UP: reference[UP] @ rotation.T}
    back = turned(rotated, reference)
    for name, tensor in reference.items():
        torch.testing.assert_close(back[name], tensor, atol=1e-5, rtol=1e-4)


def test_turning_brings_factors_nearer_and_leaves_the_product_as_it_is() -> None:
    one, reference = state(3), state(3)
    found = turned(one, reference)
    torch.testing.assert_close(product(found), product(one), atol=1e-5, rtol=1e-4)
    assert float((found[DOWN] - reference[DOWN]).norm()) < float((one[DOWN] - reference[DOWN]).norm())
