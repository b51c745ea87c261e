"""The harness's own combination of several attacks' guesses about one run: a contender for `best`.

Attacks do not know of each other; who runs them all may let them vote. Members are the run's scored attacks on one
goal. Twins are those of all members, and the vote of their guesses on the shuffled view.

Shapes: M members, N rows, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

from ...attacks.attack import Goal, Guess, LabelGuess, Needs, StolenModel, TextGuess
from ..digest import code_digest
from ..statistics import Measured, Values
from .cell import SHUFFLED
from .scoring import Rows

NAME = "composite"
SOURCE = "harness: vote of the other attacks"

FEWEST = 2
"""Members below which there is nothing to combine."""


@dataclass(frozen=True)
class Composite:
    """A combination of guesses, as a cell sees it."""

    goal: Goal
    needs: Needs
    """All that its members take."""
    name: str = NAME
    source: str = SOURCE


def combined(guesses: Sequence[Guess]) -> Guess | None:
    """The members' vote; None where there are too few, they differ in type, or one names no samples."""
    if len(guesses) < FEWEST:
        return None
    if labels := [guess for guess in guesses if isinstance(guess, LabelGuess)]:
        return _labels(labels) if len(labels) == len(guesses) else None
    if texts := [guess for guess in guesses if isinstance(guess, TextGuess)]:
        return _texts(texts) if len(texts) == len(guesses) and all(guess.ids for guess in texts) else None
    models = [guess for guess in guesses if isinstance(guess, StolenModel)]
    return _models(models) if len(models) == len(guesses) else None


def composite_identity(run: str, goal: Goal, members: Sequence[str], repeat: int) -> dict[str, Any]:
    """What a composite's key digests: its run, and the cells that may vote."""
    code = code_digest(__name__)
    named = {"run": run, "attack": NAME, "code": code, "settings": {}, "repeat": repeat}
    return {**named, "goal": str(goal), "members": list(members)}


def measure_composite(
    found: Mapping[str, Rows], shuffled: Mapping[str, Rows], members: Mapping[str, Mapping[str, Measured]]
) -> dict[str, Measured]:
    """The combined guess's rows beside the vote of the members' shuffled guesses and every member's own twins."""
    measured = {}
    for metric, rows in found.items():
        own = {name: m[metric] for name, m in members.items() if metric in m and m[metric].ids == rows.ids}
        blind = next((m.blind for m in own.values() if m.blind is not None), None)
        if blind is not None:
            measured[metric] = Measured(rows.ids, rows.values, {}, {}, blind=blind)
            continue
        outsider, rest = _named(own, "outsider"), _named(own, "rest")
        if metric in shuffled and shuffled[metric].ids == rows.ids:
            outsider[SHUFFLED] = shuffled[metric].values
        measured[metric] = Measured(rows.ids, rows.values, outsider, rest, direction=rows.direction)
    return measured


def _named(members: Mapping[str, Measured], side: str) -> dict[str, Values]:
    """Every member's candidates, told apart by the member."""
    return {f"{name} of {member}": values for member, m in members.items() for name, values in getattr(m, side).items()}


def _labels(guesses: Sequence[LabelGuess]) -> LabelGuess:
    """The label that most members give a row; among equals that of the member whom the others agree with most."""
    given = [dict(zip(g.ids, g.labels.tolist(), strict=True)) for g in guesses]
    ids = tuple(dict.fromkeys(i for guess in guesses for i in guess.ids))
    trust = _trust(given, ids)
    labels = []
    for i in ids:
        votes: dict[int, float] = {}
        for own, weight in zip(given, trust, strict=True):
            if i in own:
                votes[own[i]] = votes.get(own[i], 0.0) + 1 + weight
        labels.append(max(votes, key=lambda label: votes[label]))
    return LabelGuess(ids, torch.tensor(labels))


def _trust(given: Sequence[Mapping[str, int]], ids: Sequence[str]) -> list[float]:
    """Each member's share of agreement with the others, scaled so that it only breaks ties."""
    agreed = [
        sum(own[i] == other[i] for other in given if other is not own for i in ids if i in own and i in other)
        for own in given
    ]
    most = len(given) * len(given) * max(len(ids), 1)
    return [count / most for count in agreed]


def _texts(guesses: Sequence[TextGuess]) -> TextGuess:
    """A certified guess where a member has one, else the token that most members have at each place."""
    ids = tuple(dict.fromkeys(i for guess in guesses for i in guess.ids))
    given = [dict(zip(g.ids, g.tokens, strict=True)) for g in guesses]
    sure = [dict(zip(g.ids, g.certified, strict=True)) if g.certified else {} for g in guesses]
    tokens, certified = [], []
    for i in ids:
        proven = [own[i] for own, knows in zip(given, sure, strict=True) if knows.get(i, False)]
        tokens.append(proven[0] if proven else _places([own[i] for own in given if i in own]))
        certified.append(bool(proven))
    return TextGuess(ids, tuple(tokens), tuple(certified) if any(certified) else ())


def _places(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The most common token of each place, the first member's among equals, while at least half have one."""
    columns = ([token for token in column if token is not None] for column in zip_longest(*rows))
    return tuple(Counter(column).most_common(1)[0][0] for column in columns if 2 * len(column) >= len(rows))


def _models(guesses: Sequence[StolenModel]) -> StolenModel:
    """The mean of the members' class probabilities."""
    ids = guesses[0].ids
    probabilities = []
    for guess in guesses:
        place = {i: at for at, i in enumerate(guess.ids)}
        rows = torch.tensor([place.get(i, -1) for i in ids])
        known = guess.outputs.float().softmax(1)[rows.clamp(min=0)]
        uniform = torch.full_like(known, 1 / known.shape[1])
        probabilities.append(torch.where((rows >= 0).unsqueeze(1), known, uniform))
    return StolenModel(ids, torch.stack(probabilities).mean(0))
