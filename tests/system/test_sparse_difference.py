"""Sparse differences: the next token is always among the entries, and errors are those over the whole vocabulary."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from sidelight.system.side_network import SideNetwork, SideShape
from sidelight.system.sparse_difference import Sparse, sparse_difference, sparse_error


def dense(sent: Sparse, vocabulary: int) -> torch.Tensor:
    """(P, V) with zeros where nothing crossed."""
    return torch.zeros(len(sent.indices), vocabulary, dtype=sent.values.dtype).scatter(1, sent.indices, sent.values)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("entries", range(1, 15))
def test_the_next_token_crosses_whatever_the_model_says(entries: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(entries)
    # at the largest sharpness probabilities are 0 and 1 exactly: a certain next token has an entry of size 0
    chances = (sharpness * torch.randn(200, 12, generator=generator)).softmax(1)
    targets = torch.randint(12, (200,), generator=generator)
    targets[:100] = chances[:100].argmax(1)
    sent = sparse_difference(chances, targets, entries)
    whole = one_hot(targets, 12) - chances
    assert sent.indices.shape == sent.values.shape == (200, min(entries, 12))
    assert (sent.indices == targets.unsqueeze(1)).any(1).all()
    assert (sent.indices.diff(dim=1) > 0).all()
    torch.testing.assert_close(sent.values, whole.gather(1, sent.indices))
    left = whole.abs().scatter(1, sent.indices, 0.0).amax(1)
    assert (left <= sent.values.abs().amin(1) + 1e-6).all()


def test_all_entries_are_the_difference_itself_in_the_vocabularys_order() -> None:
    chances = torch.rand(5, 9, generator=torch.Generator().manual_seed(0)).softmax(1)
    targets = torch.tensor([0, 8, 3, 3, 1])
    sent = sparse_difference(chances, targets, 100)
    assert torch.equal(sent.indices, torch.arange(9).expand(5, 9))
    assert torch.equal(sent.values, one_hot(targets, 9) - chances)


@pytest.mark.parametrize(
    ("positions", "entries"), [(5, 3), (40, 3), (40, 30)], ids=["few positions", "by the form", "many entries"]
)
def test_the_error_and_its_gradients_are_those_of_the_dense_target(positions: int, entries: int) -> None:
    generator = torch.Generator().manual_seed(1)
    network = SideNetwork(SideShape(3, 8, 4, 50), generator).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    activations = torch.randn(positions, 3, 8, generator=generator, dtype=torch.float64)
    chances = torch.randn(positions, 50, generator=generator, dtype=torch.float64).softmax(1)
    sent = sparse_difference(chances, torch.randint(50, (positions,), generator=generator), entries)
    wanted = (network(activations) - dense(sent, 50)).square().sum(1).mean()
    found = sparse_error(network, activations, sent)
    torch.testing.assert_close(found, wanted)
    weights = list(network.parameters())
    for one, other in zip(torch.autograd.grad(found, weights), torch.autograd.grad(wanted, weights), strict=True):
        torch.testing.assert_close(one, other)
