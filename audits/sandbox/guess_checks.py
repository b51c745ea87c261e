"""Whether a guess can be scored: the right type, known ids, the right shapes, finite numbers in range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from math import isfinite

import torch

from ...attacks.attack import EpsilonBound, Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess

TYPES: dict[Goal, type[Guess]] = {
    Goal.LABELS: LabelGuess,
    Goal.TEXTS: TextGuess,
    Goal.MODEL: StolenModel,
    Goal.MEMBERS: MembershipScores,
    Goal.EPSILON: EpsilonBound,
}


def validate(
    guess: Guess,
    goal: Goal,
    ids: Collection[str],
    classes: int,
    vocabulary: int,
    queries: Collection[str],
    linked: bool = True,
) -> str | None:
    """Why a guess cannot be scored, in one sentence; None where it can.

    `ids` are all samples that crossed, those that a device made up among them, or, for membership, the candidates; a
    stolen model answers `queries`. An id without a row is allowed: see `missing`. Where an attack is not `linked`, its
    guess has no ids.
    """
    expected = TYPES[goal]
    if not isinstance(guess, expected):
        return f"the goal {goal.value!r} takes a {expected.__name__}, not a {type(guess).__name__}"
    if isinstance(guess, EpsilonBound):
        return _bound_fault(guess)
    if not linked and isinstance(guess, TextGuess):
        return _unlinked_fault(guess) or _value_fault(guess, classes, vocabulary)
    known = queries if goal is Goal.MODEL else ids
    return _id_fault(guess.ids, known) or _row_fault(guess) or _value_fault(guess, classes, vocabulary)


def missing(guess: Guess, known: Collection[str]) -> tuple[str, ...]:
    """The known ids that the guess has no row for; they count as wrong."""
    if isinstance(guess, EpsilonBound):
        return ()
    given = frozenset(guess.ids)
    return tuple(name for name in known if name not in given)


def _id_fault(given: tuple[str, ...], known: Collection[str]) -> str | None:
    if not given:
        return "the guess has no rows"
    known = frozenset(known)
    if unknown := [name for name in given if name not in known]:
        return f"the guess names {len(unknown)} unknown ids, such as {unknown[0][:40]!r}"
    if repeated := [name for name, times in Counter(given).items() if times > 1]:
        return f"the guess repeats {len(repeated)} ids, such as {repeated[0][:40]!r}"
    return None


def _unlinked_fault(guess: TextGuess) -> str | None:
    """Nothing found is a finding: such a guess may be empty."""
    if guess.ids:
        return f"the guess names {len(guess.ids)} ids, and its attack is not linked to any"
    return None if len(guess.certified) in (0, len(guess.tokens)) else _rows_differ(0, (len(guess.certified),))


def _row_fault(guess: LabelGuess | TextGuess | StolenModel | MembershipScores) -> str | None:
    match guess:
        case MembershipScores(owners=owners) if len(owners) not in (0, len(guess.ids)):
            return _rows_differ(len(guess.ids), (len(owners),))
        case LabelGuess(labels=rows) | MembershipScores(scores=rows):
            return None if rows.shape == (len(guess.ids),) else _rows_differ(len(guess.ids), tuple(rows.shape))
        case StolenModel(outputs=rows):
            fits = rows.dim() == 2 and len(rows) == len(guess.ids)
            return None if fits else _rows_differ(len(guess.ids), tuple(rows.shape))
        case TextGuess(certified=certified):
            if len(guess.tokens) != len(guess.ids):
                return _rows_differ(len(guess.ids), (len(guess.tokens),))
            return None if len(certified) in (0, len(guess.ids)) else _rows_differ(len(guess.ids), (len(certified),))


def _rows_differ(ids: int, shape: tuple[int, ...]) -> str:
    return f"the guess has {ids} ids for values of the shape {shape}"


def _value_fault(
    guess: LabelGuess | TextGuess | StolenModel | MembershipScores, classes: int, vocabulary: int
) -> str | None:
    match guess:
        case LabelGuess(labels=labels):
            return _range_fault("labels", labels, classes)
        case TextGuess(tokens=rows):
            return _range_fault("tokens", torch.tensor([t for row in rows for t in row], dtype=torch.int64), vocabulary)
        case StolenModel(outputs=outputs):
            if outputs.shape[1] != classes:
                return f"the outputs have {outputs.shape[1]} columns for {classes} classes"
            return _finite_fault("outputs", outputs)
        case MembershipScores(scores=scores):
            return _finite_fault("scores", scores)


def _range_fault(what: str, values: torch.Tensor, count: int) -> str | None:
    outside = int(((values < 0) | (values >= count)).sum())
    return f"{outside} of {values.numel()} {what} lie outside 0 to {count - 1}" if outside else None


def _finite_fault(what: str, values: torch.Tensor) -> str | None:
    bad = int((~torch.isfinite(values)).sum())
    return f"{bad} of {values.numel()} {what} are NaN or infinite" if bad else None


def _bound_fault(bound: EpsilonBound) -> str | None:
    if not all(map(isfinite, (bound.epsilon, bound.delta, bound.confidence))):
        return "epsilon, delta or confidence is NaN or infinite"
    if bound.epsilon < 0 or not 0 <= bound.delta < 1 or not 0 < bound.confidence < 1:
        return "epsilon must be at least 0, delta in [0, 1) and confidence in (0, 1)"
    return None
