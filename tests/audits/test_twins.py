"""The harness's blind guesses on views made by hand, and on a backbone whose states are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.attacks.attack import Goal, Guess, LabelGuess, StolenModel, TextGuess
from sidelight.audits.cells.twins import Blind
from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.heads import scores, verbaliser
from sidelight.system.message import Message
from sidelight.system.public import Example, Public, Query
from sidelight.system.view import View

from .small import KEYWORDS, Small

LABELS = tuple(sorted(KEYWORDS))
IDS = tuple(f"{i:016x}" for i in range(12))
TRUE = torch.arange(12) % 3
OTHERS = "again before quietly near under seven again before quietly near under seven".split()
TEXTS = [f"{KEYWORDS[LABELS[i % 3]]} {word}" for i, word in enumerate(OTHERS)]
FACTS: dict[str, Any] = {"layers": [1, 2, 3], "selector": "last", "prompt": " about", "longest": 12}


@pytest.fixture(scope="module")
def backbone(small: Small) -> Backbone:
    return load_backbone(str(small.backbone))


@pytest.fixture(scope="module")
def public(small: Small) -> Public:
    """Auxiliary rows of all classes, mostly of the last."""
    texts = [(f"{KEYWORDS[label]} {word}", label) for label in LABELS for word in "small bright old today".split()]
    rows = [*texts, *((f"thunder {word}", "weather") for word in "maybe without north candle".split())]
    queries = tuple(Query(f"q{i}", text) for i, text in enumerate(TEXTS))
    return Public(FACTS, LABELS, str(small.backbone), None, tuple(Example(*r) for r in rows), (), queries, IDS[:4])


def received(kind: str, tensor: torch.Tensor, ids: Sequence[str] = IDS) -> Message:
    return Message(kind, "device-0", "server", sample_ids=tuple(ids), tensors={kind: tensor})


def seen(*messages: Message) -> View:
    return View(frozenset({"server"}), list(messages), {}, {})


@pytest.fixture(scope="module")
def pivots(backbone: Backbone) -> torch.Tensor:
    """(samples, layers, width): the states of TEXTS at the last token."""
    tokens = backbone.tokens(TEXTS, FACTS["longest"], FACTS["prompt"])
    last = tokens.mask.sum(1) - 1
    return backbone.activations(tokens)[torch.arange(len(TEXTS)), last]


@pytest.fixture(scope="module")
def view(pivots: torch.Tensor) -> View:
    difference = torch.eye(3)[TRUE] - 1 / 3
    return seen(received("activations", pivots), received("difference", difference))


def blind(view: View, public: Public, backbone: Backbone) -> Blind:
    return Blind(view, public, backbone, public.targets)


def right(guess: Guess) -> float:
    assert isinstance(guess, LabelGuess)
    found = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    hits = [found.get(i) == t for i, t in zip(IDS, TRUE.tolist(), strict=True)]
    return hits.count(True) / len(IDS)


# --- labels ----------------------------------------------------------------------------------------------------


def test_the_prior_is_the_most_frequent_auxiliary_class(view: View, public: Public, backbone: Backbone) -> None:
    prior = blind(view, public, backbone).outsider(Goal.LABELS)["prior"]
    assert isinstance(prior, LabelGuess)
    assert (prior.ids, prior.labels.tolist()) == (IDS, [LABELS.index("weather")] * 12)


def test_without_auxiliary_rows_the_prior_is_one_class_and_there_is_no_probe(
    view: View, public: Public, backbone: Backbone
) -> None:
    twins = blind(view, replace(public, auxiliary=()), backbone)
    assert set(twins.rest(Goal.LABELS, frozenset())) == {"prior"}
    assert right(twins.outsider(Goal.LABELS)["prior"]) == pytest.approx(1 / 3)


def test_the_probe_reads_labels_off_the_activations_that_are_left(
    view: View, public: Public, backbone: Backbone
) -> None:
    rest = blind(view, public, backbone).rest(Goal.LABELS, frozenset({"difference"}))
    assert right(rest["probe"]) >= 0.9  # the classes' words are far apart


def test_the_probe_learns_from_auxiliary_rows_and_from_nothing_else(
    view: View, public: Public, backbone: Backbone
) -> None:
    turned = {label: LABELS[(i + 1) % 3] for i, label in enumerate(LABELS)}
    wrong = tuple(Example(e.text, turned[e.label]) for e in public.auxiliary)
    learnt = blind(view, public, backbone).rest(Goal.LABELS, frozenset({"difference"}))["probe"]
    misled = blind(view, replace(public, auxiliary=wrong), backbone).rest(Goal.LABELS, frozenset())["probe"]
    assert isinstance(learnt, LabelGuess)
    assert isinstance(misled, LabelGuess)
    assert misled.labels.tolist() == [(label + 1) % 3 for label in learnt.labels.tolist()]


def test_no_probe_is_made_of_activations_that_are_attacked_or_of_a_private_backbone(
    view: View, public: Public, backbone: Backbone
) -> None:
    twins = blind(view, public, backbone)
    assert set(twins.rest(Goal.LABELS, frozenset({"activations"}))) == {"prior"}
    private = blind(view, replace(public, backbone=None), backbone)
    assert set(private.rest(Goal.LABELS, frozenset({"difference"}))) == {"prior"}


def test_auxiliary_rows_of_a_single_class_leave_twins_without_a_learner(
    view: View, public: Public, backbone: Backbone
) -> None:
    single = replace(public, auxiliary=tuple(e for e in public.auxiliary if e.label == "music"))
    twins = blind(view, single, backbone)
    assert set(twins.rest(Goal.LABELS, frozenset({"difference"}))) == {"prior"}
    assert isinstance(twins.outsider(Goal.MODEL)["learner"], StolenModel)


def test_a_probe_of_all_positions_takes_the_one_that_the_selector_names(
    pivots: torch.Tensor, public: Public, backbone: Backbone
) -> None:
    """Full activations, packed end to end, with noise before each text's last token."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([2, 3] * 6)
    noise = torch.randn(int(lengths.sum()), *pivots.shape[1:], generator=generator)
    noise[lengths.cumsum(0) - 1] = pivots
    tensors = {"activations": noise, "lengths": lengths}
    message = Message("activations", "device-0", "server", sample_ids=IDS, tensors=tensors)
    rest = blind(seen(message), public, backbone).rest(Goal.LABELS, frozenset({"labels"}))
    assert right(rest["probe"]) >= 0.9


# --- the shuffled view -----------------------------------------------------------------------------------------


def test_a_shuffled_view_files_every_sample_under_another_and_keeps_its_kinds_together(view: View) -> None:
    twin = view.shuffled(torch.Generator().manual_seed(3))
    ids, difference = twin.rows("difference", "difference")
    own = view.rows("difference", "difference")[1]
    assert set(ids) == set(IDS)
    moved = dict(zip(ids, range(12), strict=True))
    assert all(IDS[place] != name for name, place in moved.items())
    assert torch.equal(difference, own)  # in order of arrival; only the names changed
    activations = twin.rows("activations", "activations")[0]
    assert activations == ids


def test_an_exact_attack_on_a_shuffled_view_falls_to_chance(view: View) -> None:
    found = [_sign(view.shuffled(torch.Generator().manual_seed(seed))) for seed in range(40)]
    assert right(LabelGuess(*_guess(view))) == 1
    assert sum(found) / len(found) == pytest.approx(3 / 11, abs=0.12)  # three others of eleven have the same label


def _guess(view: View) -> tuple[tuple[str, ...], torch.Tensor]:
    ids, rows = view.rows("difference", "difference")
    return ids, rows.argmax(1)


def _sign(view: View) -> float:
    return right(LabelGuess(*_guess(view)))


# --- texts -----------------------------------------------------------------------------------------------------


def test_the_text_prior_is_the_most_frequent_auxiliary_token_at_each_place(
    view: View, public: Public, backbone: Backbone
) -> None:
    rows = ("one two three", "one two five", "one six five")
    aux = tuple(Example(text, "music") for text in rows)
    prior = blind(view, replace(public, auxiliary=aux), backbone).outsider(Goal.TEXTS)["auxiliary tokens"]
    assert isinstance(prior, TextGuess)
    assert prior.ids == public.targets
    columns = [backbone.token_ids(text) for text in rows]
    first = {column[0] for column in columns}
    assert {tokens[0] for tokens in prior.tokens} == first


def test_where_labels_cross_the_twin_of_texts_knows_them_unless_they_are_attacked(
    pivots: torch.Tensor, public: Public, backbone: Backbone
) -> None:
    view = seen(received("activations", pivots), received("labels", TRUE))
    twins = blind(view, public, backbone)
    known = twins.rest(Goal.TEXTS, frozenset({"activations"}))
    assert set(known) == {"auxiliary tokens", "tokens by label"}
    assert set(twins.rest(Goal.TEXTS, frozenset({"activations", "labels"}))) == {"auxiliary tokens"}
    by_label = known["tokens by label"]
    assert isinstance(by_label, TextGuess)
    openings = {LABELS[t]: backbone.token_ids(KEYWORDS[LABELS[t]])[0] for t in range(3)}
    expected = [openings[LABELS[t]] for t in TRUE.tolist()[:4]]
    assert [tokens[0] for tokens in by_label.tokens] == expected


def test_the_language_model_writes_its_own_greedy_text(view: View, public: Public, backbone: Backbone) -> None:
    written = blind(view, public, backbone).outsider(Goal.TEXTS)["language model"]
    assert isinstance(written, TextGuess)
    text = written.tokens[0]
    assert set(written.tokens) == {text}
    assert len(text) == FACTS["longest"]
    rows = backbone.pad([[*backbone.prefix, *text]])
    with torch.no_grad():
        logits = backbone.model(input_ids=rows.ids, attention_mask=rows.mask).logits[0]
    start = len(backbone.prefix)
    assert logits[start - 1 : -1].argmax(1).tolist() == list(text)


# --- models ----------------------------------------------------------------------------------------------------


def test_the_untuned_twin_is_the_backbone_asked_by_its_verbaliser(
    view: View, public: Public, backbone: Backbone, pivots: torch.Tensor
) -> None:
    untuned = blind(view, public, backbone).outsider(Goal.MODEL)["untuned"]
    assert isinstance(untuned, StolenModel)
    expected = scores(verbaliser(backbone, LABELS), backbone, pivots[:, -1])
    assert untuned.ids == tuple(f"q{i}" for i in range(12))
    torch.testing.assert_close(untuned.outputs, expected, rtol=1e-4, atol=1e-4)


def test_the_learner_is_trained_on_the_same_auxiliary_labels(view: View, public: Public, backbone: Backbone) -> None:
    learner = blind(view, public, backbone).outsider(Goal.MODEL)["learner"]
    assert isinstance(learner, StolenModel)
    assert learner.outputs.shape == (12, 3)
    assert (learner.outputs.argmax(1) == TRUE).float().mean() >= 0.9


def test_a_class_without_auxiliary_rows_has_no_probability(view: View, public: Public, backbone: Backbone) -> None:
    fewer = replace(public, auxiliary=tuple(e for e in public.auxiliary if e.label != "music"))
    learner = blind(view, fewer, backbone).rest(Goal.MODEL, frozenset({"held:tuned"}))["learner"]
    assert isinstance(learner, StolenModel)
    assert learner.outputs[:, LABELS.index("music")].tolist() == [0.0] * 12
