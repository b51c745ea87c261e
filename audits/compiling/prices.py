"""What each defence costs: utility, bytes and the device's seconds, beside the undefended control of the same victims.

Utility is paired over the test rows, so this opens the truth of both runs; only numbers leave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy

from ...system import files
from ...system.truth import load_truth
from ..planning.layout import Layout
from ..runs.parts import load_parts
from ..statistics import Values, loss
from ..suites.defended import UNDEFENDED

COSTS = ("uplink_bytes_per_sample", "downlink_bytes_per_sample", "device_seconds_per_sample")


class Prices:
    """Reads an audit's runs; everything it says follows from the folder."""

    def __init__(self, out: Path, layout: Layout) -> None:
        self._runs = {group.group: group.runs for group in layout.groups}
        self._against = {e.group: e.controls[UNDEFENDED].group for e in layout.entries if UNDEFENDED in e.controls}
        self._out = out
        self._right = lru_cache(maxsize=None)(partial(right, out))
        self.of = lru_cache(maxsize=None)(self._of)

    def _of(self, group: str, victim: int | None = None) -> dict[str, Any] | None:
        """A group's price over its victims, or on one; None where a run or its truth is missing, or nothing to compare.

        The means of both sides are over the same victims.
        """
        against = self._against.get(group)
        if against is None:
            return None
        victims = [victim] if victim is not None else list(self._runs[group])
        sides = [[self._runs[side][one] for one in victims] for side in (against, group)]
        rows = [[self._right(run) for run in runs] for runs in sides]
        pairs = [paired for before, after in zip(*rows, strict=True) if (paired := together(before, after))]
        if len(pairs) < len(victims):
            return None
        found = loss(pairs)
        return {
            "utility_loss": {**vars(found), "victims": victims},
            "verdict": found.verdict,
            "defended": self._side(sides[1], [after for _, after in pairs]),
            UNDEFENDED: {"group": against, **self._side(sides[0], [before for before, _ in pairs])},
        }

    def _side(self, runs: Sequence[str], rows: Sequence[Values]) -> dict[str, float]:
        """Means over one side's victims."""
        stored = [files.read_json(self._out / "runs" / run / "run.json") for run in runs]
        costs = {name: float(numpy.mean([run[name] for run in stored])) for name in COSTS}
        return {"utility": float(numpy.mean([own.mean() for own in rows])), **costs}


def right(out: Path, run: str) -> Mapping[str, float] | None:
    """By id of each test row, whether a run's tuned model gets it right; None where its truth is gone."""
    root = out / "runs" / run
    if not (root / "run.json").exists():
        return None
    parts_file = out / "truth" / files.read_json(root / "run.json").get("parts", "")
    if not (root / "truth").is_dir() or not parts_file.is_file():
        return None
    parts, truth = load_parts(parts_file), load_truth(root / "truth")
    labels: Mapping[str, str] = {sample.id: sample.label for sample in parts.victim_test}
    said = [parts.labels[at] for at in truth.outputs.argmax(1).tolist()]
    return {row: float(labels[row] == one) for row, one in zip(truth.queries, said, strict=True)}


def together(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> tuple[Values, Values] | None:
    """Both sides' rows in one order; None where a side is missing or has other rows."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    return numpy.array(list(before.values())), numpy.array([after[row] for row in before])
