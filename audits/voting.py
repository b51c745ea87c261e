"""Makes the composites of a finished audit's cells: every run's attacks on one goal, combined and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..attacks.attack import Goal, Needs
from ..system import files
from ..system.backbone import Backbone
from .cells import cell as store
from .cells.cell import Cell, Scored
from .cells.composites import FEWEST, Composite, combined, composite_identity, measure_composite
from .cells.fields import common
from .cells.judging import Judge, examples, numbers
from .cells.scoring import score
from .planning.layout import Layout
from .sandbox import guess_files
from .statistics import PerfectTwin


@dataclass(frozen=True)
class Vote:
    """One composite cell to be made."""

    key: str
    run: str
    goal: Goal
    members: tuple[str, ...]
    repeat: int


def votes(layout: Layout) -> Iterator[Vote]:
    """Every composite cell of the layout."""
    runs = {group.group: group.runs for group in layout.groups}
    for entry in layout.entries:
        members = [layout.entries[at] for at in entry.among]
        for victim, keys in entry.cells.items() if members else ():
            for repeat, key in enumerate(keys):
                voters = tuple(member.cells[victim][repeat] for member in members)
                yield Vote(key, runs[entry.group][victim], Goal(entry.goal), voters, repeat)


def make_composites(out: Path, layout: Layout, backbone: Backbone, audit: Mapping[str, Any]) -> None:
    """Make every composite that is not stored, or whose voters have changed since."""
    root = out / "cells"
    judge = lru_cache(maxsize=1)(lambda run: Judge(out / "runs" / run, backbone))
    for vote in votes(layout):
        records = {key: store.read(root, key) for key in vote.members if (root / key / "result.json").exists()}
        voters = [key for key, record in records.items() if record["fields"]["status"] == "scored"]
        if len(voters) >= FEWEST and _voters(root, vote.key) != voters:
            _make(out, vote, voters, records, judge(vote.run), audit)


def _voters(root: Path, key: str) -> list[str]:
    """Whose votes a stored composite holds."""
    path = root / key / "result.json"
    return list(files.read_json(path)["fields"]["voters"]) if path.exists() else []


def _make(
    out: Path,
    vote: Vote,
    voters: Sequence[str],
    records: Mapping[str, Mapping[str, Any]],
    judge: Judge,
    audit: Mapping[str, Any],
) -> None:
    root, run = out / "cells", out / "runs" / vote.run
    needs = Needs(frozenset(kind for key in voters for kind in records[key]["fields"]["consumes"]))
    identity = composite_identity(vote.run, vote.goal, vote.members, vote.repeat)
    cell = Cell(vote.key, run, Composite(vote.goal, needs), identity)
    guess = combined([guess_files.load(root / key) for key in voters])
    if guess is None:
        return
    found = score(vote.goal, guess, judge.answers)
    measured = measure_composite(found, [store.read_rows(root, key) for key in voters])
    try:
        metrics = list(numbers(measured, vote.goal, vote.key))
        scored = Scored("scored", None, None, metrics, measured, guess, examples(guess, judge.answers))
    except PerfectTwin as error:
        scored = Scored("failed", str(error), measured=measured, guess=guess)
    fields = {**common(cell, files.read_json(run / "run.json"), audit), "voters": list(voters)}
    store.store(root, cell, fields, scored)
