"""Makes the composites of a finished audit's cells: every run's attacks on one goal, combined and scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..attacks.attack import Goal, Guess, Needs
from ..system import files
from ..system.backbone import Backbone
from ..system.errors import place
from .cells import cell as store
from .cells.cell import Cell, Scored
from .cells.composites import FEWEST, Composite, combined, composite_identity, measure_composite
from .cells.fields import called, common, stated
from .cells.judging import Judge, examples
from .cells.metrics import score
from .planning.layout import Layout
from .statistics import Measured, PerfectTwin


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
        voters = {key: record for key, record in records.items() if record["fields"]["status"] == "scored"}
        if len(voters) >= FEWEST and _voters(root, vote.key) != list(voters):
            _make(out, vote, voters, judge(vote.run), audit)


def _voters(root: Path, key: str) -> list[str]:
    """Whose votes a stored composite holds; none where it failed."""
    path = root / key / "result.json"
    fields = files.read_json(path)["fields"] if path.exists() else {"status": "failed"}
    return list(fields["voters"]) if fields["status"] == "scored" else []


def _make(
    out: Path,
    vote: Vote,
    voters: Mapping[str, Mapping[str, Any]],
    judge: Judge,
    audit: Mapping[str, Any],
) -> None:
    needs = Needs(frozenset(kind for record in voters.values() for kind in record["fields"]["consumes"]))
    identity = composite_identity(vote.run, vote.goal, vote.members, vote.repeat)
    run = out / "runs" / vote.run
    cell = Cell(vote.key, run, Composite(vote.goal, needs), identity)
    try:
        scored = _scored(out / "cells", vote, voters, judge)
    except Exception as error:  # a vote may meet guesses that nobody foresaw; it fails this cell and no other
        said = str(error) if isinstance(error, PerfectTwin) else f"voting failed: {place(error)}"
        scored = Scored("failed", said)
    if scored is not None:
        fields = {**common(cell, files.read_json(run / "run.json"), audit), "voters": list(voters)}
        store.store(out / "cells", cell, fields, scored)


def _scored(root: Path, vote: Vote, voters: Mapping[str, Mapping[str, Any]], judge: Judge) -> Scored | None:
    """The vote beside that of the shuffled guesses; None where the guesses cannot be combined."""
    guess = _vote(root, voters, store.WHOLE)
    if guess is None:
        return None
    blind = _vote(root, voters, store.SHUFFLED)
    members: dict[str, Mapping[str, Measured]] = {}
    for key, record in voters.items():
        name = called(record["fields"])
        members[f"{name} {key}" if name in members else name] = store.read_rows(root, key)
    shuffled = {} if blind is None else score(vote.goal, blind, judge.answers)
    measured = measure_composite(score(vote.goal, guess, judge.answers), shuffled, members)
    metrics = stated([measured], vote.goal, vote.key)
    shown = examples(guess, judge.answers)
    return Scored("scored", "; ".join(judge.promised(metrics)) or None, None, metrics, measured, guess, blind, shown)


def _vote(root: Path, voters: Iterable[str], view: str) -> Guess | None:
    """The voters' guesses on a view, combined; None where one has none."""
    guesses = [store.read_guess(root, key, view) for key in voters]
    given = [guess for guess in guesses if guess is not None]
    return combined(given) if len(given) == len(guesses) else None
