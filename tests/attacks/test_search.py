"""Text from pooled states: what tokens add, how a text is changed, and what is found."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.attacks.evidence.pivots.beforehand import affordable
from sidelight.attacks.evidence.pivots.language import Chain
from sidelight.attacks.evidence.pivots.neighbours import (
    Neighbourhood,
    believed,
    changed,
    longer,
    neighbourhood,
    reordered,
    shorter,
)
from sidelight.attacks.evidence.pivots.pooled import Pooled, Scale, Table
from sidelight.attacks.evidence.states import Form, exactly_sent
from sidelight.system.backbone import Backbone
from sidelight.system.errors import UsageError

from ..contracts.micro import VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

COUNT, LAYERS = 5, [1, 2]
TEXT = torch.tensor([3, 1, 4, 1, 5])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scale_of(micro: Micro, **form: Any) -> tuple[Backbone, Scale]:
    """Of texts of five tokens, any of the vocabulary, before a prompt."""
    backbone = micro.backbone("opt")
    texts = torch.randint(3, backbone.vocabulary, (64, COUNT), generator=generator(0))
    table = Table(backbone, LAYERS, torch.arange(backbone.vocabulary), texts, generator(1))
    return backbone, Scale(table, Form(COUNT, " about", "mean", "mean")._replace(**form), [COUNT] * 3, generator(2))


def pooled_states(backbone: Backbone, texts: torch.Tensor) -> torch.Tensor:
    """Of texts (B, n), by whole forward passes: (B, layers d)."""
    tail = backbone.token_ids(" about")
    rows = [[*backbone.prefix, *text, *tail] for text in texts.tolist()]
    return backbone.activations(backbone.pad(rows), max(LAYERS)).mean(1).flatten(1)


def uniform(count: int) -> Chain:
    return Chain(torch.ones(count) / count, torch.ones(count, count) / count, torch.ones(count) / count)


def test_the_table_lists_the_state_of_every_token_at_the_first_place(micro: Micro) -> None:
    backbone, scale = scale_of(micro)
    tokens = torch.arange(backbone.vocabulary).unsqueeze(1)
    rows = [[*backbone.prefix, *row] for row in tokens.tolist()]
    wanted = backbone.activations(backbone.pad(rows), max(LAYERS))[:, -1].flatten(1)
    assert torch.allclose(scale.table.own[0], wanted, atol=1e-5)


def test_features_are_those_of_whole_forward_passes(micro: Micro) -> None:
    backbone, scale = scale_of(micro)
    texts = torch.randint(3, backbone.vocabulary, (7, COUNT), generator=generator(3))
    assert torch.allclose(scale.of(texts), pooled_states(backbone, texts) @ scale.whitener, atol=1e-3)


def test_the_sum_of_a_text_of_one_token_leaves_nothing_unexplained(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    texts = torch.randint(3, backbone.vocabulary, (64, 1), generator=generator(0))
    table = Table(backbone, LAYERS, torch.arange(backbone.vocabulary), texts, generator(1))
    compared = Scale(table, Form(1, "", "mean", "mean"), [1], generator(2)).compared(1, 32)
    assert float(compared.left.abs().max()) < 1e-5 < float(table.own.std())


def test_effects_of_changes_are_what_the_backbone_makes_of_them(micro: Micro) -> None:
    backbone, scale = scale_of(micro)
    received = scale.of(torch.tensor([[6, 7, 8, 9, 10]]))[0]
    near = neighbourhood(Pooled(scale, COUNT), uniform(backbone.vocabulary), TEXT, received)
    place, which = 2, 1
    other = TEXT.clone()
    other[place] = near.chosen[place, which]
    wanted = scale.of(torch.stack([TEXT, other]))
    assert torch.allclose(near.effects[place, which], wanted[1] - wanted[0], atol=1e-4)
    assert torch.allclose(near.lacking, received - wanted[0], atol=1e-4)
    assert torch.allclose(near.distances[place, which], (received - wanted[1]).square().sum(), rtol=1e-3)


def test_a_text_s_own_tokens_may_stand_at_every_place(micro: Micro) -> None:
    backbone, scale = scale_of(micro)
    received = scale.of(torch.tensor([[6, 7, 8, 9, 10]]))[0]
    near = neighbourhood(Pooled(scale, COUNT), uniform(backbone.vocabulary), TEXT, received)
    assert all(set(TEXT.tolist()) <= set(row) for row in near.chosen.tolist())


def planted_changes() -> Neighbourhood:
    """Effects that add up exactly: tokens 7 at the second place and 9 at the fourth are what is lacking."""
    chosen = torch.stack([torch.cat([TEXT[i : i + 1], torch.tensor([7, 8, 9])]) for i in range(COUNT)])
    effects = torch.randn(COUNT, 4, 20, generator=generator(5))
    effects[:, 0] = 0
    return Neighbourhood(chosen, effects, effects[1, 1] + effects[3, 3], TEXT)


def test_two_changes_whose_effects_add_up_are_among_those_tried() -> None:
    tried = changed(planted_changes()).tolist()
    assert [3, 7, 4, 9, 5] in tried
    assert all(1 <= sum(a != b for a, b in zip(text, TEXT.tolist(), strict=True)) <= 2 for text in tried)


def test_the_surest_changes_come_first() -> None:
    beliefs = torch.full((COUNT, 4), 0.05)
    beliefs[:, 0] = 0.85
    beliefs[1], beliefs[3] = torch.tensor([0.02, 0.94, 0.02, 0.02]), torch.tensor([0.1, 0.1, 0.1, 0.7])
    texts = believed(planted_changes(), beliefs).tolist()
    assert texts[0] == [3, 7, 4, 1, 5]
    assert texts[-1] == [3, 7, 4, 9, 5]


def test_another_order_has_the_same_tokens() -> None:
    text = torch.tensor([10, 11, 12, 13])
    found = reordered(text, generator(6))
    assert (found.sort(1).values == text).all()
    rows = found.tolist()
    assert [13, 11, 12, 10] in rows  # two change places
    assert [12, 13, 10, 11] in rows  # two neighbours move together
    assert text.tolist() not in rows
    assert len({tuple(row) for row in rows}) == len(rows)


def test_orders_are_all_swaps_and_moves_of_up_to_four_tokens_once_each() -> None:
    text = list(range(7))
    wanted = set()
    for one, other in combinations(text, 2):
        swapped = text.copy()
        swapped[one], swapped[other] = other, one
        wanted.add(tuple(swapped))
    for many in range(1, 5):
        for at in range(7 - many + 1):
            piece, rest = text[at : at + many], text[:at] + text[at + many :]
            wanted.update((*rest[:to], *piece, *rest[to:]) for to in range(len(rest) + 1))
    found = [tuple(row) for row in reordered(torch.tensor(text), generator(8)).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == wanted - {tuple(text)}


def test_of_many_orders_some_are_tried() -> None:
    assert len(reordered(torch.arange(40), generator(7))) == 1024


def test_a_token_is_added_at_every_place_and_left_out_at_every_place() -> None:
    text = torch.tensor([0, 1, 2])
    assert shorter(text).tolist() == [[1, 2], [0, 2], [0, 1]]
    added = longer(text, uniform(4)).tolist()
    assert [0, 1, 2, 3] in added
    assert [3, 0, 1, 2] in added


def test_tables_of_many_places_have_fewer_candidates() -> None:
    assert affordable(16, 384) > 4096
    assert affordable(128, 1536) * 128 * 1536 * 4 <= 2**30


def asked(micro: Micro, count: int, **settings: Any) -> Planted:
    """Pooled states of a few short texts."""
    planted = from_run(micro, ATTACKS["search"](**settings), pae(prompt=" about", longest=4))
    targets = tuple(sample.id for sample in VICTIM[:count])
    return replace(planted, public=replace(planted.public, targets=targets))


def test_short_texts_are_found_whole_and_what_is_certified_is_right(micro: Micro) -> None:
    planted = asked(micro, 10)
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    right = [planted.truth.tokens[i] == found for i, found in zip(guess.ids, guess.tokens, strict=True)]
    assert sum(right) >= 5
    assert sum(guess.certified) >= 3
    assert all(good for good, sure in zip(right, guess.certified, strict=True) if sure)


def test_without_rounds_or_a_budget_texts_stay_as_sums_give_them(micro: Micro) -> None:
    found = []
    for effort in ({"rounds": 0}, {"tokens": 1}, {"rounds": 8}):
        planted = asked(micro, 6, **effort)
        guess = attacked(planted)
        assert isinstance(guess, TextGuess)
        found.append(guess)
    least, unpaid, searched = (
        sum(planted.truth.tokens[i] == tokens for i, tokens in zip(guess.ids, guess.tokens, strict=True))
        for guess in found
    )
    assert found[0].tokens == found[1].tokens
    assert least == unpaid < searched


def test_texts_of_one_token_that_nothing_stands_around_are_searched_for(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["search"](), pae(prompt="", longest=1), "llama")
    targets = tuple(sample.id for sample in VICTIM[:4])
    planted = replace(planted, public=replace(planted.public, targets=targets))
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    assert [planted.truth.tokens[i] for i in guess.ids] == list(guess.tokens)


def test_a_token_between_two_is_expected_as_in_a_text_of_three() -> None:
    first, anywhere = torch.rand(2, 4, generator=generator(9)).softmax(1)
    chain = Chain(first, torch.rand(4, 4, generator=generator(10)).softmax(1), anywhere, share=0.2)
    known = torch.full((3, 4), -torch.inf)
    known[0, 2], known[2, 1], known[1] = 0.0, 0.0, 0.0
    found = chain.between(torch.tensor([2]), torch.tensor([1]))
    assert torch.allclose(found / found.sum(), chain.expected(known)[1], atol=1e-6)
    opening = chain.between(torch.tensor([], dtype=torch.int64), torch.tensor([1]))
    assert torch.allclose(opening / opening.sum(), chain.expected(known[1:])[0], atol=1e-6)


def test_nothing_is_certified_of_what_is_noisy_or_coarsely_rounded() -> None:
    assert exactly_sent({"precision": "fp16", "spread": 0.0})
    assert not exactly_sent({"precision": "fp32", "spread": 1e-4})
    assert not exactly_sent({"precision": "int8"})


@pytest.mark.parametrize(("attack", "setting", "value"), [("search", "rounds", -1), ("unmix", "attempts", 0)])
def test_a_setting_that_leaves_no_attack_is_refused_in_a_sentence(attack: str, setting: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{setting} is {value}; give at least {value + 1}"):
        ATTACKS[attack](**{setting: value})
