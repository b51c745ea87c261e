"""The harness's blind guesses on views made by hand, and on a backbone whose states are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks.attack import Goal, LabelGuess, StolenModel, TextGuess
from sidelight.system.backbone import Backbone
from sidelight.system.heads import scores, verbaliser
from sidelight.system.public import Example, Known, Public
from sidelight.system.view import View

from .hand_made import FACTS, IDS, LABELS, TRUE, blind, received, right, seen
from .small import KEYWORDS

# --- labels ----------------------------------------------------------------------------------------------------


def test_the_prior_is_the_most_frequent_auxiliary_class(view: View, public: Public, backbone: Backbone) -> None:
    prior = blind(view, public, backbone).outsider(Goal.LABELS)["prior"]
    assert isinstance(prior, LabelGuess)
    assert (prior.ids, prior.labels.tolist()) == (IDS, [LABELS.index("weather")] * 12)


def test_the_prior_is_the_class_that_the_priors_say_and_the_first_where_nobody_knows(
    view: View, public: Public, backbone: Backbone
) -> None:
    for other, expected in ((replace(public, priors=(0.2, 0.5, 0.3)), 1), (replace(public, auxiliary=()), 0)):
        prior = blind(view, other, backbone).outsider(Goal.LABELS)["prior"]
        assert isinstance(prior, LabelGuess)
        assert set(prior.labels.tolist()) == {expected}


def test_the_outsider_may_guess_the_most_frequent_known_label(view: View, public: Public, backbone: Backbone) -> None:
    known = tuple(Known(IDS[i], LABELS[TRUE[i]]) for i in (0, 1, 4))
    outsider = blind(view, replace(public, known=known), backbone).outsider(Goal.LABELS)
    assert set(outsider) == {"prior", "known prior"}
    guess = outsider["known prior"]
    assert isinstance(guess, LabelGuess)
    assert (guess.ids, guess.labels.tolist()) == (IDS, [1] * 12)


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


def test_whoever_has_the_texts_already_guesses_among_them(view: View, public: Public, backbone: Backbone) -> None:
    twins = blind(view, replace(public, candidates=("red blue", "red green", "red blue")), backbone)
    for found in (twins.outsider(Goal.TEXTS), twins.rest(Goal.TEXTS, frozenset({"activations"}))):
        common, any_one = found["candidates' tokens"], found["any candidate"]
        assert isinstance(common, TextGuess)
        assert isinstance(any_one, TextGuess)
        most = backbone.token_ids("red blue")
        assert all(list(tokens[: len(most)]) == most for tokens in common.tokens)
        assert any_one.tokens[:2] == tuple(tuple(backbone.token_ids(text)) for text in ("red blue", "red green"))


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


def test_texts_found_without_ids_are_compared_with_auxiliary_texts(
    view: View, public: Public, backbone: Backbone
) -> None:
    rows = ("one two three", "one six five")
    aux = tuple(Example(text, "music") for text in rows)
    whole = blind(view, replace(public, auxiliary=aux), backbone)
    known = tuple(tuple(backbone.token_ids(text)) for text in rows)
    assert whole.texts(2) == {"auxiliary texts": TextGuess((), known)}
    assert whole.texts(1) == {"auxiliary texts": TextGuess((), known[:1])}
    more = whole.texts(6)["auxiliary texts"]
    assert isinstance(more, TextGuess)
    assert more.tokens[:2] == known
    assert len(set(more.tokens)) == 6


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


def test_who_knows_labels_of_rows_that_crossed_learns_a_model_from_them(
    view: View, public: Public, backbone: Backbone
) -> None:
    told = replace(public, auxiliary=(), known=tuple(Known(IDS[i], LABELS[TRUE[i]]) for i in range(6)))
    for attacked, names in (
        (frozenset({"difference", "held:tuned"}), {"learner", "learner of known rows", "learner of all rows"}),
        (frozenset({"activations", "held:tuned"}), {"learner"}),
    ):
        rest = blind(view, told, backbone).rest(Goal.MODEL, attacked)
        assert set(rest) == names
    learner = blind(view, told, backbone).rest(Goal.MODEL, frozenset({"difference"}))["learner of known rows"]
    assert isinstance(learner, StolenModel)
    assert learner.ids == tuple(query.id for query in public.queries)
    assert (learner.outputs.argmax(1) == TRUE).float().mean() >= 0.9


def test_behind_a_private_backbone_a_model_is_learnt_from_its_relative_or_not_at_all(
    view: View, public: Public, backbone: Backbone
) -> None:
    private, attacked = replace(public, backbone=None), frozenset({"difference"})
    for side in (
        blind(view, private, backbone).outsider(Goal.MODEL),
        blind(view, private, backbone).rest(Goal.MODEL, attacked),
    ):
        [prior] = side.values()
        assert isinstance(prior, StolenModel)
        assert prior.outputs.argmax(1).unique().tolist() == [LABELS.index("weather")]
    related = replace(private, relative=public.backbone)
    learner = blind(view, related, backbone).outsider(Goal.MODEL)["learner"]
    same = blind(view, public, backbone).outsider(Goal.MODEL)["learner"]
    assert isinstance(learner, StolenModel)
    assert isinstance(same, StolenModel)
    torch.testing.assert_close(learner.outputs, same.outputs)


def test_a_class_without_auxiliary_rows_is_known_by_its_name(view: View, public: Public, backbone: Backbone) -> None:
    fewer = replace(public, auxiliary=tuple(e for e in public.auxiliary if e.label != "music"))
    learner = blind(view, fewer, backbone).rest(Goal.MODEL, frozenset({"held:tuned"}))["learner"]
    assert isinstance(learner, StolenModel)
    assert (learner.outputs[:, LABELS.index("music")] > 0).all()
