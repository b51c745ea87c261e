"""`best`: of several attacks on one goal the one that did best on half of the rows, reported on the other half.

Every victim chooses for itself. The composite of the attacks is a candidate too, and what marks a contest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...attacks.attack import Goal
from ..cells.fields import called, stated, without_numbers
from ..cells.scoring import JUDGED
from ..digest import digest
from ..planning.layout import Entry
from ..statistics import FEWEST_VICTIMS, Measured, PerfectTwin, best
from .stating import Cells, OnVictim, Stated, each_victim, over_victims

NAME = "best"

OWN: Mapping[str, Any] = {
    "attack": NAME,
    "attack_source": "harness: chosen on one half of the rows, reported on the other",
    "settings": {},
    "consumes": [],
    "seconds": None,
    "prepare_seconds": None,
    "peak_mib": None,
    "reason": None,
    "roc": None,
}


def contest(cells: Cells, at: int) -> tuple[Stated, ...]:
    """Of the composite at a place of the layout and its members: the best of each victim, and over victims."""
    composite = cells.layout.entries[at]
    members = [*(cells.layout.entries[m] for m in composite.among), composite]
    chosen = {victim: one for victim in composite.cells if (one := _chosen(cells, composite, members, victim))}
    single = each_victim(chosen)
    if len(composite.cells) < FEWEST_VICTIMS or not chosen:
        return single
    whole = over_victims(composite, f"{NAME}-{composite.goal}", chosen)
    named = {part: _united([one.fields[part] for one in chosen.values()]) for part in ("chosen", "among")}
    return Stated(None, {**whole.fields, **named}, whole.metrics, whole.cells, whole.victims), *single


def _chosen(cells: Cells, composite: Entry, members: Sequence[Entry], victim: int) -> OnVictim | None:
    """One victim's best; None where fewer than two attacks have a score."""
    found = [one for member in members if (one := cells.on_victim(member, victim)) and one.scored]
    scored = {called(one.fields): one for one in found}
    if len(scored) < 2:
        return None
    first = found[0]
    halves: dict[str, Measured] = {}
    chosen: list[str] = []
    for metric, rows in first.measured.items():
        rivals = {name: one.measured[metric] for name, one in scored.items() if metric in one.measured}
        if metric in JUDGED and len(rows.ids) > 1:  # a single row cannot be halved
            halves[metric], name = best(rivals)
            chosen.append(name)
    behind = tuple(key for one in found for key in one.cells)
    place = composite.place.curve if composite.place else ""
    key = f"{composite.group}-{NAME}-{digest([*behind, composite.role, place])}"
    fields = {**first.fields, **OWN, "cell": key, "chosen": _united([chosen]), "among": list(scored)}
    try:
        return OnVictim(fields, stated([halves], Goal(composite.goal), key), behind, halves)
    except PerfectTwin as error:
        return OnVictim({**fields, "status": "failed", "reason": str(error)}, [without_numbers()], behind)


def _united(names: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))
