"""Text from the first attention at a pivot: what is summed, how it is taken apart, and what is found."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.attacks.evidence.pivots.first_attention import FirstAttention
from sidelight.attacks.evidence.pivots.language import Chain
from sidelight.attacks.evidence.pivots.pivot_attention import Around, PivotAttention, System
from sidelight.attacks.evidence.pivots.reference import lengths_of, measured, read_lengths
from sidelight.attacks.evidence.pivots.superposition import Effort, Superposition, decoded, likelihoods
from sidelight.attacks.evidence.states import Form
from sidelight.system.backbone import Backbone
from sidelight.system.clipping import clipped
from sidelight.system.codec import through

from ..contracts.micro import VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

COUNT, TAIL = 5, (7, 9)
FAMILIES = ("opt", "llama")
EFFORT = Effort(steps=16, kept=512)


def drawn(backbone: Backbone, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, backbone.vocabulary, (count, COUNT), generator=generator)


def system_of(micro: Micro, family: str) -> tuple[Backbone, System]:
    """The linear system of texts of five tokens before a tail of two."""
    backbone = micro.backbone(family)
    first = FirstAttention(str(micro.folders[family]))
    attention = PivotAttention(first, torch.arange(backbone.vocabulary), Form(COUNT, "", "last"))
    return backbone, attention.system(Around(tuple(backbone.prefix), TAIL), drawn(backbone, 64, seed=1))


def pivots(backbone: Backbone, texts: torch.Tensor) -> torch.Tensor:
    """The last token's states after the first block, from whole forward passes (B, d)."""
    rows = [[*backbone.prefix, *text, *TAIL] for text in texts.tolist()]
    return backbone.activations(backbone.pad(rows), 1)[:, -1, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_listed_sum_is_what_the_block_makes_its_state_from(micro: Micro, family: str) -> None:
    backbone, system = system_of(micro, family)
    texts = drawn(backbone, 8, seed=2)
    first = FirstAttention(str(micro.folders[family]))
    place = len(backbone.prefix) + COUNT + len(TAIL) - 1
    states = first.state(TAIL[-1], place, system.mixed(texts).flatten(1).double())
    assert torch.allclose(states.float(), pivots(backbone, texts), atol=1e-4)


def test_inverting_the_block_gives_what_the_attention_put_out(micro: Micro) -> None:
    backbone, system = system_of(micro, "opt")
    for text, state in zip(texts := drawn(backbone, 4, seed=3), pivots(backbone, texts), strict=True):
        wanted = system.mixed(text.unsqueeze(0)).flatten(1)
        roots = list(system.roots(state, torch.Generator().manual_seed(0)))
        nearest = min(float((root.mixed - wanted).norm() / wanted.norm()) for root in roots)
        assert nearest < 0.05


def test_the_right_tokens_alone_add_up(micro: Micro) -> None:
    backbone, system = system_of(micro, "opt")
    text = drawn(backbone, 1, seed=4)
    right = [
        mixed
        for root in system.roots(pivots(backbone, text)[0], torch.Generator().manual_seed(0))
        if (mixed := system.superposition(root)).distance(text[0]) < 2
    ]
    assert right
    assert right[0].beside(text[0]) > 2


def sum_of(texts: torch.Tensor, effects: torch.Tensor, noise: float) -> Superposition:
    received = effects[torch.arange(len(effects)), texts].sum(0)
    return Superposition(effects, received, torch.full((effects.shape[2],), noise))


class Uniform:
    """A language in which every token is as likely."""

    def expected(self, likelihoods: torch.Tensor) -> torch.Tensor:
        return uniform(likelihoods)

    def among(self, chosen: torch.Tensor) -> Uniform:
        return self


def uniform(found: torch.Tensor) -> torch.Tensor:
    return torch.full_like(found, 1 / found.shape[1])


def test_a_sum_of_one_in_500_at_each_of_12_places_is_taken_apart_in_256_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    effects = torch.randn(12, 500, 256, generator=generator)
    text = torch.randint(500, (12,), generator=generator)
    found = decoded(sum_of(text, effects, 1e-2), Uniform(), 0.5, EFFORT, 2.0)
    assert found.tokens.tolist() == text.tolist()
    assert found.distance < 1e-3


def test_no_tokens_are_claimed_to_add_up_to_something_else() -> None:
    generator = torch.Generator().manual_seed(1)
    effects = torch.randn(12, 500, 256, generator=generator)
    mixed = Superposition(effects, 4 * torch.randn(256, generator=generator), torch.full((256,), 1e-2))
    assert decoded(mixed, Uniform(), 0.5, EFFORT, 2.0).distance > 2.0


def test_likelihoods_of_one_place_are_those_of_the_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    effects, noise = torch.randn(1, 6, 3, generator=generator), torch.tensor([0.5, 1.0, 2.0])
    mixed = Superposition(effects, effects[0, 4] + 0.1, noise)
    found = likelihoods(mixed, uniform(torch.zeros(1, 6)))[0]
    wanted = torch.distributions.Normal(effects[0], noise.sqrt()).log_prob(mixed.received).sum(1)
    assert torch.allclose(found - found[0], wanted - wanted[0], atol=1e-4)


def test_beside_is_the_nearest_text_with_one_other_token() -> None:
    generator = torch.Generator().manual_seed(3)
    mixed = sum_of(torch.tensor([1, 2]), torch.randn(2, 5, 4, generator=generator), 0.1)
    others = [(a, b) for a, b in product(range(5), repeat=2) if (a == 1) != (b == 2)]
    wanted = min(mixed.distance(torch.tensor(other)) for other in others)
    assert mixed.beside(torch.tensor([1, 2])) == pytest.approx(wanted, rel=1e-4)


def test_a_chain_expects_of_a_place_what_enumerating_all_texts_gives() -> None:
    generator = torch.Generator().manual_seed(4)
    first, anywhere = torch.rand(2, 3, generator=generator).softmax(1)
    chain = Chain(first, torch.rand(3, 3, generator=generator).softmax(1), anywhere, share=0.2)
    told = torch.randn(4, 3, generator=generator)
    wanted = torch.zeros(4, 3)
    follow = 0.8 * chain.following + 0.2 * anywhere
    for text in product(range(3), repeat=4):
        chance = (0.8 * first + 0.2 * anywhere)[text[0]]
        for before, after in pairwise(text):
            chance = chance * follow[before, after]
        for place in range(4):
            rest = sum(float(told[other, text[other]]) for other in range(4) if other != place)
            wanted[place, text[place]] += chance * torch.tensor(rest).exp()
    assert torch.allclose(chain.expected(told), wanted / wanted.sum(1, keepdim=True), atol=1e-5)


def test_a_text_s_length_is_read_off_its_pivot(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    generator = torch.Generator().manual_seed(5)
    texts = torch.randint(3, backbone.vocabulary, (300, 6), generator=generator)
    form = Form(6, " about", "last")
    prepared = {"prior": torch.zeros(6), **lengths_of(measured(backbone, form, texts[:200], generator, [1, 2]))}
    checked = measured(backbone, form, texts[200:], generator, [1, 2])
    found = torch.stack([read_lengths(part.pivots, prepared)[:, 0] for part in checked])
    assert float((found == torch.arange(1, 7).unsqueeze(1)).float().mean()) > 0.9


@pytest.fixture(scope="module")
def guessed(micro: Micro) -> tuple[TextGuess, Planted]:
    """What is guessed of ten short texts behind which no prompt stands."""
    planted = from_run(micro, ATTACKS["unmix"](), pae(selector="last", prompt="", longest=6))
    asked = tuple(sample.id for sample in VICTIM[:10])
    planted = replace(planted, public=replace(planted.public, targets=asked))
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    return guess, planted


def test_texts_without_a_prompt_are_found_by_their_last_token_first(guessed: tuple[TextGuess, Planted]) -> None:
    guess, planted = guessed
    right = [planted.truth.tokens[i] == found for i, found in zip(guess.ids, guess.tokens, strict=True)]
    assert sum(right) >= 5


def test_what_is_certified_is_right(guessed: tuple[TextGuess, Planted]) -> None:
    guess, planted = guessed
    rows = zip(guess.ids, guess.tokens, guess.certified, strict=True)
    certified = [planted.truth.tokens[i] == found for i, found, sure in rows if sure]
    assert len(certified) >= 3
    assert all(certified)


def test_a_chain_among_some_candidates_expects_as_if_the_others_could_not_be() -> None:
    generator = torch.Generator().manual_seed(6)
    first, anywhere = torch.rand(2, 5, generator=generator).softmax(1)
    chain = Chain(first, torch.rand(5, 5, generator=generator).softmax(1), anywhere)
    chosen = torch.tensor([[0, 2], [1, 4], [3, 2]])
    told = torch.full((3, 5), -torch.inf).scatter(1, chosen, 0.0)
    found = chain.among(chosen).expected(torch.zeros(3, 2))
    # a place's own candidates are narrowed as well: its other tokens are left out of the whole chain's
    wanted = chain.expected(told).gather(1, chosen)
    assert torch.allclose(found, wanted / wanted.sum(1, keepdim=True), atol=1e-6)


def test_nothing_is_expected_of_a_text_without_unknown_tokens() -> None:
    chain = Chain(torch.ones(3) / 3, torch.ones(3, 3) / 3, torch.ones(3) / 3)
    assert chain.expected(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("sent", [{"precision": "fp16"}, {"precision": "int8"}, {"clip": 1.5}])
def test_rounded_or_clipped_states_still_tell_what_the_attention_put_out(micro: Micro, sent: dict[str, Any]) -> None:
    backbone, form = micro.backbone("opt"), Form(COUNT, "", "last")._replace(**sent)
    first = FirstAttention(str(micro.folders["opt"]), form.clip)
    attention = PivotAttention(first, torch.arange(backbone.vocabulary), form)
    system = attention.system(Around(tuple(backbone.prefix), TAIL), drawn(backbone, 64, seed=1))
    texts = drawn(backbone, 8, seed=7)
    states = clipped(pivots(backbone, texts), form.clip) if form.clip else pivots(backbone, texts)
    wanted, usual = system.mixed(texts).flatten(1), system.mixed(drawn(backbone, 64, seed=8)).flatten(1).mean(0)
    apart, before = [], []
    for state, right in zip(through(states, form.precision), wanted, strict=True):
        roots = system.roots(state, torch.Generator().manual_seed(0), 4)
        apart.append(min((float((root.mixed - right).norm()) for root in roots), default=torch.inf))
        before.append(float((usual - right).norm()))
    assert sum(apart) < 0.25 * sum(before)
