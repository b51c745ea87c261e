"""What a tuned language model says: compared with whole passes over single texts."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from sidelight.system.backbone import Backbone
from sidelight.system.language import chances, class_likelihoods, completion, loss_positions, quality, tuned_chances
from sidelight.system.side_network import SideNetwork, SideShape

from ..contracts.micro import VICTIM, Micro

TEXTS = [sample.text for sample in VICTIM[:5]]


@pytest.fixture(params=["opt", "llama"])
def backbone(micro: Micro, request: pytest.FixtureRequest) -> Backbone:
    return micro.backbone(request.param)


def silent(backbone: Backbone) -> SideNetwork:
    """A side network before any training: its output map is zero."""
    shape = SideShape(len(backbone.blocks), backbone.width, 4, backbone.vocabulary)
    return SideNetwork(shape, torch.Generator().manual_seed(0))


def side_of(backbone: Backbone) -> SideNetwork:
    """A side network that says something, in no proportion to probabilities."""
    generator = torch.Generator().manual_seed(3)
    network = SideNetwork(SideShape(len(backbone.blocks), backbone.width, 4, backbone.vocabulary), generator)
    with torch.no_grad():
        network.out.copy_(0.01 * torch.randn(network.out.shape, generator=generator))
    return network


@torch.no_grad()
def own_logarithms(backbone: Backbone, ids: list[int]) -> torch.Tensor:
    """The backbone's log-probability of each token but the first, by its own head."""
    logits: torch.Tensor = backbone.model(torch.tensor([ids])).logits[0].log_softmax(1)
    return logits[:-1].gather(1, torch.tensor(ids[1:]).unsqueeze(1)).squeeze(1)


def test_perplexity_and_accuracy_of_the_backbone_are_its_own(backbone: Backbone) -> None:
    rows = [[*backbone.prefix, *backbone.token_ids(text)] for text in TEXTS]
    nats = torch.cat([own_logarithms(backbone, row) for row in rows])
    right = sum(
        int((backbone.model(torch.tensor([row])).logits[0, :-1].argmax(1) == torch.tensor(row[1:])).sum())
        for row in rows
    )
    found = quality(backbone, partial(chances, backbone), TEXTS, 48)
    assert found.tokens == len(nats)
    assert found.perplexity == pytest.approx(math.exp(-float(nats.mean())), rel=1e-4)
    assert found.accuracy == pytest.approx(right / len(nats))


def test_a_classs_likelihood_is_that_of_its_words_behind_the_text_and_the_prompt(backbone: Backbone) -> None:
    labels = ("music", "garden shed", "x")
    found = class_likelihoods(backbone, silent(backbone), TEXTS, 4, " topic:", labels)
    for row, text in zip(found, TEXTS, strict=True):
        before = [*backbone.prefix, *backbone.token_ids(text, 4), *backbone.token_ids(" topic:")]
        for said, label in zip(row.tolist(), labels, strict=True):
            end = backbone.token_ids(completion(label))
            assert said == pytest.approx(float(own_logarithms(backbone, [*before, *end])[-len(end) :].sum()), abs=1e-3)


@torch.no_grad()
def test_a_next_tokens_distribution_is_the_sum_cut_below_at_a_tenth_of_the_backbones(backbone: Backbone) -> None:
    side = side_of(backbone)
    states = loss_positions(backbone, backbone.tokens(TEXTS, 48)).states
    own, found = chances(backbone, states), tuned_chances(backbone, side, states)
    torch.testing.assert_close(found.sum(1), torch.ones(len(states)))
    cut = (own + side(states)) < 0.1 * own
    assert 0 < int(cut.sum()) < cut.numel()
    mass = torch.where(cut, 0.1 * own, own + side(states))
    torch.testing.assert_close(found, mass / mass.sum(1, keepdim=True))


def test_no_classs_words_begin_anothers() -> None:
    assert not completion("card payment").startswith(completion("card"))
    assert completion("card_arrival?") == " card arrival."
