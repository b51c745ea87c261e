"""Texts from updates: what spans show, what is found on both families, where nothing can be, and what is certified."""

from __future__ import annotations

import itertools
import operator
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.attacks.attack import TextGuess
from sidelight.attacks.evidence.updates.growing import Form, grown, likely
from sidelight.attacks.evidence.updates.sent import Update, moved_rows, updates
from sidelight.attacks.evidence.updates.spans import Span, rows_span
from sidelight.attacks.reconstruction.update import chosen
from sidelight.system.protocols.fleet import Fleet

from ..contracts.goals import texts_score
from ..contracts.leaks_texts import federated
from ..contracts.micro import VICTIM, Micro, make_scene, record
from ..contracts.planted import Planted, attacked, made
from ..contracts.variants import LORA

WIDTH, SEEN = 24, 10


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def change(inputs: torch.Tensor, outputs: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights before and after a step whose gradient is a sum over the inputs (N, n)."""
    before = 0.1 * drawn(outputs, inputs.shape[1], seed=seed)
    return before, before - 0.01 * drawn(outputs, len(inputs), seed=seed + 1) @ inputs


# --- spans ----------------------------------------------------------------------------------------------------


def test_inputs_lie_in_the_span_of_a_change_and_other_vectors_do_not() -> None:
    inputs, others = drawn(SEEN, WIDTH), drawn(500, WIDTH, seed=5)
    before, after = change(inputs, 40)
    span = rows_span([before], [after])
    assert span is not None
    assert span.dimensions == SEEN
    assert float(span.distance(inputs).max()) < 2e-3
    # of a random vector the squared share outside is (n - k) / n on average
    assert float(span.distance(others).square().mean()) == pytest.approx((WIDTH - SEEN) / WIDTH, abs=0.03)


def test_changes_of_few_rows_show_inputs_together_that_none_shows_alone() -> None:
    inputs = drawn(SEEN, WIDTH)
    changes = [change(inputs, 6, seed) for seed in (1, 3)]
    assert all(rows_span([before], [after]) is None for before, after in changes)
    span = rows_span([before for before, _ in changes], [after for _, after in changes])
    assert span is not None
    assert float(span.distance(inputs).max()) < 2e-3


@pytest.mark.parametrize("seen", [WIDTH, 2 * WIDTH])
def test_as_many_inputs_as_the_map_is_wide_show_nothing(seen: int) -> None:
    assert rows_span(*([one] for one in change(drawn(seen, WIDTH), 40))) is None


def test_weights_that_did_not_move_show_nothing() -> None:
    assert rows_span([drawn(8, WIDTH)], [drawn(8, WIDTH)]) is None


def test_behind_a_map_inputs_are_told_by_what_it_makes_of_them() -> None:
    inputs, behind = drawn(4, WIDTH), drawn(8, WIDTH, seed=7)
    span = rows_span(*([one] for one in change(inputs @ behind.T, 40)))
    assert span is not None
    told = Span(span.basis, behind)
    assert float(told.distance(inputs).max()) < 2e-3
    assert float(told.distance(drawn(200, WIDTH, seed=5)).median()) > 0.3


@pytest.mark.parametrize("decay", [1.0, 0.999])
def test_embeddings_that_moved_otherwise_than_by_decay_are_named(decay: float) -> None:
    before = drawn(50, WIDTH)
    after = decay * before
    after[[3, 17]] += 1e-3
    rows, changes = moved_rows(Update("device-0", {"table": before}, {"table": after}), "table")
    assert rows.tolist() == [3, 17]
    torch.testing.assert_close(changes.float(), torch.full((2, WIDTH), 1e-3), atol=2e-6, rtol=0)


# --- growing --------------------------------------------------------------------------------------------------


def test_grown_texts_are_those_whose_every_prefix_fits_and_that_the_prompt_ends() -> None:
    """Three texts of different lengths, one of them a prefix of another: each prefix fits if a text has it."""
    texts = {(5, 6, 7), (5, 6), (5, 8, 7, 6)}
    form = Form((0,), (9, 4), longest=5)
    whole = {(0, *text, 9, 4) for text in texts}
    prefixes = {text[:end] for text in whole for end in range(1, len(text) + 1)}

    def away(asked: Any, last: int) -> torch.Tensor:
        rows = [[prefix[: len(prefix) - last + 1 + at] in prefixes for at in range(last)] for prefix in asked]
        return 1.0 - torch.tensor(rows).float()

    tree = grown(form, lambda place: dict.fromkeys(range(4, 10), 0.0), away, tolerance=0.5, beam=8)
    assert set(tree.texts) == texts
    assert tree.whole
    assert not grown(form, lambda place: dict.fromkeys(range(4, 10), 0.0), away, tolerance=0.5, beam=1).whole


@torch.no_grad()
def test_the_guess_from_a_start_is_the_likeliest_text_by_enumeration(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    near = [{11: 0.0, 12: 0.0}, {20: 0.0, 21: 0.0}, {30: 0.0, 31: 0.0}, {40: 0.0}]
    form = Form((0,), (40,), longest=3)
    found = likely(form, lambda place: near[place - 1] if place <= len(near) else {}, [11, 12], backbone, beam=16)

    def worth(text: tuple[int, ...]) -> float:
        chances = backbone.model(input_ids=torch.tensor([(0, *text)])).logits[0].log_softmax(1)
        return sum(float(chances[at, token]) for at, token in enumerate(text) if at)

    expected = [max(itertools.product([start], near[1], near[2]), key=worth) for start in (11, 12)]
    assert found == expected


# --- on runs --------------------------------------------------------------------------------------------------


def outcome(planted: Planted) -> tuple[float, TextGuess, float]:
    """The score, the guess, and the share of the certified texts that are right."""
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    true = set(planted.truth.tokens.values())
    sure = [tokens in true for tokens, certain in zip(guess.tokens, guess.certified, strict=True) if certain]
    return texts_score(guess, planted.truth), guess, sum(sure) / max(1, len(sure))


@pytest.mark.parametrize(
    ("family", "settings", "least"),
    [
        ("llama", {}, 0.99),
        ("opt", {"full": False, "rank": 16, "learning_rate": 0.2, "epochs": 2}, 0.9),
        # positions are told apart behind an attention alone, and the longest texts fill the width of 32
        ("llama", {"full": False, "rank": 16, "learning_rate": 0.2}, 0.5),
    ],
)
def test_texts_of_single_batches_are_found_and_certified(
    micro: Micro, family: str, settings: dict[str, Any], least: float
) -> None:
    score, guess, right = outcome(federated(micro, family, **settings))
    assert score >= least
    assert right == 1.0
    assert sum(guess.certified) >= 20  # of 48


def test_batches_with_more_tokens_than_the_maps_are_wide_show_nothing(micro: Micro) -> None:
    assert outcome(federated(micro, batch=12))[1].tokens == ()


def test_low_ranks_that_add_up_to_fewer_than_a_texts_tokens_show_nothing(micro: Micro) -> None:
    assert outcome(federated(micro, full=False, rank=1, learning_rate=0.2))[1].tokens == ()


def test_under_adamw_a_devices_first_text_is_named_by_its_embeddings_and_nothing_is_certified(micro: Micro) -> None:
    planted = federated(micro, rule="adamw", learning_rate=1e-3)
    score, guess, _ = outcome(planted)
    assert not any(guess.certified)
    assert score < 0.5
    tail = tuple(micro.backbone("opt").token_ids(planted.public.facts["prompt"]))
    for first in guess.tokens[:2]:  # of two devices
        true = max(planted.truth.tokens.values(), key=lambda one: sum(map(operator.eq, one, first)))
        once = [at for at, token in enumerate(true) if (*true, *tail).count(token) == 1]
        assert len(once) >= 3
        assert [first[at] for at in once] == [true[at] for at in once]  # a repeated token moves as none of its places


def test_under_adamw_low_rank_updates_show_nothing(micro: Micro) -> None:
    guess = outcome(federated(micro, rule="adamw", full=False, rank=16))[1]
    assert not any(guess.certified)


def test_of_many_updates_so_many_are_attacked_spread_over_the_run(micro: Micro) -> None:
    planted = federated(micro)
    every = [update.after["head"] for update in updates(planted.view)]
    assert len(every) == len(VICTIM)
    few = [update.after["head"] for update in chosen(planted.view, 6)]
    assert all(torch.equal(one, every[8 * at]) for at, one in enumerate(few))
    assert len(few) == 6
    assert len(list(chosen(planted.view, 100))) == len(VICTIM)


def test_devices_that_hold_a_part_are_attacked_from_their_first_update_on(micro: Micro) -> None:
    protocol = made("mesfl", lora=LORA, fleet=Fleet(2), cuts=(1, 2))
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    sent = [message for message in run.messages if message.kind == "update"]
    found = list(updates(run.view()))
    assert [update.device for update in found] == [message.sender for message in sent]
    first = found[0]
    assert first.before.keys() == first.after.keys()
    assert all(first.before[name].shape == tensor.shape for name, tensor in first.after.items())


def test_an_update_that_does_not_fit_the_start_is_passed_over(micro: Micro) -> None:
    planted = federated(micro)
    view = replace(planted.view, held={"start": {"other": torch.zeros(1)}})
    guess = attacked(replace(planted, view=view))
    assert isinstance(guess, TextGuess)
    assert len(guess.tokens) < len(attacked(planted).tokens)  # type: ignore[union-attr]
