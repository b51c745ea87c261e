"""How a guess is judged, by goal: its form, its score, and the most that guessing scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from sidelight.attacks import Attack
from sidelight.attacks.attack import Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess

from .planted import Planted, Truth

RARE = 1e-4
"""How improbable a noise score may be under guessing."""


def labels_form(guess: Guess, planted: Planted) -> None:
    assert isinstance(guess, LabelGuess)
    assert guess.labels.dtype == torch.int64
    assert guess.labels.shape == (len(guess.ids),)
    assert ((guess.labels >= 0) & (guess.labels < len(planted.public.labels))).all()
    assert_ids_of(guess.ids, planted)


def labels_score(guess: Guess, truth: Truth) -> float:
    assert isinstance(guess, LabelGuess)
    right = [truth.labels[i] == label for i, label in zip(guess.ids, guess.labels.tolist(), strict=True)]
    return right.count(True) / len(truth.labels)


def labels_chance(planted: Planted) -> float:
    n = len(planted.truth.labels)
    return float(binom.isf(RARE, n, 1 / len(planted.public.labels))) / n


def texts_form(guess: Guess, planted: Planted) -> None:
    assert isinstance(guess, TextGuess)
    assert len(guess.tokens) == len(guess.ids) or not planted.attack.linked
    assert len(guess.certified) in (0, len(guess.tokens))
    assert all(isinstance(sure, bool) for sure in guess.certified)
    assert all(isinstance(token, int) and token >= 0 for tokens in guess.tokens for token in tokens)
    assert_ids_of(guess.ids, planted)


def texts_score(guess: Guess, truth: Truth) -> float:
    """Right tokens at their place over the truth's tokens; an extra token makes a text wholly wrong.

    Texts that name no samples go one to one to those that they are most right about.
    """
    assert isinstance(guess, TextGuess)
    whole = sum(len(tokens) for tokens in truth.tokens.values())
    if guess.ids or not guess.tokens:
        found = dict(zip(guess.ids, guess.tokens, strict=True))
        return sum(_right(tokens, truth.tokens[sample_id]) for sample_id, tokens in found.items()) / whole
    gain = numpy.array([[_right(tokens, goal) for goal in truth.tokens.values()] for tokens in guess.tokens])
    return float(gain[linear_sum_assignment(gain, maximize=True)].sum()) / whole


def _right(tokens: Sequence[int], goal: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(tokens, goal, strict=False)) if len(tokens) <= len(goal) else 0


WHOLE = ("retrieve",)
"""Attacks that guess whole texts of a pool."""


def texts_chance(planted: Planted) -> float:
    """Repeating the commonest token is the most that a guess without information can do a position.

    Where whole texts of a pool are guessed, their positions come together: the texts are the draws.
    """
    texts = planted.truth.tokens.values()
    tokens = [token for text in texts for token in text]
    commonest = max(tokens.count(token) for token in set(tokens)) / len(tokens)
    draws = len(texts if planted.attack.name in WHOLE else tokens)
    return float(binom.isf(RARE, draws, commonest)) / draws


def strangers_chance(planted: Planted) -> float:
    """The most that is right of samples whose guesses are other samples' truths, or as good as guessing."""
    labels, texts = list(planted.truth.labels.values()), list(planted.truth.tokens.values())
    if planted.attack.goal is Goal.LABELS:
        alike = sum(a == b for a, b in permutations(labels, 2)) / (len(labels) * (len(labels) - 1))
        return max(labels_chance(planted), float(binom.isf(RARE, len(labels), alike)) / len(labels))
    whole = sum(map(len, texts))
    alike = sum(_right(a, b) for a, b in permutations(texts, 2)) / (whole * (len(texts) - 1))
    return max(texts_chance(planted), float(binom.isf(RARE, whole, alike)) / whole)


def model_form(guess: Guess, planted: Planted) -> None:
    assert isinstance(guess, StolenModel)
    assert guess.ids == tuple(query.id for query in planted.public.queries)
    assert guess.outputs.dtype == torch.float32
    assert guess.outputs.shape == (len(guess.ids), len(planted.public.labels))
    assert guess.outputs.isfinite().all()


def model_score(guess: Guess, truth: Truth) -> float:
    assert isinstance(guess, StolenModel)
    assert truth.outputs is not None
    return float((guess.outputs.argmax(1) == truth.outputs.argmax(1)).float().mean())


def model_chance(planted: Planted) -> float:
    """The mean of a few models that know nothing lies well below a half, at 1/K plus what their draws vary."""
    return 1 / len(planted.public.labels) + 0.25


def members_form(guess: Guess, planted: Planted) -> None:
    assert isinstance(guess, MembershipScores)
    assert guess.scores.dtype == torch.float32
    assert guess.scores.shape == (len(planted.public.challenge),)
    assert guess.scores.isfinite().all()
    assert guess.ids == tuple(one.id for one in planted.public.challenge)


def members_score(guess: Guess, truth: Truth) -> float:
    """Share of member and non-member pairs in the right order."""
    assert isinstance(guess, MembershipScores)
    assert truth.members is not None
    member = torch.tensor([truth.members[i] for i in guess.ids])
    inside, outside = guess.scores[member], guess.scores[~member]
    differences = inside.unsqueeze(1) - outside
    return float((differences > 0).float().mean() + 0.5 * (differences == 0).float().mean())


def members_chance(planted: Planted) -> float:
    """Four standard deviations of the statistic (Mann and Whitney) above one half."""
    assert planted.truth.members is not None
    n, inside = len(planted.truth.members), sum(planted.truth.members.values())
    return 0.5 + 4 * float(((n + 1) / (12 * inside * (n - inside))) ** 0.5)


def assert_ids_of(ids: tuple[str, ...], planted: Planted) -> None:
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(planted.view.sample_ids())


class Contract(NamedTuple):
    """How guesses with one goal are judged."""

    form: Callable[[Guess, Planted], None]
    score: Callable[[Guess, Truth], float]
    chance: Callable[[Planted], float]


CONTRACTS = {
    Goal.LABELS: Contract(labels_form, labels_score, labels_chance),
    Goal.TEXTS: Contract(texts_form, texts_score, texts_chance),
    Goal.MODEL: Contract(model_form, model_score, model_chance),
    Goal.MEMBERS: Contract(members_form, members_score, members_chance),
}


def contract(attack: Attack) -> Contract:
    if attack.goal not in CONTRACTS:
        pytest.fail(f"goal {attack.goal!r} of attack {attack.name!r} has no contract: add one to CONTRACTS")
    return CONTRACTS[attack.goal]
