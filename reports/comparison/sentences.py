"""What a comparison comes to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..findings.answer import FEWEST_VICTIMS
from ..findings.wording import listed
from ..stored.records import Head
from .compare import Change, Comparison


def sentences(comparison: Comparison, heads: tuple[Head, Head]) -> tuple[str, ...]:
    """The first one is the answer."""
    return (
        *_answer(comparison),
        *_turned(comparison),
        *_bytes(comparison),
        *_uncompared(comparison),
        *_reach(comparison, heads),
    )


def _answer(comparison: Comparison) -> Iterator[str]:
    tested = [one for one in comparison.changes if one.difference is not None]
    leakage, worth = [one for one in tested if one.leakage], [one for one in tested if not one.leakage]
    if not tested:
        yield "No figure is in both audits with an interval, so that nothing can be compared."
    elif not comparison.significant:
        yield f"Of {_counted(tested, 'figure')} that both audits have, none changed by more than chance makes."
    else:
        for group, noun, more, less in (
            (leakage, "figure", ("leaks more", "leak more"), ("leaks less", "leak less")),
            (worth, "utility", ("is better", "are better"), ("is worse", "are worse")),
        ):
            if group:
                yield f"Of {_counted(group, noun)} that both audits have, {_ways(group, more, less)}."


def _ways(group: Sequence[Change], more: tuple[str, str], less: tuple[str, str]) -> str:
    changed = [one for one in group if one.significant]
    parts = []
    for way, said in ((True, more), (False, less)):
        number = sum(one.more == way for one in changed)
        parts += [f"{number} {said[number > 1]}"] if number else []
    if not parts:
        return "none changed by more than chance makes"
    return f"{' and '.join(parts)} in the second, by more than chance makes (Holm, 5 %)"


def _turned(comparison: Comparison) -> Iterator[str]:
    if comparison.turned:
        names = listed([f"{one.what} under {one.label}" for one in comparison.turned], 2)
        yield f"The verdict alone is another for {names}: no figure beneath it changed by more than chance."


def _bytes(comparison: Comparison) -> Iterator[str]:
    names = list(dict.fromkeys(one.label for one in comparison.moved))
    if names:
        yield f"Bytes, which are exact, differ under {listed(names)}."


def _uncompared(comparison: Comparison) -> Iterator[str]:
    if comparison.untested:
        yield f"Not tested for want of an interval: {_counted(comparison.untested, 'figure')}."
    if any(comparison.only):
        first, second = (len(only) for only in comparison.only)
        yield f"Not compared, since one audit lacks them: {first} of the first and {second} of the second."


def _reach(comparison: Comparison, heads: tuple[Head, Head]) -> Iterator[str]:
    fewest, most = sorted(head.victims for head in heads)
    if fewest < FEWEST_VICTIMS <= most:
        yield "One audit has figures over victims and the other of each victim: they are not the same figures."
    elif fewest < FEWEST_VICTIMS:
        how = "" if any(head.elsewhere for head in heads) else " (`--seeds 5`, or the same `--seed` on both sides)"
        yield (
            "With fewer than 5 victims on a side the intervals speak of these victims: a change may come from their "
            f"draw alone{how}."
        )
    if any(what == "data" for what, _, _ in comparison.set_up):
        yield "The data are another file or another draw, so that no change is the system's alone."


def _counted(of: Sequence[object], noun: str) -> str:
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{len(of)} {noun if len(of) == 1 else plural}"
