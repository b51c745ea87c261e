"""Putting the backbone's and the side network's shares together, and packing positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sidelight.system.backbone import Tokens
from sidelight.system.fusion import additive, pack_positions, pivot_activations, positionwise, unpack_positions
from sidelight.system.selector import ONE_STATE, Selector
from sidelight.system.side_network import SideNetwork, SideShape

from ..contracts.micro import VICTIM, Micro

TEXTS = [sample.text for sample in VICTIM[:6]]


def side(layers: int) -> SideNetwork:
    generator = torch.Generator().manual_seed(4)
    network = SideNetwork(SideShape(layers, 32, 4, 3), generator)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return network.requires_grad_(False)


@pytest.mark.parametrize("kind", ["probability", "logit"])
@torch.no_grad()
def test_the_prediction_is_the_backbones_share_plus_the_side_networks(micro: Micro, kind: str) -> None:
    backbone, network = micro.backbone("llama"), side(2)
    head = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    pivots = pivot_activations(backbone, TEXTS, 48, "", "last")
    last = pivots[:, -1].double().numpy()
    norm = backbone.model.model.norm
    normed = last / np.sqrt((last**2).mean(1, keepdims=True) + norm.variance_epsilon) * norm.weight.double().numpy()
    scores = normed @ head.double().numpy().T
    share = scores if kind == "logit" else np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = additive(kind, head, backbone, pivots, network)  # type: ignore[arg-type]
    np.testing.assert_allclose((found - network(pivots)).numpy(), share, atol=1e-4)


@pytest.mark.parametrize("selector", sorted(ONE_STATE))
@torch.no_grad()
def test_pivots_and_positions_of_a_batch_are_those_of_each_text_alone(micro: Micro, selector: Selector) -> None:
    backbone, network = micro.backbone("opt"), side(3)
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    together = positionwise(network, *pack_positions(backbone.activations(tokens), tokens), selector)
    pivots = pivot_activations(backbone, TEXTS, 48, " topic:", selector)
    for row, text in enumerate(TEXTS):
        states = backbone.activations(backbone.tokens([text], 48, " topic:"))[0]
        at = {"first": states[:1], "last": states[-1:], "mean": states}[selector]
        torch.testing.assert_close(pivots[row], at.mean(0), atol=1e-5, rtol=1e-5)
        expected = network.read_out(network.features(at).mean(0))
        torch.testing.assert_close(together[row], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pivots_of_some_layers_are_those_of_all_and_need_no_deeper_block(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    every = pivot_activations(backbone, TEXTS, 48, "", "mean")
    ran: list[int] = []
    for at, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda *_, at=at: ran.append(at))
    found = pivot_activations(backbone, TEXTS, 48, "", "mean", (1, 2))
    torch.testing.assert_close(found, every[:, :2], rtol=0, atol=0)
    assert set(ran) == {0, 1}


def test_packing_drops_the_padding_and_unpacking_brings_it_back() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    states = torch.arange(18.0).view(3, 3, 2)
    packed, lengths = pack_positions(states, Tokens(torch.zeros(3, 3), mask))
    assert packed[:, 0].tolist() == [0, 2, 4, 6, 12, 14]
    assert lengths.tolist() == [3, 1, 2]
    parts, back = unpack_positions(packed, lengths)
    assert torch.equal(back, mask)
    assert torch.equal(parts, states * mask.unsqueeze(2))
