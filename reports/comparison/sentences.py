"""What a comparison comes to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings.answer import FEWEST_VICTIMS
from ..findings.wording import listed
from .compare import Comparison


def sentences(comparison: Comparison, victims: tuple[int, int]) -> tuple[str, ...]:
    """The first one is the answer."""
    return (*_answer(comparison), *_turned(comparison), *_bytes(comparison), *_reach(comparison, victims))


def _answer(comparison: Comparison) -> Iterator[str]:
    tested = sum(one.difference is not None for one in comparison.changes)
    changed = comparison.significant
    if not comparison.changes:
        yield "The two audits have no figure in common, so nothing can be compared."
    elif not changed:
        yield f"Of {tested} figures that both audits have, none changed by more than chance makes."
    else:
        more, less = (
            [one for one in changed if one.difference is not None and (one.difference.value > 0) == up]
            for up in (True, False)
        )
        parts = [f"{len(more)} rose" if more else "", f"{len(less)} fell" if less else ""]
        said = " and ".join(part for part in parts if part)
        yield f"Of {tested} figures that both audits have, {said} by more than chance makes (Holm, 5 %)."


def _turned(comparison: Comparison) -> Iterator[str]:
    if comparison.turned:
        names = listed([f"{one.what} under {one.label}" for one in comparison.turned], 2)
        yield f"The verdict alone is another for {names}: it rests on the advantage, see the twins."


def _bytes(comparison: Comparison) -> Iterator[str]:
    names = list(dict.fromkeys(one.label for one in comparison.moved))
    if names:
        yield f"Bytes, which are exact, differ under {listed(names)}."


def _reach(comparison: Comparison, victims: tuple[int, int]) -> Iterator[str]:
    if min(victims) < FEWEST_VICTIMS:
        yield (
            "With fewer than 5 victims on a side the intervals speak of these victims: a change may come from their "
            "draw alone (`--seeds 5`, or the same `--seed` on both sides)."
        )
    if any(what == "data" for what, _, _ in comparison.set_up):
        yield "The data are another file or another draw, so that no change is the system's alone."
